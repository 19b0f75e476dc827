"""SHA-256 of data and weight files, remembered between runs.

The cache folder `hashes` holds one small file for each hashed one: its size, times of change, inode and hash. A file
for which none of the first three has changed is not read again. A file changed in the last two seconds is never
remembered, because a coarse clock could hide a second change. `fresh=True` always reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from llamatune.errors import DataError
from llamatune.outside import open_plain, read_any_json, write_own

_RACY_NS = 2 * 10**9


def cache_folder() -> Path:
    """Where llamatune keeps what it can make again: `$XDG_CACHE_HOME/llamatune`, or `~/.cache/llamatune`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "llamatune"


def file_sha256(path: Path, *, fresh: bool = False) -> str:
    """The file's SHA-256 in hexadecimal. Raises DataError (E157) when it cannot be read."""
    try:
        before = _stamp(path)
        if not fresh and (remembered := _remembered(path, before)) is not None:
            return remembered
        digest = sha256(path)
        after = _stamp(path)
    except OSError as error:
        raise DataError("E157", f"cannot be read ({error.strerror or error})", place=str(path)) from None
    if before == after and time.time_ns() - after[1] > _RACY_NS:
        _remember(path, after, digest)
    return digest


def _stamp(path: Path) -> list[int]:
    """What changes with a file: size, both times of change (copying tools set the first one back), and inode."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read now and not remembered."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remembered(path: Path, stamp: list[int]) -> str | None:
    """What was found when the file had this stamp; None where nothing was noted, or the note is damaged."""
    with suppress(OSError, ValueError):
        match read_any_json(_note(path)):
            case [list(noted), str(digest), str(check)] if noted == stamp and check == _check(stamp, digest):
                return digest
    return None


def _remember(path: Path, stamp: list[int], digest: str) -> None:
    """A note of its own for each file: whatever is killed while it writes one, the others are whole. One that cannot be
    written only costs time."""
    with suppress(OSError):
        note = _note(path)
        note.parent.mkdir(parents=True, exist_ok=True)
        write_own(note, json.dumps([stamp, digest, _check(stamp, digest)]))


def _note(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    return cache_folder() / "hashes" / f"{name}.json"


def _check(stamp: list[int], digest: str) -> str:
    """Of a note's content: otherwise a flipped bit in it would be believed."""
    return hashlib.sha256(json.dumps([stamp, digest]).encode()).hexdigest()[:16]
