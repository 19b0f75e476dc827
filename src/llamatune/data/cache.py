"""The cache folder: generated sets and encoded rows, each in a folder named by the hash of all that made it.

An entry is written to a temporary folder beside its place and renamed when it is complete, so a killed process leaves
nothing that could be mistaken for an entry; what it leaves is removed when the next entry is built. Of several
processes that need the same one, the first makes it and the others wait. Whoever takes an entry reads and verifies
every byte of it: rows in which a bit has changed would be trained on without a word. Deleting the
cache folder is always safe.

    E140  the cache folder cannot be written, or its disk is full (DiskError)
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from llamatune.errors import DiskError
from llamatune.outside import open_own
from llamatune.recipe.hashing import cache_folder, sha256
from llamatune.runs.files import read_json, remove, sweep, sync_tree, temporary_beside

INFO = "info.json"
"""Written last: what the entry holds, the SHA-256 of each of its files, and that of its own content."""

LOCKS = "entries.lock"
"""In the cache folder: each entry is a byte of it, for `_alone`."""

_FORMAT = 2
"""Part of every key: raise it when entries are laid out differently."""


def cache_key(*parts: Any) -> str:
    """Hex SHA-256 of JSON-serialisable parts."""
    return hashlib.sha256(
        json.dumps([_FORMAT, *parts], sort_keys=True, ensure_ascii=False).encode()
    ).hexdigest()


def stored(
    kind: str,
    key: str,
    build: Callable[[Path], dict[str, Any]],
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Path, dict[str, Any]]:
    """The cache entry `kind/key` and its info.

    Where there is none, `build(folder)` writes its files and returns the info.

    Args:
        say: is told about an entry that is damaged and made again.

    Raises:
        DiskError: the entry cannot be written. Whatever else `build` raises passes through, and nothing is stored.
    """
    final = cache_folder() / kind / key
    # Asked first: another process may complete it in the meantime.
    there = os.path.lexists(final)
    info = _valid_info(final)
    if info is not None:
        return final, info
    temporary: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with _alone(final) as waited:
            if waited and (info := _valid_info(final)) is not None:
                return final, info
            if there:
                say(f"{kind}/{key[:12]} in the cache is damaged: it is removed and made again")
                remove(final)
            _sweep_once(final.parent)
            temporary = Path(tempfile.mkdtemp(prefix=f"{temporary_beside(final).name}-", dir=final.parent))
            info = build(temporary)
            _complete(temporary, info)
            _publish(temporary, final)
    except OSError as error:
        raise DiskError(
            "E140",
            f"cannot write the cache: {error.strerror or error}",
            place=str(final.parent),
            hint="free some space, or set XDG_CACHE_HOME to a folder on another disk",
        ) from None
    finally:
        if temporary is not None:
            # What could not be removed is swept later.
            with suppress(OSError):
                remove(temporary)
    return final, info


@contextmanager
def _alone(final: Path) -> Iterator[bool]:
    """One process makes an entry while others wait for it; whether this one has waited.

    The lock is the kernel's, on a byte of one file that stays empty, and ends with the process that holds it. Where
    the file system has none, each process makes the entry, and the first to be ready publishes it.
    """
    place = int(hashlib.sha256(f"{final.parent.name}/{final.name}".encode()).hexdigest()[:7], 16)
    with open_own(cache_folder() / LOCKS) as stream:
        waited = False
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            fcntl.lockf(stream, fcntl.LOCK_EX, 1, place)
            waited = True
        except OSError:
            pass
        yield waited


@cache
def _sweep_once(folder: Path) -> None:
    """Remove what dead processes left in a folder, the first time that this process builds an entry there: a listing
    for each of ten thousand sources would cost the square of their number."""
    sweep(folder)


def _complete(folder: Path, info: dict[str, Any]) -> None:
    """Write the info that makes the folder an entry, and flush all files."""
    content = {"files": _hashes(folder), "info": info}
    text = json.dumps(content | {"sha256": _digest(content)})
    (folder / INFO).write_text(text, encoding="utf-8")
    sync_tree(folder)


def _publish(temporary: Path, final: Path) -> None:
    """Rename into place, unless another process was faster."""
    try:
        temporary.rename(final)
    except OSError:
        if _valid_info(final) is None:
            raise


def _valid_info(folder: Path) -> dict[str, Any] | None:
    """The info of a complete entry, every byte of it verified; None if there is none, or if it has changed."""
    content = read_json(folder / INFO)
    if content is None or content.pop("sha256", None) != _digest(content):
        return None
    try:
        whole = content.get("files") == _hashes(folder)
    except OSError:
        return None
    info = content.get("info")
    return info if whole and isinstance(info, dict) else None


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != INFO}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
