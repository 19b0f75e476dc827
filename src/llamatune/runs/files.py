"""Write files so that they are there whole or not at all, and say plainly when the disk does not take them."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from llamatune import outside
from llamatune.errors import DiskError

REPORT = "report.html"
"""The page of a run, in its folder."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXTS = (
    "No space left",
    "File too large",
    "Disk quota exceeded",
    "PytorchStreamWriter",
    "unexpected pos",
    "iostream error",
)
"""How torch and safetensors, which do not raise OSError, say that the disk is full; the last one where the whole file
fits into a buffer."""
_OF_RUST = re.compile(r"\(os error (\d+)\)")
"""How whatever is written in Rust tells the number of a system error."""
_NOT_WRITTEN_TEXTS = ("No such file or directory", "Parent directory", "open file failed")
"""How torch says that a file cannot be made."""

_TEMPORARY = re.compile(r"\.(?P<of>.+)\.(?P<host>[^.]*?)-(?P<process>\d+)(-\w{8})?")
"""What `temporary_beside` makes, with or without what `tempfile` adds."""
_FOREIGN_SECONDS = 24 * 3600.0
"""How old a temporary file of another machine must be before it is taken to be that of a dead process."""


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[BinaryIO]:
    """Write a file that replaces another when all is written; after a crash at any moment there is the old one or the
    new one.

    Raises:
        DiskError: it cannot be written. `needed`, if known, is how many bytes it takes, for the message.
    """
    temporary = temporary_beside(path)
    with disk_errors(path, needed):
        try:
            with outside.make_own(temporary) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Fill a folder that is there when all is written; after a crash at any moment it is there whole or not at all.

    Raises:
        DiskError: it cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary = temporary_beside(path)
        try:
            temporary.mkdir()
        except FileExistsError:
            # `sweep` spares what has this process's number, which an earlier one may have had.
            remove(temporary)
            temporary.mkdir()
        try:
            yield temporary
            sync_tree(temporary)
            temporary.rename(path)
            sync_folder(path.parent)
        finally:
            remove(temporary)


def write_atomic(path: Path, text: str) -> None:
    """Replace a file by one with this text, whole or not at all. Raises what `replacing` raises."""
    content = text.encode()
    with replacing(path, len(content)) as stream:
        stream.write(content)


def write_json(path: Path, content: Any) -> None:
    encoded = _encoded(json.dumps(content, indent=2, ensure_ascii=False))
    with replacing(path, len(encoded)) as stream:
        stream.write(encoded)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where the file is missing, cut off or something else."""
    try:
        content = outside.read_any_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _encoded(line: str) -> bytes:
    """A JSON text as a line; half a surrogate pair, which UTF-8 does not have, is escaped as JSON escapes it."""
    return line.encode("utf-8", "backslashreplace") + b"\n"


def jsonl_line(record: Mapping[str, Any]) -> bytes:
    """One line for each record, whatever is in it: JSON escapes line breaks, and `ensure_ascii` half characters."""
    return json.dumps(record, allow_nan=False).encode() + b"\n"


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Add a line to a .jsonl file. A line that a crash or a full disk cut off before it is removed first."""
    with disk_errors(path), outside.open_own(path) as stream:
        _cut_torn_line(stream)
        stream.write(_encoded(json.dumps(record, ensure_ascii=False)))


def cut_torn_line(path: Path) -> int:
    """Cut a .jsonl file back to its last whole line; returns how many bytes were cut off."""
    with disk_errors(path), outside.open_own(path) as stream:
        return _cut_torn_line(stream)


def cut_back(path: Path, length: int) -> None:
    """Cut a file back to so many bytes."""
    with disk_errors(path), outside.open_own(path) as stream:
        stream.truncate(length)


def _cut_torn_line(stream: BinaryIO) -> int:
    whole = end = stream.seek(0, os.SEEK_END)
    if end > 0:
        stream.seek(end - 1)
        if stream.read(1) == b"\n":
            return 0
    while whole > 0:
        start = max(0, whole - 65536)
        stream.seek(start)
        newline = stream.read(whole - start).rfind(b"\n")
        if newline >= 0:
            whole = start + newline + 1
            break
        whole = start
    if whole < end:
        stream.truncate(whole)
    return end - whole


# ---- temporary files --------------------------------------------------------------------------------------


def temporary_beside(path: Path) -> Path:
    """A name for a file that will become `path`; it says which process writes it."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}")


def sweep(folder: Path) -> list[str]:
    """Remove temporary files and folders that processes which no longer exist left in a folder.

    Nothing is known of a process on another machine: what it left is removed a day after it was last written.

    Returns:
        What each of them was meant to become, by name.
    """
    swept = []
    for path in folder.iterdir() if folder.is_dir() else ():
        found = _TEMPORARY.fullmatch(path.name)
        if found is None or not _is_left(path, found["host"], int(found["process"])):
            continue
        # What cannot be removed harms nothing.
        with suppress(OSError):
            remove(path)
        swept.append(found["of"])
    return sorted(swept)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; one that is not there is no error."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_left(path: Path, host: str, process: int) -> bool:
    if host == _host():
        return process != os.getpid() and not process_lives(process)
    try:
        return time.time() - path.lstat().st_mtime > _FOREIGN_SECONDS
    except OSError:
        # Its own process was faster.
        return False


def _host() -> str:
    return socket.gethostname().replace(".", "_")


def process_lives(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    if not 0 < process < 2**31:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


# ---- disk -------------------------------------------------------------------------------------------------


def sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, if the file system can do that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems sync no folders.
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Make a file durable, or all files of a folder and their names."""
    if not path.is_dir():
        sync_file(path)
        return
    for folder, _, names in os.walk(path):
        for name in sorted(names):
            sync_file(Path(folder, name))
        sync_folder(Path(folder))


@contextmanager
def disk_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn a failure to write below `path` into a DiskError that says what is needed and what is there.

    `needed`: how many bytes the writing takes, if that is known. Errors of other kinds pass through: a reader of a
    traceback must not be told that a bug is a full disk.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        number = _number_of(error)
        if number in _FULL or any(text in str(error) for text in _FULL_TEXTS):
            raise disk_full(path, needed) from error
        if (
            number is not None
            or isinstance(error, OSError)
            or any(text in str(error) for text in _NOT_WRITTEN_TEXTS)
        ):
            raise _not_writable(path, error) from error
        raise


def _number_of(error: Exception) -> int | None:
    """The system's number of an error, whoever tells it."""
    if isinstance(error, OSError):
        return error.errno
    found = _OF_RUST.search(str(error))
    return int(found[1]) if found else None


def free_bytes(path: Path) -> int:
    """Free space on the file system of `path`, or of the nearest folder above it that exists."""
    while not outside.exists(path) and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def check_room(path: Path, needed: int) -> None:
    """Raises DiskError (E803) where the disk of a run directory does not hold so many bytes more."""
    free = free_bytes(path)
    if free < needed:
        raise DiskError(
            "E803",
            f"the run will need about {size(needed)} more and the disk has {size(free)}",
            place=str(path),
            why="it would stop when it saves its first checkpoints",
            hint="free some space, name an `output` on a larger disk, or lower `checkpoint.keep`",
        )


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
    if not outside.is_folder(path) and not outside.is_folder(path.parent):
        return directory_gone(path.parent)
    # torch: `[enforce fail at FILE] . open file failed with strerror: REASON`
    reason = (
        error.strerror
        if isinstance(error, OSError) and error.strerror
        else str(error).split("strerror: ")[-1]
    )
    return DiskError(
        "E801", f"cannot be written: {reason}", place=str(path), hint="check its owner and its permissions"
    )


def size(count: int) -> str:
    """1,234 bytes, 5.6 MB, 7.8 GB."""
    if count < 1_000_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:,.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:,.1f} GB"
