"""Find a base model and make sure that it is safe and usable, before torch is imported.

A base is `pico` (ships with llamatune), a model folder, a finished run, or a hub id. Pickled weights, code that
a checkpoint brings along and foreign architectures are refused here, by reading the files' JSON and names only.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamatune.errors import ModelError

ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "falcon": "FalconForCausalLM"}
"""config.json's `model_type` -> class; the Llama family, and Falcon."""

BUILTIN = Path(__file__).resolve().parent.parent / "builtin"
_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


@dataclass(frozen=True)
class Base:
    """A base model on disk. `name` is what the recipe says; `revision` is the commit of a hub model."""

    name: str
    folder: Path
    revision: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        return _read_json(self.folder / "config.json")

    @property
    def fingerprint(self) -> str:
        """Identifies the weights: sha256 over each weight file's name, size, first and last MiB."""
        digest = hashlib.sha256()
        for file in sorted(self.folder.glob("*.safetensors")):
            size = file.stat().st_size
            digest.update(f"{file.name} {size} ".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(1 << 20))
                stream.seek(max(0, size - (1 << 20)))
                digest.update(stream.read())
        return digest.hexdigest()


def find_base(name: str, revision: str | None = None, *, weights: bool = True) -> Base:
    """Resolve a base by name and check it.

    Args:
        name: `pico`, a folder, a run directory, or a hub id.
        revision: commit of a hub model.
        weights: False where only the architecture and the tokenizer are wanted (`init: random`).

    Raises:
        ModelError: not found, not cached while offline, gated, pickled weights, remote code, other architecture.
    """
    if name == "pico":
        base = Base("pico", BUILTIN / "pico")
    elif Path(name).is_dir():
        base = Base(name, _model_folder(Path(name)))
    elif name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            "E201",
            f"there is no model `{name}`",
            place="model.base",
            why="it is neither `pico`, nor a folder, nor a hub id of the form org/name",
            hint=_near_folders(name),
        )
    else:
        base = _from_hub(name, revision)
    _check_config(base)
    if weights:
        check_weights(base.folder)
    return base


def _model_folder(folder: Path) -> Path:
    """A model folder is itself; a finished run stands for the model that it trained."""
    if (folder / "config.json").is_file():
        return folder
    if (folder / "model" / "config.json").is_file():
        return folder / "model"
    if (folder / "adapter").is_dir() or (folder / "adapter_config.json").is_file():
        raise ModelError(
            "E202",
            f"`{folder}` holds an adapter, not a whole model",
            place="model.base",
            hint="name its base in `model.base` and the folder in `model.adapter`, or `llamatune merge` it first",
        )
    raise ModelError(
        "E202",
        f"the folder `{folder}` has no config.json",
        place="model.base",
        why="a model folder holds config.json, *.safetensors and a tokenizer",
        hint="check the path" if any(folder.iterdir()) else "the folder is empty",
    )


def _from_hub(name: str, revision: str | None) -> Base:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_HUB_FILES))
    except GatedRepoError:
        raise ModelError(
            "E203",
            f"the hub model `{name}` is gated",
            place="model.base",
            why="its owner asks you to accept terms first",
            hint=f"accept them on the model's page, then run `hf auth login` and try again ({name})",
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            "E203",
            f"the hub has no model `{name}` that you may read",
            place="model.base",
            hint=_near_cached(name) or "check the spelling; for a private model run `hf auth login`",
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            "E203",
            f"the hub model `{name}` is not in the local cache, and the hub cannot be reached",
            place="model.base",
            why=f"{type(error).__name__} while looking it up",
            hint=_near_cached(name)
            or "download it where there is a network, and name the folder in `model.base`",
        ) from None
    return Base(name, folder, revision=folder.name)


def _check_config(base: Base) -> None:
    """Refuse remote code and foreign architectures, from config.json and tokenizer_config.json alone."""
    config = base.config
    for file in ("config.json", "tokenizer_config.json", "generation_config.json"):
        settings = _read_json(base.folder / file) if (base.folder / file).is_file() else {}
        for field in ("auto_map", "_attn_implementation_internal", "custom_pipelines", "use_kernels"):
            if settings.get(field):
                _refuse_code(base, file, field)
        for field in ("attn_implementation", "_attn_implementation", "experts_implementation"):
            if "/" in str(settings.get(field) or ""):
                _refuse_code(base, file, field)
    if config.get("model_type") not in ARCHITECTURES:
        raise ModelError(
            "E206",
            f"model_type `{config.get('model_type')}` is not supported",
            place=str(base.folder / "config.json"),
            why=f"llamatune fine-tunes Llama-architecture causal language models ({', '.join(ARCHITECTURES)})",
            hint="choose such a base",
        )
    _check_template_names(base)


def _refuse_code(base: Base, file: str, field: str) -> None:
    raise ModelError(
        "E205",
        f"`{base.name}` asks to run code of its own: field `{field}` of {file}",
        place=str(base.folder / file),
        why="a model is data; code that comes with a checkpoint runs with your rights",
        hint="use a base whose architecture is part of transformers",
    )


def _check_template_names(base: Base) -> None:
    """Named chat templates become file names when saved; a name with a path would be written elsewhere."""
    file = base.folder / "tokenizer_config.json"
    templates = _read_json(file).get("chat_template") if file.is_file() else None
    names = (
        list(templates)
        if isinstance(templates, dict)
        else [entry.get("name", "") for entry in templates if isinstance(entry, dict)]
        if isinstance(templates, list)
        else []
    )
    for name in names:
        if not str(name).replace("_", "").replace("-", "").isalnum():
            raise ModelError(
                "E205",
                f"a chat template has the name {name!r}",
                place=str(file),
                why="template names become file names, and this one could be written outside the model folder",
                hint="remove that template from tokenizer_config.json",
            )


def check_weights(folder: Path, pattern: str = "*.safetensors") -> None:
    """Refuse a folder whose weights are pickles, or that has none.

    Raises:
        ModelError: with the command that converts pickled weights.
    """
    if any(folder.glob(pattern)):
        return
    pickles = sorted(
        file.name for suffix in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(suffix)
    )
    if pickles:
        raise ModelError(
            "E204",
            f"the weights are pickled ({', '.join(pickles[:3])})",
            place=str(folder),
            why="loading a pickle can run any code that was hidden in it; llamatune reads safetensors only",
            hint="convert them where you trust the file: AutoModelForCausalLM.from_pretrained(FOLDER)"
            ".save_pretrained(NEW_FOLDER) writes safetensors",
        )
    raise ModelError(
        "E204",
        "there are no weights (*.safetensors) in this folder",
        place=str(folder),
        hint="check the download",
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(
            "E202", f"cannot be read as JSON: {error}", place=str(file), hint="check the download"
        ) from None
    if not isinstance(content, dict):
        raise ModelError("E202", "is not a JSON object", place=str(file), hint="check the download")
    return content


def _near_folders(name: str) -> str:
    parent = Path(name).expanduser().parent
    names = [entry.name for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []
    near = difflib.get_close_matches(Path(name).name, [*names, "pico"], n=1)
    return (
        f"did you mean `{parent / near[0] if near[0] != 'pico' else 'pico'}`?" if near else "check the path"
    )


def _near_cached(name: str) -> str | None:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cached = [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        return None
    near = difflib.get_close_matches(name, cached, n=3, cutoff=0.5)
    return f"in the local cache: {', '.join(near)}" if near else None
