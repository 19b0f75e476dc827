"""Open files that somebody else wrote: plain files only, and small ones only up to a limit.

A pipe would be waited for without end, and a device has none. What is refused is an `OSError` that says so, as for any
other file that cannot be read.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MOST = 256 << 20
"""Most bytes of a file that is read whole: the largest tokenizers have a tenth of it."""


def open_plain(path: Path, *, buffering: int = -1) -> BinaryIO:
    """Open a plain file for reading. Raises OSError, also for a folder, a pipe, a socket or a device."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for whoever writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a NUL in the path, or half a surrogate pair
        raise OSError(errno.EINVAL, f"not a file name ({error})") from None
    try:
        if problem := _not_plain(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, problem, str(path))
        os.set_blocking(handle, True)
        return os.fdopen(handle, "rb", buffering)
    except BaseException:
        os.close(handle)
        raise


def _not_plain(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return f"{kinds.get(stat.S_IFMT(mode), 'a device')}, not a file"


def read_whole(path: Path, most: int = MOST) -> bytes:
    """The content of a plain file. Raises OSError, also where it is longer than `most` bytes."""
    with open_plain(path) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most >> 20:,} MiB", str(path))
        return stream.read()


def read_any_json(path: Path, most: int = MOST) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, nested too deep, or holds a number of thousands of digits.
    """
    try:
        return json.loads(read_whole(path, most).decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deep") from None
