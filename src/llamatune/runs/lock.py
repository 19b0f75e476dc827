"""One run at a time in a run directory.

The lock is the kernel's, on a record (`lockf`): it ends with the process however that ends, and unlike `flock` it is
not inherited by the processes that the run forks, so a lock can never be stale.

Some network file systems have no locks. There, each process announces itself with a file of its own and then looks for
the files of others: two that start at once may both give way, and never both go on. The file of a process that was
killed on this machine is recognised; that of one killed on another machine is not, and has to be removed by hand. The
run says so when it starts.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, BinaryIO

from llamatune.errors import RecipeError
from llamatune.outside import make_own, open_own, read_whole
from llamatune.recipe.paths import LOCK
from llamatune.runs.files import disk_errors, process_lives

_MOST = 1 << 16
"""Most bytes of a holder's file that are read."""
_NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError)
"""What a file that somebody else wrote raises."""

_held_here: dict[Path, BinaryIO] = {}
"""The kernel does not keep a process from locking again what it already holds."""


class RunLock:
    """Held from `take` to `release`. Processes of one distributed run share the lock of the first.

    `warning` says what the lock cannot promise here, or is None.
    """

    def __init__(self, path: Path, stream: BinaryIO, announced: Path | None) -> None:
        self._path = path
        self._stream = stream
        self._announced = announced
        self.warning = None if announced is None else _NO_LOCKS
        _held_here[path] = stream

    @classmethod
    def take(cls, directory: Path) -> RunLock:
        """Lock the directory.

        Raises:
            RecipeError: another process holds it.
            DiskError: the directory cannot be written.
        """
        path = directory.resolve() / LOCK
        if path in _held_here:  # opening and closing the file would release the lock
            _held_here[path].seek(0)
            raise _held(directory, _held_here[path].read().decode())
        with disk_errors(path):
            stream = open_own(path)
        announced = None
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            stream.close()
            said = _read(path)
            raise _held(directory, said) from None
        except OSError:
            try:
                announced = _announce(directory)
            except BaseException:
                stream.close()
                raise
        with disk_errors(path):
            stream.truncate(0)
            stream.write(_me().encode())
            stream.flush()
        return cls(path, stream, announced)

    def release(self) -> None:
        _held_here.pop(self._path, None)
        self._stream.close()
        if self._announced is not None:
            self._announced.unlink(missing_ok=True)

    @property
    def is_there(self) -> bool:
        """Whether the directory still holds the file that was locked, and not another one or none."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._stream.fileno()))


# ---- without locks ----------------------------------------------------------------------------------------

_NO_LOCKS = (
    f"this file system has no locks: a file {LOCK}.HOST-PROCESS keeps a second run out of this directory instead; "
    "if this run is killed and goes on from another machine, that file has to be removed by hand"
)


def _announce(directory: Path) -> Path:
    """Write this process's file, making sure that there is no other.

    Raises:
        RecipeError: another process works here, or one on another machine may.
        DiskError: the file cannot be written.
    """
    own = directory / f"{LOCK}.{socket.gethostname()}-{os.getpid()}"
    with disk_errors(own), make_own(own) as stream:
        stream.write(_me().encode())
    for other in sorted(directory.glob(f"{LOCK}.*-*")):
        if other == own:
            continue
        said = _read(other)
        if not _is_dead(said):
            own.unlink(missing_ok=True)
            raise _held(directory, said, announced=other)
        other.unlink(missing_ok=True)
    return own


def _read(path: Path) -> str:
    try:
        return read_whole(path, _MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def _is_dead(holder: str) -> bool:
    """Whether the process that a holder's file names has certainly ended."""
    try:
        who = json.loads(holder)
        host, process, born = who["host"], int(who["pid"]), who.get("born")
    except _NOT_OURS:
        return False
    if host != socket.gethostname():
        return False
    return not process_lives(process) or born != _born(process)


def _me() -> str:
    process = os.getpid()
    who: dict[str, Any] = {"pid": process, "host": socket.gethostname(), "since": time.time()}
    return json.dumps(who | {"born": _born(process)})


def _born(process: int) -> str | None:
    """When the kernel started a process, in its own count, because process numbers are used again. None without
    /proc."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _held(directory: Path, said: str, *, announced: Path | None = None) -> RecipeError:
    try:
        who = json.loads(said)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["since"]))
        name = f"process {who['pid']} on {who['host']} since {since}"
    except _NOT_OURS:
        name = "another process"
    unless = f"; if it no longer exists, remove {announced}" if announced else ""
    return RecipeError(
        "E035",
        f"a run is going on in `{directory}`: {name} holds it",
        place="output",
        why="two runs in one directory would mix their checkpoints and metrics",
        hint=f"wait for it, stop it, or name another `output`{unless}",
    )
