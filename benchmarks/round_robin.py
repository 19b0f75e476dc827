"""Several trainings, one at a time, a few steps each: A B C A B C ...

What else a machine does changes from minute to minute. Taking turns of a few seconds, all contenders suffer from it
alike, and the ratio of two neighbouring turns means something where their times do not. Each training has a process
of its own, as it would have with its user; only one of them is ever awake. A training may need libraries in other
versions: then it is a script, run by the Python that has them, and says by lines of JSON what the others say by a pipe.

This module needs the standard library only, so that such scripts can import it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any, Protocol

QUIET = 0.05
"""Other programs' share of the processors up to which a turn counts as undisturbed."""
_LOOK = 2.0
"""Seconds without others after which a turn may begin."""
_END = "end"

StepDone = Callable[[], None]
"""What a training calls after each step; returns when it is its turn again."""
Training = Callable[[StepDone], Any]
"""Trains from beginning to end; what it returns must be picklable, as the function itself."""


@dataclass(frozen=True)
class Script:
    """A training of another Python: the command of a script that calls `follow`."""

    command: Sequence[str]


@dataclass
class Turns:
    """What became of a training.

    `seconds`: of each turn; the time between two steps (logging, fetching the next rows) is part of it.
    `processor_seconds`: of all threads of the training during each turn.
    `others`: share of the processors' time that other programs took during each turn; NaN where the system
    does not say. `result`: what the training returned. `peak_gib`: most memory that its process held.
    """

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    result: Any = None
    peak_gib: float = 0.0


def round_robin(
    trainings: Mapping[str, Training | Script], *, turns: int, steps: int, patience: float = 0.0
) -> dict[str, Turns]:
    """Give every training its turns of so many steps; every one must make turns * steps steps in all.

    `patience`: most seconds to wait before a turn for other programs to leave the processors alone.

    Raises:
        RuntimeError: a training failed; its traceback is on standard error.
    """
    started = {name: _start(training, steps) for name, training in trainings.items()}
    found = {name: Turns() for name in trainings}
    try:
        for _ in range(turns):
            for name, (_, end) in started.items():
                _wait_for_quiet(patience)
                _turn(end, found[name])
        for name, (process, end) in started.items():
            end.send(_END)
            found[name].result, found[name].peak_gib = end.recv()
            process.join()
    except (EOFError, BrokenPipeError):
        raise RuntimeError("a training failed") from None
    finally:
        for process, _ in started.values():
            process.kill()
    return found


class _End(Protocol):
    """One's own end of a pipe to another process."""

    def send(self, message: Any, /) -> None: ...
    def recv(self) -> Any: ...


class _Process(Protocol):
    def join(self) -> None: ...
    def kill(self) -> None: ...


class _ScriptProcess(subprocess.Popen[str]):
    def join(self) -> None:
        self.wait()


class _Lines:
    """A pipe of lines of JSON."""

    def __init__(self, reader: IO[str], writer: IO[str]) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, message: Any, /) -> None:
        print(json.dumps(message), file=self.writer, flush=True)

    def recv(self) -> Any:
        line = self.reader.readline()
        if not line:
            raise EOFError
        return json.loads(line)


def _start(training: Training | Script, steps: int) -> tuple[_Process, _End]:
    if isinstance(training, Script):
        script = _ScriptProcess(training.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert script.stdin is not None and script.stdout is not None
        lines = _Lines(script.stdout, script.stdin)
        lines.send(steps)
        return script, lines
    context = get_context("spawn")
    end, other = context.Pipe()
    process = context.Process(target=_work, args=(training, other, steps), daemon=True)
    process.start()
    other.close()
    return process, end


def follow(training: Training) -> None:
    """A script's part: train by turns as `round_robin` says on standard input; the result must be JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    end = _Lines(sys.stdin, answers)
    _work(training, end, steps=end.recv())


def _turn(end: _End, found: Turns) -> None:
    busy, started = _busy_seconds(), time.perf_counter()
    end.send("go")
    seconds, own = end.recv()
    share = (_busy_seconds() - busy - own) / ((time.perf_counter() - started) * (os.cpu_count() or 1))
    found.seconds.append(seconds)
    found.processor_seconds.append(own)
    found.others.append(share if share != share else max(share, 0.0))


def _wait_for_quiet(patience: float) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        busy = _busy_seconds()
        time.sleep(_LOOK)
        if not _busy_seconds() - busy > QUIET * _LOOK * (os.cpu_count() or 1):
            return


def _work(training: Training, end: _End, steps: int) -> None:
    """A training's process."""
    message = end.recv()
    count, wall, own = 0, time.perf_counter(), time.process_time()

    def step_done() -> None:
        nonlocal message, count, wall, own
        count += 1
        if count % steps == 0:
            if message == _END:
                raise RuntimeError(f"the training has made {count} steps and goes on after its last turn")
            end.send((time.perf_counter() - wall, time.process_time() - own))
            message = end.recv()
            wall, own = time.perf_counter(), time.process_time()

    result = training(step_done)
    end.send((result, peak_gib()))


def peak_gib() -> float:
    """Most memory that this process held: the kernel's own mark, which a new program starts at zero, or `ru_maxrss`,
    which at first is that of the process that started this one."""
    status = Path("/proc/self/status")
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _busy_seconds() -> float:
    """Seconds that all processors together have worked since the system started."""
    file = Path("/proc/stat")
    if not file.exists():
        return float("nan")
    user, nice, system, _idle, _waiting, *rest = map(int, file.read_text("utf-8").split("\n")[0].split()[1:])
    return float(user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")
