"""The steps of a pipeline, one after the other in this process, or side by side: each in a process of its own that ends
with it, on a card of its own or with its share of the processor.

What the processes print comes through this one, line by line, with the step's name before it. A step that fails does
not end the others: nothing more is started, they are waited for, and then its error is raised. A request to stop is
handed on to all of them; they also stop, with everything saved, when this process is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol

from llamatune.errors import LlamatuneError, LostProcessError, StoppedError
from llamatune.launch.elastic import devices_here
from llamatune.runs.handover import Result
from llamatune.runs.signals import StopRequest

Job = Callable[[], Result]
_LOOK = 0.2
"""Seconds after which a request to stop is seen."""
_LAST_LINES = 5.0
"""Seconds to wait for the last lines of a process, which one that it has started may keep from ending."""


@dataclass(frozen=True)
class EndedStep:
    """A step that has come to its end, and how long it took."""

    name: str
    result: Result
    seconds: float


class UnderWay(Protocol):
    """Steps that have been started. `names`: of those that have not come to their end; `free`: whether another may be
    started; `busy`: whether there is something to wait for."""

    @property
    def names(self) -> set[str]: ...

    @property
    def free(self) -> bool: ...

    @property
    def busy(self) -> bool: ...

    def start(self, name: str, job: Job) -> None: ...

    def next_ended(self) -> EndedStep:
        """Wait for one of them. Raises LlamatuneError: what ended a step."""


class OneByOne:
    """Each step in this process, when it is waited for."""

    def __init__(self) -> None:
        self._next: tuple[str, Job] | None = None

    @property
    def names(self) -> set[str]:
        return {self._next[0]} if self._next else set()

    @property
    def free(self) -> bool:
        return self._next is None

    @property
    def busy(self) -> bool:
        return self._next is not None

    def start(self, name: str, job: Job) -> None:
        self._next = name, job

    def next_ended(self) -> EndedStep:
        assert self._next is not None, "there is one to wait for"
        (name, job), self._next = self._next, None
        started = time.monotonic()
        return EndedStep(name, job(), time.monotonic() - started)


@dataclass
class _Running:
    """A step under way in its process. `place`: which share of the machine it has."""

    name: str
    place: int
    process: SpawnProcess
    answer: Connection
    lines: threading.Thread
    started: float = field(default_factory=time.monotonic)

    @property
    def waited_for(self) -> list[Connection | int]:
        """An answer, or the end of a process that gives none."""
        return [self.answer, self.process.sentinel]


class SideBySide:
    """Up to `count` steps at a time, each in a process of its own; use as a context manager.

    Args:
        output: the pipeline's folder, for messages.
        cpu: no step uses a card.
        say: prints a line.
    """

    def __init__(self, count: int, output: Path, say: Callable[[str], None], *, cpu: bool) -> None:
        self._count, self._output, self._say, self._cpu = count, output, say, cpu
        self._running: list[_Running] = []
        self._shares: list[dict[str, str]] = []
        self._failure: LlamatuneError | None = None
        self._asked = False
        self._signals = ExitStack()
        self._stop = StopRequest()
        self._stop.doing = lambda: "what each step is at"

    @property
    def names(self) -> set[str]:
        return {one.name for one in self._running}

    @property
    def free(self) -> bool:
        return self._failure is None and len(self._running) < self._count

    @property
    def busy(self) -> bool:
        return bool(self._running or self._failure)

    def __enter__(self) -> SideBySide:
        self._signals.enter_context(self._stop.listening())
        self._signals.enter_context(self._stop.waiting())
        return self

    def __exit__(self, *error: object) -> None:
        """However this ends, no process is left behind."""
        self._hand_on()
        for one in self._running:
            one.process.join()
        self._signals.close()

    def start(self, name: str, job: Job) -> None:
        """Start a step.

        Raises:
            RecipeError: E025, there are fewer cards than steps that may run at a time.
        """
        self._shares = self._shares or _shares(self._count, cpu=self._cpu)
        place = min(set(range(self._count)) - {one.place for one in self._running})
        context = multiprocessing.get_context("spawn")
        answer, answers = context.Pipe(duplex=False)
        prints, printed = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(job, self._shares[place], answers, printed), name=f"step {name}"
        )
        process.start()
        answers.close()
        printed.close()
        lines = threading.Thread(
            target=self._print, args=(name, prints), daemon=True, name=f"lines of {name}"
        )
        lines.start()
        self._running.append(_Running(name, place, process, answer, lines))

    def next_ended(self) -> EndedStep:
        """Wait for one of the steps.

        Raises:
            StoppedError: E901, a signal asked for it; everything is saved.
            LlamatuneError: what ended a step, once the others have ended.
        """
        while self._running:
            ready = wait([one for step in self._running for one in step.waited_for], _LOOK)
            if self._stop.signal is not None and not self._asked:
                self._asked = True
                self._failure = self._failure or self._stopped()
                self._hand_on()
            for one in [one for one in self._running if any(end in ready for end in one.waited_for)]:
                self._running.remove(one)
                found = self._end(one)
                if isinstance(found, Result):
                    return EndedStep(one.name, found, time.monotonic() - one.started)
                if self._failure is None:
                    self._failure = found
                    self._say(f"step {one.name} ended: {found.problems[0].what}")
                    if self._running:
                        self._say(f"waiting for {', '.join(other.name for other in self._running)}")
        assert self._failure is not None, "there was something to wait for"
        raise self._failure

    def _end(self, one: _Running) -> Result | LlamatuneError:
        """What a process has come to, and its last lines."""
        try:
            found: Result | LlamatuneError | None = one.answer.recv() if one.answer.poll() else None
        except EOFError:
            found = None
        one.answer.close()
        one.process.join()
        one.lines.join(_LAST_LINES)
        return found or self._lost(one)

    def _lost(self, one: _Running) -> LostProcessError:
        code = one.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return LostProcessError(
            "E904",
            f"the process of the step `{one.name}` {how}",
            place=f"{self._output}/{one.name}",
            why="the step has not finished",
        )

    def _print(self, name: str, prints: Connection) -> None:
        with open(prints.fileno(), encoding="utf-8", errors="replace", closefd=False) as lines:
            for line in lines:
                self._say(f"{name} | {line.rstrip()}")
        prints.close()

    def _hand_on(self) -> None:
        """Ask the processes to stop. After a Ctrl-C they have heard of it already, and this changes nothing."""
        for one in self._running:
            one.process.terminate()

    def _stopped(self) -> StoppedError:
        assert self._stop.signal is not None, "somebody asked"
        error = StoppedError(
            "E901",
            f"stopped by {self._stop.signal.name}; every step that was under way is saved",
            place=str(self._output),
            hint="the same command goes on",
        )
        error.exit_code = self._stop.exit_code
        return error


def _shares(count: int, *, cpu: bool) -> list[dict[str, str]]:
    """What keeps each of so many processes to its part of the machine, as environment variables.

    Raises:
        RecipeError: E025, there are fewer cards.
    """
    import torch

    devices_here(count, cpu=cpu, key="side_by_side")
    if cpu or not torch.cuda.is_available():
        threads = os.environ.get("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // count, 1)))
        return [{"OMP_NUM_THREADS": threads}] * count
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    return [{"CUDA_VISIBLE_DEVICES": card} for card in visible.split(",")]


def _work(job: Job, share: Mapping[str, str], answers: Connection, printed: Connection) -> None:
    """What a process does: a step, with its share of the machine."""
    os.environ |= share  # before torch is imported, which reads it once
    for stream in (1, 2):
        os.dup2(printed.fileno(), stream)
    printed.close()
    threading.Thread(target=_stop_with_parent, daemon=True, name="parent").start()
    try:
        answers.send(job())
    except LlamatuneError as error:
        answers.send(error)


def _stop_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is the process of a step"
    parent.join()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.kill(os.getpid(), signal.SIGTERM)
