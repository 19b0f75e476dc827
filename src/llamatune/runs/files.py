"""Write files so that they are there whole or not at all, and say plainly when the disk will not have them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llamatune.errors import DiskError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXTS = (
    "No space left",
    "File too large",
    "Disk quota exceeded",
    "PytorchStreamWriter",
    "unexpected pos",
)
"""How torch and safetensors, which do not raise OSError, say that the disk is full."""
_GONE_TEXTS = ("No such file or directory", "Parent directory")


def write_atomic(path: Path, text: str) -> None:
    """Replace a file by one with this text; after a crash at any moment there is the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(path, len(text.encode())):
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    write_atomic(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where the file is missing, cut off or something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def append_line(path: Path, record: dict[str, Any]) -> None:
    with disk_errors(path), path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable; a file system that cannot do this is left alone."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn a failure to write below `path` into a DiskError that says what is needed and what is there.

    `needed`: bytes that the writing takes, where it is known. Errors of other kinds pass through: a reader of a
    traceback must not be told that a bug is a full disk.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        number = getattr(error, "errno", None)
        if number in _FULL or any(text in str(error) for text in _FULL_TEXTS):
            raise disk_full(path, needed) from error
        if isinstance(error, OSError) or any(text in str(error) for text in _GONE_TEXTS):
            raise _not_writable(path, error) from error
        raise


def free_bytes(path: Path) -> int:
    """Free space on the file system of `path`, or of the nearest folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def disk_full(path: Path, needed: int | None = None) -> DiskError:
    need = f"need {size(needed)}, " if needed else ""
    return DiskError(
        "E802",
        f"the disk is full: {need}have {size(free_bytes(path))}",
        place=str(path),
        why="nothing that was saved before is lost",
        hint="free some space, or move the run directory to a larger disk, and run the same command again",
    )


def directory_gone(path: Path) -> DiskError:
    return DiskError(
        "E801",
        "the run directory has gone",
        place=str(path),
        why="something removed or moved it during the run",
        hint="put it back or start again; what was not saved elsewhere is lost",
    )


def _not_writable(path: Path, error: Exception) -> DiskError:
    if not path.is_dir() and not path.parent.is_dir():
        return directory_gone(path.parent)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DiskError(
        "E801", f"cannot be written: {reason}", place=str(path), hint="check its owner and its permissions"
    )


def size(count: int) -> str:
    """1,234 bytes, 5.6 MB, 7.8 GB."""
    if count < 1_000_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:,.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:,.1f} GB"
