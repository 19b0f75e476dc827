"""The system calls with which a command changes files, one by one: each can be its last, or fail.

The kernel shows each of them before it is carried out (seccomp's user notification), whoever makes it: Python, the Rust
of safetensors and tokenizers, the C++ of torch and Arrow. Linux on x86-64.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import select
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HANDS_OVER = sys.platform == "linux" and platform.machine() == "x86_64"

_CALLS: dict[int, tuple[str, str]] = {
    1: ("write", "handle"),
    18: ("write", "handle"),
    20: ("write", "handle"),
    40: ("write", "handle"),
    74: ("sync", "handle"),
    75: ("sync", "handle"),
    76: ("truncate", "path"),
    77: ("truncate", "handle"),
    82: ("rename", "path"),
    83: ("make folder", "path"),
    84: ("remove folder", "path"),
    87: ("remove", "path"),
    90: ("change mode", "path"),
    91: ("change mode", "handle"),
    257: ("create", "at"),
    258: ("make folder", "at"),
    263: ("remove", "at"),
    264: ("rename", "at"),
    268: ("change mode", "at"),
    285: ("truncate", "handle"),
    296: ("write", "handle"),
    316: ("rename", "at"),
    326: ("write", "third"),
}
"""Number -> what it does, and where it says with which file."""
_OPENAT = 257
_OPENED_TO_CHANGE = os.O_CREAT | os.O_TRUNC

_TEMPORARY = re.compile(r"(^|/)\.([^/]+)\.[^./]*-\d+(-\w{8})?(?=/|$)|(^|/)\.tmp\w{6}$")
"""Names that llamatune makes, and those of safetensors."""


@dataclass(frozen=True)
class Call:
    """One call. `file` is relative to the watched folder; temporary names are written as `NAME~`."""

    does: str
    file: str

    def __str__(self) -> str:
        return f"{self.does} {self.file}"


@dataclass(frozen=True)
class Point:
    """The `nth` of equal calls of a process, from 1: a heartbeat more or less does not change which one is meant."""

    call: Call
    nth: int

    def __str__(self) -> str:
        return f"{self.call} ({self.nth})"


Answer = int | None
"""An errno with which a call fails; None where it is carried out."""


# ---- in the command ---------------------------------------------------------------------------------------


def hand_over(name: str) -> None:
    """From here on, whoever listens at the socket `name` decides about the calls of this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = ctypes.create_string_buffer(_filter())
    described = struct.pack("HxxxxxxQ", len(_filter()) // 8, ctypes.addressof(program))
    no_new_privileges, seccomp, install, listener = 38, 317, 1, 8
    assert libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0
    handle = libc.syscall(seccomp, install, listener, described)
    if handle < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    with socket.socket(socket.AF_UNIX) as to:
        to.connect(f"\0{name}")
        socket.send_fds(to, [b"calls"], [handle])
    os.close(handle)


def _filter() -> bytes:
    """For the kernel: show these calls; of `openat`, those that create or cut a file."""
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    show, allow = 0x7FC00000, 0x7FFF0000
    number, flags = 0, 16 + 2 * 8
    plain = [one for one in _CALLS if one != _OPENAT]

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    # After the plain ones: allow; openat's flags; one of the bits?; allow; show.
    steps = [step(load, number), step(equal, _OPENAT, len(plain) + 1)]
    steps += [step(equal, one, len(plain) + 3 - at) for at, one in enumerate(plain)]
    steps += [step(give, allow), step(load, flags), step(any_bit, _OPENED_TO_CHANGE, 1)]
    steps += [step(give, allow), step(give, show)]
    return b"".join(steps)


# ---- whoever decides --------------------------------------------------------------------------------------


@dataclass
class Calls:
    """The calls of a process on files in a folder, in their order. Of the writes to an opened file, the first.

    `decide(point)` is asked about each; it may also kill the process.
    """

    folder: Path
    decide: Callable[[Point], Answer]
    made: list[Point] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._written: set[str] = set()
        self._count: Counter[Call] = Counter()
        self._socket = socket.socket(socket.AF_UNIX)
        self.name = f"calls-{os.getpid()}-{id(self)}"
        self._socket.bind(f"\0{self.name}")
        self._socket.listen()

    def watch(self) -> None:
        """Until the process has ended."""
        with self._socket, self._socket.accept()[0] as command:
            _, (handle, *_), _, _ = socket.recv_fds(command, 16, 1)
        with os.fdopen(handle) as listener:
            polled = select.poll()
            polled.register(listener, select.POLLIN)
            while not polled.poll()[0][1] & select.POLLHUP:
                self._answer(listener.fileno())

    def _answer(self, listener: int) -> None:
        shown = bytearray(80)
        try:
            fcntl.ioctl(listener, 0xC0502100, shown)
        except FileNotFoundError:  # it has been killed meanwhile
            return
        one, process, _, number = struct.unpack_from("QIIi", shown)
        arguments = struct.unpack_from("6Q", shown, 32)
        call = self._call(process, number, arguments)
        answer = None
        if call is not None:
            self._count[call] += 1
            self.made.append(Point(call, self._count[call]))
            answer = self.decide(self.made[-1])
        carry_out = 1 if answer is None else 0
        try:
            fcntl.ioctl(listener, 0xC0182101, struct.pack("QqiI", one, 0, -(answer or 0), carry_out))
        except FileNotFoundError:
            return

    def _call(self, process: int, number: int, arguments: tuple[int, ...]) -> Call | None:
        """What is asked for, if it counts."""
        does, says = _CALLS[number]
        try:
            path = self._path(process, says, arguments)
        except OSError:
            return None
        if not path.startswith(f"{self.folder}/"):
            return None
        if does == "create":
            self._written.discard(path)
        if does == "write":
            if path in self._written:
                return None
            self._written.add(path)
        return Call(does, _TEMPORARY.sub(r"\1\2\4~", path.removeprefix(f"{self.folder}/")))

    def _path(self, process: int, says: str, arguments: tuple[int, ...]) -> str:
        if says in ("handle", "third"):
            return os.readlink(f"/proc/{process}/fd/{arguments[2 if says == 'third' else 0]}")
        handle = ctypes.c_int(arguments[0]).value if says == "at" else -100
        folder = f"/proc/{process}/" + ("cwd" if handle == -100 else f"fd/{handle}")
        with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
            memory.seek(arguments[1 if says == "at" else 0])
            name = os.fsdecode(memory.read(4096).partition(b"\0")[0])
        return os.path.normpath(os.path.join(os.readlink(folder), name))
