"""Open files that somebody else may have made: plain files only, and small ones only up to a limit; and read JSON.

A pipe would be waited for without end, and a device has none. Where a file is to be written, a link could lead
anywhere. What is refused is an `OSError` that says so, as for any other file that cannot be opened.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, BinaryIO

MOST = 256 << 20
"""Most bytes of a file that is read whole: the largest tokenizers have a tenth of it."""

_LONGEST_NAME = 255
"""Bytes of a file's name, on most file systems."""

_DEEPEST = 128
"""Levels of lists and objects in each other. No file of any tool has a tenth of it, and code that walks through what
was read calls itself for each."""


def open_plain(path: Path, *, buffering: int = 1 << 16) -> BufferedReader:
    """Open a plain file for reading. Raises OSError, also for a folder, a pipe, a socket or a device."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for whoever writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a NUL in the path, or half a surrogate pair
        raise OSError(errno.EINVAL, f"not a file name ({error})") from None
    try:
        _check_plain(handle, path)
        os.set_blocking(handle, True)
        return BufferedReader(FileIO(handle), buffering)
    except BaseException:
        os.close(handle)
        raise


def open_own(path: Path) -> BinaryIO:
    """Open a file to read it and to add to its end, created where it is missing; never one that a link leads to."""
    return open(path, "ab+", opener=_without_links)


def write_own(path: Path, text: str) -> None:
    """Write a small file anew; never one that a link leads to, and never into a pipe. Raises OSError."""
    with open(path, "w", encoding="utf-8", opener=_without_links) as stream:
        stream.write(text)


def make_own(path: Path) -> BinaryIO:
    """Open a new file for writing, in place of what may be there under its name; a link is not followed. Raises
    OSError."""
    try:
        return path.open("xb")
    except FileExistsError:
        path.unlink()
        return path.open("xb")


def _without_links(path: str, flags: int) -> int:
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link, not a file", path) from None
        raise
    try:
        _check_plain(handle, path)
    except OSError:
        os.close(handle)
        raise
    return handle


def _check_plain(handle: int, path: Path | str) -> None:
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"{kind_of_file(mode)}, not a file", str(path))


def is_file(path: Path) -> bool:
    """Whether there is a plain file; under a name that no file can have, there is none."""
    try:
        return path.is_file()
    # too long, half a surrogate pair, a folder that may not be looked into
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; under a name that none can have, there is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is anything; under a name that nothing can have, there is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def kind_of_file(mode: int) -> str:
    """What a path leads to, by its `st_mode`."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def checked_number(value: Any) -> Any:
    """A number that was read from a file, as it is. Raises TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{str(value)[:40]!r} where a number is expected")
    return value


def is_plain_name(name: object) -> bool:
    """Whether a name that was read from a file names something beside that file: a path could lead anywhere."""
    if not isinstance(name, str) or name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):
        return False
    try:
        return len(name.encode()) <= _LONGEST_NAME
    except UnicodeEncodeError:
        return False


def read_whole(path: Path, most: int = MOST) -> bytes:
    """The content of a plain file. Raises OSError, also where it is longer than `most` bytes."""
    with open_plain(path) as stream:
        if os.fstat(stream.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most >> 20:,} MiB", str(path))
        return stream.read()


Pairs = list[tuple[Any, Any]]
"""The keys and values of an object, as `json` hands them to a hook."""


class RepeatedKeyError(ValueError):
    """An object has a key twice."""

    def __init__(self, key: object) -> None:
        super().__init__(f"the key {ascii(key)[:60]} is in one object twice")


def each_key_once(pairs: Pairs) -> dict[Any, Any]:
    """The object of these keys and values, as a hook for `json`. Raises RepeatedKeyError: one would be lost in
    silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RepeatedKeyError(there_twice([key for key, _ in pairs]))
    return found


def there_twice(names: Sequence[Any]) -> Any:
    """The first name that is there more than once; None where each is there once."""
    counts = Counter(names)
    return next((name for name in names if counts[name] > 1), None)


def parse_json(text: str) -> Any:
    """The content of a JSON text.

    Raises:
        ValueError: it is no JSON, has a key twice in one object, is nested too deep, or holds a number of thousands of
            digits.
    """
    try:
        content = json.loads(text, object_pairs_hook=each_key_once)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if is_deeper(content, _DEEPEST):
        raise ValueError(_TOO_DEEP)
    return content


_TOO_DEEP = f"lists and objects are nested more than {_DEEPEST} levels deep"


def is_deeper(content: Any, levels: int) -> bool:
    """Whether lists and objects are nested more than so many levels deep."""
    level = [content]
    for _ in range(levels + 1):
        level = [one for one in level if isinstance(one, (dict, list))]
        if not level:
            return False
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def read_any_json(path: Path, most: int = MOST) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: what `parse_json` raises.
    """
    return parse_json(read_whole(path, most).decode("utf-8"))
