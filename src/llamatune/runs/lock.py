"""One run at a time in a run directory.

The lock is the kernel's, on a record (`lockf`): it ends with the process however that ends, and unlike `flock` it is
not inherited by the processes that the run forks, so a lock can never be stale.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from io import TextIOWrapper
from pathlib import Path

from llamatune.errors import RecipeError
from llamatune.recipe.paths import LOCK
from llamatune.runs.files import disk_errors

_held_here: set[Path] = set()
"""The kernel does not keep a process from locking twice what it holds."""


class RunLock:
    """Held from `take` to `release`. Processes of one distributed run share the lock of the first."""

    def __init__(self, path: Path, stream: TextIOWrapper) -> None:
        self._path = path
        self._stream = stream
        _held_here.add(path)

    @classmethod
    def take(cls, directory: Path) -> RunLock:
        """Lock the directory.

        Raises:
            RecipeError: another process holds it.
        """
        path = (directory / LOCK).resolve()
        if path in _held_here:  # opening and closing the file would release the lock
            raise _held(directory, path.read_text(encoding="utf-8"))
        with disk_errors(path):
            stream = path.open("a+", encoding="utf-8")
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            stream.seek(0)
            holder = stream.read()
            stream.close()
            raise _held(directory, holder) from None
        except OSError:
            pass  # a file system without locks, as some network ones are: better no lock than no run
        stream.truncate(0)
        stream.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}))
        stream.flush()
        return cls(path, stream)

    def release(self) -> None:
        _held_here.discard(self._path)
        self._stream.close()

    @property
    def is_there(self) -> bool:
        """Whether the directory still holds the file that was locked, and not another one or none."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._stream.fileno()))


def _held(directory: Path, holder: str) -> RecipeError:
    try:
        who = json.loads(holder)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["since"]))
        name = f"process {who['pid']} on {who['host']} since {since}"
    except (ValueError, KeyError, TypeError):
        name = "another process"
    return RecipeError(
        "E035",
        f"a run is going on in `{directory}`: {name} holds it",
        place="output",
        why="two runs in one directory would mix their checkpoints and metrics",
        hint="wait for it, stop it, or name another `output`",
    )
