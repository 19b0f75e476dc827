"""The cache folder: generated sets and encoded rows, each in a folder named by the hash of all that made it.

An entry is written to a temporary folder beside its place and renamed when it is complete, so two processes may
build the same one, and a killed process leaves nothing that could be mistaken for an entry; what it leaves is removed
when the next entry is built. Deleting the cache folder is always safe.

    E140  the cache folder cannot be written, or its disk is full (DiskError)
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llamatune.errors import DiskError
from llamatune.recipe.hashing import cache_folder
from llamatune.runs.files import sweep, temporary_beside

INFO = "info.json"
"""Written last: what the entry holds, and the size of each of its files."""

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


def cache_key(*parts: Any) -> str:
    """Hex SHA-256 of JSON-serialisable parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def stored(kind: str, key: str, build: Callable[[Path], dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """The cache entry `kind/key` and its info; when there is none, `build(folder)` writes its files and returns the
    info.

    Raises:
        DiskError: the entry cannot be written. Whatever `build` raises passes through, and nothing is stored.
    """
    final = cache_folder() / kind / key
    info = _valid_info(final)
    if info is not None:
        return final, info
    temporary: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        sweep(final.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f"{temporary_beside(final).name}-", dir=final.parent))
        info = build(temporary)
        _complete(temporary, info)
        _publish(temporary, final)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise DiskError(
            "E140",
            f"cannot write the cache: {error.strerror}",
            place=str(final.parent),
            hint="free some space, or set XDG_CACHE_HOME to a folder on another disk",
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return final, info


def _complete(folder: Path, info: dict[str, Any]) -> None:
    """Flush every file, then write the info that makes the folder an entry."""
    sizes = {}
    for path in folder.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        sizes[path.name] = path.stat().st_size
    with (folder / INFO).open("w", encoding="utf-8") as handle:
        json.dump({"sizes": sizes, "info": info}, handle)
        handle.flush()
        os.fsync(handle.fileno())


def _publish(temporary: Path, final: Path) -> None:
    """Rename into place; another process may have been faster, or a broken entry may be there."""
    while True:
        try:
            temporary.rename(final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if _valid_info(final) is not None:
            return
        shutil.rmtree(final, ignore_errors=True)


def _valid_info(folder: Path) -> dict[str, Any] | None:
    """The info of a complete entry; None if there is none, or if one of its files has another size."""
    try:
        content = json.loads((folder / INFO).read_text(encoding="utf-8"))
        complete = all((folder / name).stat().st_size == size for name, size in content["sizes"].items())
        return dict(content["info"]) if complete else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
