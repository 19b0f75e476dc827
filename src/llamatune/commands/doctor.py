"""`llamatune doctor`: what is installed, which devices there are, where things are kept, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llamatune.recipe.hashing import cache_folder
from llamatune.runs.files import size
from llamatune.runs.manifest import environment
from llamatune.wording import counted

EXTRAS = {
    "tensorboard": "logging.report_to: [tensorboard]",
    "wandb": "logging.report_to: [wandb]",
    "trackio": "logging.report_to: [trackio]",
    "vllm": "rollout.backend: vllm",
}
"""Optional packages, and what each is for."""


def diagnose() -> dict[str, Any]:
    """Everything that `report` prints, as plain data."""
    return {
        **environment(),
        "devices": _devices(),
        "processors": os.cpu_count(),
        "cache": _folder(cache_folder()),
        "hub_cache": _folder(_hub_cache()),
        "hub_token": _has_token(),
        "offline": os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"),
        "working_directory": str(Path.cwd()),
        "disk_free": shutil.disk_usage(Path.cwd()).free,
        "missing": {name: use for name, use in EXTRAS.items() if find_spec(name) is None},
    }


def _devices() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return [
            {
                "name": "cpu",
                "threads": torch.get_num_threads(),
                "processor": platform.processor() or "unknown",
            }
        ]
    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return [
        {"name": one.name, "memory": one.total_memory, "bfloat16": torch.cuda.is_bf16_supported()}
        for one in found
    ]


def _folder(path: Path) -> dict[str, Any]:
    """What is in a cache, in bytes. Other processes work in it: what has gone by now counts nothing."""
    sizes = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                found = os.lstat(os.path.join(folder, name))
                sizes += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return {"path": str(path), "bytes": sizes}


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _has_token() -> bool:
    """Whether the hub's client would send a token; never the token."""
    from huggingface_hub import get_token

    return get_token() is not None


def report(found: dict[str, Any]) -> str:
    """For a terminal."""
    lines = [found["machine"]]
    lines += [f"  {name:14} {version}" for name, version in found["versions"].items()]
    lines.append("devices")
    for device in found["devices"]:
        memory = (
            f", {size(device['memory'])}"
            if "memory" in device
            else f", {counted(found['processors'], 'core')}"
        )
        lines.append(f"  {device['name']}{memory}")
    lines.append("kept")
    for title, key in (("rows, hashes", "cache"), ("hub models", "hub_cache")):
        lines.append(f"  {title:14} {found[key]['path']} ({size(found[key]['bytes'])})")
    lines.append(f"  {'free here':14} {size(found['disk_free'])}")
    token = "there is a token" if found["hub_token"] else "no token: `hf auth login` for gated models"
    lines.append(f"hub\n  {token}{'; offline (HF_HUB_OFFLINE)' if found['offline'] else ''}")
    if found["missing"]:
        lines.append("not installed")
        lines += [
            f"  {name:14} for `{use}`: pip install 'llamatune[{name}]'"
            for name, use in found["missing"].items()
        ]
    return "\n".join(lines)
