"""Start llamatune in several processes, as a user does, and look at what they do meanwhile."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from support import ROOT

LIMIT = 240.0
RECIPE: dict[str, Any] = {
    "stage": "sft",
    "model": {"lora": {"rank": 8, "dropout": 0.1}},
    "data": {"train": [{"card": "pico-sft-helpful", "max_rows": 96}], "max_length": 512},
    "optimization": {"max_steps": 8, "batch_size": 8, "warmup": 1, "learning_rate": 1e-3},
    "generation": {"prompts": ["Hi"], "max_new_tokens": 2},
    "logging": {"every_steps": 1},
    "checkpoint": {"every_steps": 2},
    "hardware": {"device": "cpu"},
}


def recipe_file(folder: Path, **changes: Any) -> Path:
    """RECIPE with its `output` in a folder, written beside it; `changes` replace or add blocks."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yaml"
    file.write_text(json.dumps(RECIPE | {"output": str(folder / "run")} | changes))
    return file


def begin(command: list[str], *more: Any, program: list[str] | None = None) -> subprocess.Popen[str]:
    """`program`: what runs the command, in place of this Python."""
    return subprocess.Popen(
        [*(program or [sys.executable]), *command, *map(str, more)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


LAUNCH = ["-m", "llamatune", "launch"]


def launch(*arguments: Any) -> subprocess.Popen[str]:
    return begin(LAUNCH, *arguments)


def end(process: subprocess.Popen[str], seconds: float = LIMIT) -> tuple[int, str]:
    """Its exit code, and what it printed to stderr; nothing is left behind."""
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            one.kill()
        raise
    return process.returncode, said


def wait_for(there: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if found := there():
            return found
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise TimeoutError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def losses(run: Path) -> list[tuple[int, float]]:
    file = run / "metrics.jsonl"
    lines = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def reached(run: Path, step: int) -> Callable[[], bool]:
    """Whether a checkpoint of that step is complete."""
    return lambda: (run / f"checkpoints/checkpoint-{step}/manifest.json").exists()


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that it started, in the order of their numbers."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            number = child.environ().get("RANK")
        except psutil.Error:
            continue
        if number is not None and "run" in child.cmdline():
            found.append((int(number), child))
    return [child for _, child in sorted(found, key=lambda one: one[0])]


def adapter(run: Path) -> bytes:
    return (run / "adapter/adapter_model.safetensors").read_bytes()
