"""Series of numbers from metrics.jsonl and speed.jsonl, and which of them share a chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llamatune.runs.report.reading import as_number
from llamatune.runs.report.words import number, steps_text

_HUGE = 1e100
"""Larger values are named instead of drawn."""

_SHARED = ("time", "step", "epoch")


@dataclass(frozen=True)
class Known:
    """How a series that llamatune writes itself is called, what it is measured in, and whether zero is shown."""

    title: str
    unit: str
    from_zero: bool


KNOWN = {
    "loss": Known("Loss", "nats per trained token", False),
    "learning_rate": Known("Learning rate", "", True),
    "grad_norm": Known("Gradient norm", "norm before clipping", True),
    "trained_tokens_per_second": Known("Speed", "trained tokens per second", True),
    "pairs_per_second": Known("Speed", "pairs per second", True),
    "rows_per_second": Known("Speed", "rows per second", True),
    "rollouts_per_second": Known("Speed", "rollouts per second", True),
    "memory_gib": Known("Peak memory", "GiB", True),
}


@dataclass
class Series:
    """One number over steps, in the order in which it was written."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    odd: list[tuple[float, float]] = field(default_factory=list)
    """Steps and values that cannot be drawn: NaN, infinite, or astronomically large."""

    def add(self, step: float, value: float) -> None:
        if abs(value) < _HUGE:
            self.steps.append(step)
            self.values.append(value)
        else:
            self.odd.append((step, value))

    @property
    def logged(self) -> int:
        return len(self.values) + len(self.odd)

    @property
    def last_step(self) -> float:
        return max([*self.steps, *(step for step, _ in self.odd)], default=0.0)

    @property
    def odd_text(self) -> str:
        """`NaN at step 12`; empty when every value is an ordinary number."""
        by_name: dict[str, list[float]] = {}
        for step, value in self.odd:
            by_name.setdefault(number(value), []).append(step)
        return "; ".join(f"{name} at {steps_text(steps)}" for name, steps in list(by_name.items())[:5])


@dataclass(frozen=True)
class Chart:
    """One chart: a series, and the same measured on held-out rows where there is one."""

    name: str
    title: str
    unit: str
    from_zero: bool
    train: Series
    held_out: Series

    @property
    def odd_text(self) -> str:
        texts = [self.train.odd_text, f"held-out {self.held_out.odd_text}" if self.held_out.odd else ""]
        return "; ".join(text for text in texts if text)

    @property
    def drawable(self) -> bool:
        return bool(self.train.values or self.held_out.values)

    @property
    def single(self) -> bool:
        """Logged once, like a total at the end: a number, not a curve."""
        return self.train.logged + self.held_out.logged == 1

    @property
    def only(self) -> tuple[str, str]:
        """Value and step of what was logged once."""
        series = self.train if self.train.logged else self.held_out
        step, value = (series.odd or list(zip(series.steps, series.values, strict=True)))[0]
        return number(value), number(step)

    @property
    def last_step(self) -> float:
        return max(self.train.last_step, self.held_out.last_step)

    @property
    def summary(self) -> str:
        """The last values, and the lowest held-out loss where that was earlier."""
        train, held_out = self.train.values, self.held_out.values
        parts = [f"last {number(train[-1])}"] if train else []
        if held_out:
            best = min(range(len(held_out)), key=held_out.__getitem__)
            earlier = self.name == "loss" and held_out[best] < held_out[-1]
            lowest = f"lowest {number(held_out[best])} at step {number(self.held_out.steps[best])}"
            parts.append(f"held-out {number(held_out[-1])}" + (f" ({lowest})" if earlier else ""))
        return ", ".join(parts)


def collect(records: Iterable[dict[str, Any]]) -> dict[str, Series]:
    """Every numeric series in the lines of metrics.jsonl or speed.jsonl, by name; lines without a step do not count."""
    found: dict[str, Series] = {}
    for record in records:
        step = as_number(record.get("step"))
        if step is None or not 0 <= step < 1e15:
            continue
        for name, content in record.items():
            value = as_number(content)
            if value is not None and name not in _SHARED:
                found.setdefault(name, Series()).add(step, value)
    return found


def charts(series: Mapping[str, Series], known: Mapping[str, Known] = KNOWN) -> list[Chart]:
    """Known series first, in their order, then the others by name; `eval_x` goes into the chart of `x`."""
    held_out = {name: f"eval_{name}" for name in (*series, *known) if f"eval_{name}" in series}
    shown = [name for name in known if name in series or name in held_out]
    shown += sorted(name for name in series if name not in known and name not in held_out.values())
    empty = Series()
    made = []
    for name in shown:
        what = known.get(name, Known(name, "", False))
        train, other = series.get(name, empty), series.get(held_out.get(name, ""), empty)
        if name.startswith("eval_"):
            train, other = empty, train
        made.append(Chart(name, what.title, what.unit, what.from_zero, train, other))
    return made
