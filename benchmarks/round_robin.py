"""Several trainings, one at a time, a few steps each: A B C A B C ...

What else a machine does changes from minute to minute. Taking turns of a few seconds, all contenders suffer from it
alike, and the ratio of two neighbouring turns means something where their times do not. Each training has a process
of its own, as it would have with its user; only one of them is ever awake.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

QUIET = 0.05
"""Other programs' share of the processors up to which a turn counts as undisturbed."""
_LOOK = 2.0
"""Seconds without others after which a turn may begin."""

StepDone = Callable[[], None]
"""What a training calls after each step; returns when it is its turn again."""
Training = Callable[[StepDone], Any]
"""Trains from beginning to end; what it returns must be picklable, as the function itself."""


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
    trainings: Mapping[str, Training], *, turns: int, steps: int, patience: float = 0.0
) -> dict[str, Turns]:
    """Give every training its turns of so many steps; every one must make turns * steps steps in all.

    `patience`: most seconds to wait before a turn for other programs to leave the processors alone.

    Raises:
        RuntimeError: a training failed; its traceback is on standard error.
    """
    context = get_context("spawn")
    processes, ends = {}, {}
    for name, training in trainings.items():
        ends[name], other = context.Pipe()
        processes[name] = context.Process(target=_work, args=(training, other, steps), daemon=True)
        processes[name].start()
        other.close()
    found = {name: Turns() for name in trainings}
    try:
        for _ in range(turns):
            for name, end in ends.items():
                _wait_for_quiet(patience)
                _turn(end, found[name])
        for name, end in ends.items():
            end.send("end")
            found[name].result, found[name].peak_gib = end.recv()
            processes[name].join()
    except EOFError:
        raise RuntimeError("a training failed") from None
    finally:
        for process in processes.values():
            process.kill()
    return found


def _turn(end: Connection, found: Turns) -> None:
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


def _work(training: Training, end: Connection, steps: int) -> None:
    """A training's process."""
    end.recv()
    count, wall, own = 0, time.perf_counter(), time.process_time()

    def step_done() -> None:
        nonlocal count, wall, own
        count += 1
        if count % steps == 0:
            end.send((time.perf_counter() - wall, time.process_time() - own))
            end.recv()
            wall, own = time.perf_counter(), time.process_time()

    result = training(step_done)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    end.send((result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30))


def _busy_seconds() -> float:
    """Seconds that all processors together have worked since the system started."""
    file = Path("/proc/stat")
    if not file.exists():
        return float("nan")
    user, nice, system, _idle, _waiting, *rest = map(int, file.read_text("utf-8").split("\n")[0].split()[1:])
    return float(user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")
