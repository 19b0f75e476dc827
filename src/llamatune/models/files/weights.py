"""The files of a model's weights, by their headers: names and shapes, and whether they are whole. Nothing is loaded.

Pickles are refused, because loading one can run any code that was hidden in it.
"""

from __future__ import annotations

import math
from pathlib import Path

from llamatune.errors import ModelError
from llamatune.models.files.gates import check_shapes, check_size
from llamatune.models.files.settings import is_placeholder, placeholder, read_model_json
from llamatune.outside import is_file, is_plain_name, open_plain, parse_json
from llamatune.wording import counted

_LARGEST_HEADER = 100 << 20
"""Most bytes of a safetensors header: safetensors' own limit."""


def check_weights(folder: Path) -> None:
    """Refuse a base's folder whose weights are pickled, missing or broken.

    Raises:
        ModelError: E204, with the command that converts pickled weights; E207 for half a download; E251 for weights
            that do not go with config.json.
    """
    check_not_pickled(folder, "*.safetensors")
    files = sorted(folder.glob("*.safetensors"))
    if not any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise ModelError(
            "E207",
            "there is neither model.safetensors nor model.safetensors.index.json, only "
            + ", ".join(file.name for file in files[:3]),
            place=str(folder),
            why="transformers reads weights under these names alone",
            hint="download the index as well; weights of an adapter need its adapter_config.json; a single file of "
            "another name can be renamed",
        )
    tensors = {file.name: tensors_in(file) for file in files}
    config = read_model_json(folder / "config.json")
    check_size(
        config, sum(math.prod(shape) for found in tensors.values() for shape in found.values()), folder
    )
    parts = {"model.safetensors"}
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = read_model_json(index).get("weight_map")
        parts = {str(part) for part in named.values()} if isinstance(named, dict) else set()
        elsewhere = sorted(part for part in parts if not is_plain_name(part))
        if elsewhere:
            raise ModelError(
                "E207",
                f"the index of the weights names `{elsewhere[0]}`, which is not a file of this folder",
                place=str(index),
                why="a model's weights are beside its index; a path could lead to any file",
                hint="download the model again",
            )
        missing = sorted(part for part in parts if not is_file(folder / part))
        if missing and not (folder / "model.safetensors").is_file():
            raise ModelError(
                "E207",
                f"{len(missing)} of {counted(len(parts), 'weight file')} missing, {missing[0]} first",
                place=str(folder),
                hint="download the model again",
            )
    read = ("model.safetensors",) if "model.safetensors" in tensors else sorted(parts)
    shapes = {name: shape for part in read for name, shape in tensors.get(part, {}).items()}
    check_shapes(config, shapes, folder)


def check_not_pickled(folder: Path, pattern: str) -> None:
    """Refuse a folder without a safetensors file of this name. Raises ModelError (E204)."""
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
        f"there are no weights ({pattern}) in this folder",
        place=str(folder),
        hint="check the download",
    )


def linear_layers_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> (in, out) of each linear layer in a model's blocks, from the headers of its weights.

    Raises:
        ModelError: E207.
    """
    shapes = {
        name: shape for file in folder.glob("*.safetensors") for name, shape in tensors_in(file).items()
    }
    return {
        name.removesuffix(".weight"): (shape[1], shape[0])
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(".weight") and any(part.isdigit() for part in name.split("."))
    }


def tensors_in(file: Path, code: str = "E207") -> dict[str, tuple[int, ...]]:
    """Name -> shape of each tensor of a safetensors file, from its header.

    Args:
        code: of the error.

    Raises:
        ModelError: the file is half a download, a placeholder of Git LFS, or no safetensors file.
    """
    try:
        with open_plain(file) as stream:
            start = stream.read(8)
            length = int.from_bytes(start, "little")
            size = file.stat().st_size
            header = stream.read(length) if len(start) == 8 and length <= min(size, _LARGEST_HEADER) else b""
    except OSError as error:
        raise ModelError(
            code, f"cannot be read: {error.strerror or error}", place=str(file), hint="check the download"
        ) from None
    try:
        entries = {
            name: entry
            for name, entry in parse_json(header.decode("utf-8")).items()
            if name != "__metadata__"
        }
        found = {name: _shape(entry["shape"]) for name, entry in entries.items()}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
        raise _broken(file, code, start) from None
    if 8 + length + end != size:
        wrong = "are cut off" if 8 + length + end > size else "have bytes after their end"
        raise ModelError(
            code,
            f"the weights {wrong}: {size:,} bytes of {8 + length + end:,}",
            place=str(file),
            why="the download or the copy of this file went wrong",
            hint="download the file again",
        )
    return found


def _shape(sizes: list[int]) -> tuple[int, ...]:
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError("not a shape")
    return tuple(sizes)


def _broken(file: Path, code: str, start: bytes) -> ModelError:
    if is_placeholder(start):
        return placeholder(file, code, "the weights")
    return ModelError(
        code, "the weights are no safetensors file", place=str(file), hint="download the file again"
    )
