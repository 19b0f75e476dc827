"""SHA-256 of data and weight files, remembered between runs.

The cache `hashes.json` keeps the size, the times of change, the inode and the hash of each file; a file for which none
of the first three has changed is not read again. A file changed in the last two seconds is never remembered, because a
coarse clock could hide a second change. `fresh=True` always reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from llamatune.errors import DataError
from llamatune.outside import open_plain, read_any_json

_RACY_NS = 2 * 10**9


def cache_folder() -> Path:
    """Where llamatune keeps what it can make again: `$XDG_CACHE_HOME/llamatune`, or `~/.cache/llamatune`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "llamatune"


def file_sha256(path: Path, *, fresh: bool = False) -> str:
    """The file's SHA-256 in hexadecimal. Raises DataError (E157) when it cannot be read."""
    try:
        key, before = str(path.resolve()), _stamp(path)
        known = {} if fresh else _remembered()
        if key in known and known[key][:-1] == before:
            return str(known[key][-1])
        digest = sha256(path)
        after = _stamp(path)
    except OSError as error:
        raise DataError("E157", f"cannot be read ({error.strerror or error})", place=str(path)) from None
    if before == after and time.time_ns() - after[1] > _RACY_NS:
        _remember(key, [*before, digest])
    return digest


def _stamp(path: Path) -> list[int]:
    """What changes with a file: size, both times of change (copying tools set the first one back), and inode."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read now and not remembered."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remembered() -> dict[str, list[Any]]:
    """The cache, or nothing when it is absent or damaged: it is only a cache."""
    try:
        known = read_any_json(cache_folder() / "hashes.json")
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {path: entry for path, entry in known.items() if isinstance(entry, list) and len(entry) == 5}


def _remember(key: str, entry: list[Any]) -> None:
    """Add one entry; a cache that cannot be written only costs time."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
            json.dump(_remembered() | {key: entry}, file)
        os.replace(file.name, folder / "hashes.json")
    except OSError:
        return
