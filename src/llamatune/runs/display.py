"""Progress on the terminal: one rich display, or plain lines where there is no terminal.

Everything goes to standard error; standard output is for data. A notebook's cell shows it among what it prints.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from llamatune.shown import printable

_FIGURES = (
    ("reward", "reward {:.3f}"),
    ("kl", "KL {:.3f}"),
    ("ratio", "ratio {:.3f}"),
    ("clip_share", "clipped {:.1%}"),
    ("entropy", "entropy {:.2f}"),
    ("explained_variance", "explained {:.2f}"),
    ("length", "{:.0f} tokens"),
    ("ended_share", "{:.0%} ended"),
    ("loss", "loss {:.4f}"),
    ("learning_rate", "lr {:.2e}"),
    ("grad_norm", "grad {:.2f}"),
    ("trained_tokens_per_second", "{} tok/s"),
    ("pairs_per_second", "{} pairs/s"),
    ("rows_per_second", "{} rows/s"),
    ("rollouts_per_second", "{} rollouts/s"),
    ("memory_gib", "{:.2f} GiB"),
)


_BETWEEN_LINES = 10.0
"""Seconds between two lines about parts, where there is no terminal."""


class _Console(Console):
    """A reader that has gone (`2>&1 | head`) ends the printing, not the training."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _console(*, quiet: bool = False) -> Console:
    """Lines to standard error, which rich leaves as they are; in a notebook plain text of the cell, where rich would
    make a web page of each line."""
    plain = False if Console().is_jupyter else None
    return _Console(
        stderr=plain is None,
        force_jupyter=plain,
        force_terminal=plain,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
        quiet=quiet,
    )


class Display:
    """Shows a stage's progress; use as a context manager.

    Lines from `say` and from `update` go above the bar on a terminal, and are all there is elsewhere. `quiet`: show
    nothing, as in the processes of a distributed run that only compute.
    """

    def __init__(self, stage: str, *, quiet: bool = False) -> None:
        self.stage = stage
        self._console = _console(quiet=quiet)
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()
        self._total = 0
        self._done = 0
        self._afterwards = 0.0
        self._shown_at = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """Print a line; hostile data in it cannot control the terminal."""
        self._console.print(printable(line))

    def say_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.say(line)

    def start(self, total_steps: int, *, done: int = 0, afterwards: float = 0.0) -> None:
        """Begin counting steps.

        Args:
            done: how many of them were made by an earlier process.
            afterwards: how many steps what follows the last one takes as long as.
        """
        self._total, self._done, self._afterwards = total_steps, done, afterwards
        self._started = time.monotonic()
        if self._console.is_terminal and not self._console.quiet:
            self._live = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                TextColumn("{task.fields[left]}", markup=False),
                console=self._console,
            )
            self._task = self._live.add_task(
                printable(self.stage), total=total_steps, completed=done, figures="", left=""
            )
            self._live.start()

    def advance(self, step: int) -> None:
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=step, left=self._left(step))

    def part(self, what: str, count: int, of: int) -> None:
        """Show how many parts of some work are there: in a bar, or as a line now and then."""
        if what != self.stage:
            if self._live is not None:
                self._live.stop()
                self._live = None
            self.stage, self._shown_at = what, 0.0
            self.start(of, done=count)
        now = time.monotonic()
        if self._live is None and (count == of or now - self._shown_at > _BETWEEN_LINES):
            self._shown_at = now
            self.update(count, {})
        self.advance(count)

    def update(self, step: int, figures: dict[str, float]) -> None:
        """Show the figures of a logged step: in the bar, or as a line."""
        text = "  ".join(
            form.format(_shown(name, figures[name])) for name, form in _FIGURES if name in figures
        )
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=step, figures=text, left=self._left(step))
            return
        self.say(f"{self.stage} {step}/{self._total}  {text}  {self._left(step)}")

    def _left(self, step: int) -> str:
        """About how long it will take to the end of the run, at the speed of this process so far."""
        if step <= self._done:
            return ""
        a_step = (time.monotonic() - self._started) / (step - self._done)
        return f"{_clock(a_step * (self._total - step + self._afterwards))} left"


def _shown(name: str, value: float) -> float | str:
    """A speed with at least two digits: a large model makes less than one row a second."""
    if not name.endswith("_per_second"):
        return value
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """`tick(done)` shows on a terminal how many there are so far; elsewhere it shows nothing."""
    console = _console()
    if not console.is_terminal:
        yield lambda done: None
        return
    with console.status(what) as status:
        yield lambda done: status.update(f"{what}: {done:,}") if done % 100 == 0 else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
