"""run.json: who is working on a run, how far it has come, and how it ended.

A process that dies without a word (kill -9, the kernel's out-of-memory killer, a power cut) leaves the state
`running`; the next start says so. Where a process is at the moment, `Position` tells the others of its run.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llamatune.runs.files import read_json, write_json

FILE = "run.json"
_HEARTBEAT_SECONDS = 5.0


@dataclass
class Position:
    """Where a process is: the step, how many places of it have been passed, and what is being done there; `moves`
    counts signs of life between two places, which differ between processes and say nothing of who is behind.

    Without `doing`, nobody can tell work from a standstill, and a process is not called stuck.
    """

    step: int = 0
    passed: int = 0
    doing: str = ""
    moves: int = 0

    def begin(self, step: int, doing: str) -> None:
        """A step begins."""
        self.step, self.passed, self.doing = step, 0, doing

    def at(self, doing: str) -> None:
        """The next place of the same step."""
        self.passed, self.doing = self.passed + 1, doing

    def leave(self) -> None:
        """What follows takes as long as it takes."""
        self.at("")

    def move(self, doing: str) -> None:
        """A sign of life at the same place."""
        self.moves, self.doing = self.moves + 1, doing


_here: list[Position] = []
"""The position of this process's run, while the others look at it."""


@contextmanager
def looked_at(position: Position) -> Iterator[None]:
    """While inside, `busy` and `moved` tell it of what this process does."""
    _here.append(position)
    try:
        yield
    finally:
        _here.remove(position)


@contextmanager
def busy(doing: str = "") -> Iterator[None]:
    """A piece of work of minutes at most, such as a forward pass: a process that stays in it for longer, without
    `moved`, stands still. Around it, nothing is said of how long the work may take."""
    before = [(position, position.doing) for position in _here]
    moved(doing)
    try:
        yield
    finally:
        for position, outside in before:
            position.move(outside)


def moved(doing: str) -> None:
    """Within a piece, the next thing."""
    for position in _here:
        position.move(doing)


def reached() -> None:
    """A place that every process of the run passes, such as one where they wait for each other."""
    for position in _here:
        position.passed += 1


@dataclass
class Attempt:
    """One process's work on the run. Times are seconds since 1970; `exit_code` is None while it works."""

    started: float
    pid: int
    host: str
    from_step: int
    last_step: int
    ended: float | None = None
    exit_code: int | None = None
    reason: str | None = None

    @classmethod
    def of(cls, content: Any) -> Attempt:
        """From run.json. Raises what Python raises where it holds something else."""
        ended, exit_code, reason = (content.get(name) for name in ("ended", "exit_code", "reason"))
        return cls(
            started=float(content["started"]),
            pid=int(content["pid"]),
            host=str(content["host"]),
            from_step=int(content["from_step"]),
            last_step=int(content["last_step"]),
            ended=float(ended) if ended is not None else None,
            exit_code=int(exit_code) if exit_code is not None else None,
            reason=str(reason) if reason is not None else None,
        )


@dataclass
class Status:
    """The content of run.json. `state`: running, finished, stopped (continues with the same command), failed."""

    path: Path
    state: str = "running"
    step: int = 0
    total_steps: int | None = None
    heartbeat: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    _written = 0.0  # by the monotonic clock, and so no field: it means nothing to another process

    @classmethod
    def read(cls, directory: Path) -> Status:
        """What an earlier process left, or an empty status where the file is missing or something else."""
        content = read_json(directory / FILE) or {}
        try:
            total, heartbeat = content.get("total_steps"), float(content.get("heartbeat", 0.0))
            time.localtime(heartbeat)
            return cls(
                directory / FILE,
                state=str(content.get("state", "new")),
                step=int(content.get("step", 0)),
                total_steps=int(total) if total is not None else None,
                heartbeat=heartbeat,
                attempts=[Attempt.of(one) for one in content.get("attempts", [])],
            )
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, OSError):
            return cls(directory / FILE, state="new")

    def previous_end(self) -> str | None:
        """How the process before this one ended, in a sentence; None when there is nothing to say."""
        if not self.attempts or self.state in ("new", "finished"):
            return None
        last = self.attempts[-1]
        if self.state == "running":
            seen = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.heartbeat))
            return (
                f"the previous process ({last.pid} on {last.host}) died without a word at about step {self.step}, "
                f"last seen {seen}: killed (kill -9, or by the kernel when memory ran out), or the machine stopped"
            )
        return f"the previous process ended at step {last.last_step}: {last.reason or 'no reason recorded'}"

    def begin(self, from_step: int) -> None:
        if self.attempts and self.attempts[-1].reason is None:
            self.attempts[-1].reason, self.attempts[-1].ended = "died without a word", self.heartbeat
        self.attempts.append(Attempt(time.time(), os.getpid(), socket.gethostname(), from_step, from_step))
        self.state, self.step = "running", from_step
        self._write()

    def beat(self, step: int, total_steps: int | None = None, *, at_once: bool = False) -> None:
        """Say that the process lives; written at most every few seconds, or at once."""
        self.step, self.attempts[-1].last_step = step, step
        self.total_steps = total_steps or self.total_steps
        if at_once or time.monotonic() - self._written >= _HEARTBEAT_SECONDS:
            self._write()

    def end(self, state: str, exit_code: int, reason: str) -> None:
        last = self.attempts[-1]
        self.state = state
        last.ended, last.exit_code, last.reason, last.last_step = time.time(), exit_code, reason, self.step
        self._write()

    def complete(self, step: int) -> None:
        """The result is there, whatever ended the process after that."""
        last = self.attempts[-1]
        self.state, self.step, last.last_step = "finished", step, step
        if last.ended is None:
            last.ended, last.exit_code, last.reason = self.heartbeat, 0, "done"
        self._write()

    def _write(self) -> None:
        self.heartbeat = time.time()
        content: dict[str, Any] = asdict(self)
        del content["path"]
        last = self.attempts[-1]
        write_json(self.path, {"pid": last.pid, "host": last.host, **content})
        self._written = time.monotonic()
