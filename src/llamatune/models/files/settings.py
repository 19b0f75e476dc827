"""The JSON of a model or an adapter, read as a file that a stranger wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamatune.errors import ModelError, reason_of
from llamatune.outside import is_file, open_plain, read_any_json

_LARGEST_JSON = 64 << 20
"""Most bytes of a settings file."""


_LFS = b"version https://git-lfs"


def placeholder(file: Path, code: str, of: str) -> ModelError:
    """The error for a file that Git LFS left in place of a large one."""
    return ModelError(
        code,
        f"this is a placeholder of Git LFS, not {of}",
        place=str(file),
        why="the repository was cloned without its large files",
        hint="run `git lfs pull` in the model's folder, or download the file again",
    )


def is_placeholder(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a placeholder of Git LFS."""
    return bool(start) and (start.startswith(_LFS) or _LFS.startswith(start))


def check_no_placeholder(file: Path, code: str) -> None:
    """Refuse a file that Git LFS left in place of a large one. Raises ModelError."""
    if not is_file(file):
        return
    with open_plain(file) as stream:
        if is_placeholder(stream.read(len(_LFS))):
            raise placeholder(file, code, "the file itself")


def check_tokenizer_file(folder: Path) -> None:
    """Refuse half a download of a tokenizer, by its first and last bytes: to read it whole takes long.

    Raises:
        ModelError: E208.
    """
    file = folder / "tokenizer.json"
    check_no_placeholder(file, "E208")
    if not is_file(file):
        return
    with open_plain(file) as stream:
        stream.seek(max(0, file.stat().st_size - 64))
        whole = stream.read().rstrip().endswith(b"}")
    if not whole:
        raise ModelError("E208", "the tokenizer is cut off", place=str(file), hint="download the file again")


def read_model_json(file: Path) -> dict[str, Any]:
    """A model's JSON file. Raises ModelError (E202)."""
    try:
        content = read_any_json(file, _LARGEST_JSON)
    except (OSError, ValueError) as error:
        check_no_placeholder(file, "E202")
        raise ModelError(
            "E202", f"cannot be read as JSON: {reason_of(error)}", place=str(file), hint="check the download"
        ) from None
    if not isinstance(content, dict):
        raise ModelError("E202", "is not a JSON object", place=str(file), hint="check the download")
    return content
