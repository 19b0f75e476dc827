"""Two evaluations of the same models or of two versions: which figures have changed, and whether that is more than
chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamatune.errors import DataError, gate
from llamatune.judging.evaluation.estimates import Estimate, difference
from llamatune.outside import read_any_json
from llamatune.wording import counted

_TEXTS = ("set", "model", "figure", "unit")
"""What each row of figures says in words; `better` may be left open."""


@dataclass(frozen=True)
class Change:
    """A figure of a model on a set, before and now. `gap`: now less before, with its interval (`estimates.difference`).
    `better`: higher or lower is better; None where neither is."""

    set: str
    model: str
    figure: str
    unit: str
    better: str | None
    before: Estimate
    now: Estimate

    @property
    def gap(self) -> Estimate:
        return difference(self.now, self.before)

    @property
    def is_significant(self) -> bool:
        """Whether 0 is outside the interval of the gap."""
        return self.gap.low > 0 or self.gap.high < 0

    @property
    def is_worse(self) -> bool:
        """Whether the figure has become worse by more than its interval."""
        down = {"higher": self.gap.high < 0, "lower": self.gap.low > 0}
        return down.get(self.better or "", False)

    def record(self) -> dict[str, Any]:
        """As plain data."""
        plain = {name: getattr(self, name) for name in ("set", "model", "figure", "unit", "better")}
        parts = {name: getattr(self, name).record() for name in ("before", "now", "gap")}
        return {**plain, **parts, "significant": self.is_significant, "worse": self.is_worse}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Of every figure that both evaluations have, by set, model and name. A model of today that the earlier evaluation
    does not have is compared with the last of its models, which is the newest version.

    Raises:
        DataError: E160, no figure is in both.
    """
    earlier = {_key(row): row for row in _rows(before)}
    models = {row["model"]: None for row in _rows(before)}
    found = []
    for row in _rows(now):
        name, model, figure = _key(row)
        like = model if model in models else next(reversed(models), "")
        old = earlier.get((name, like, figure))
        if old is not None:
            found.append(
                Change(name, model, figure, row["unit"], row["better"], _estimate(old), _estimate(row))
            )
    if not found:
        raise DataError(
            "E160",
            "the two evaluations have no figure in common",
            why="figures are compared by set of prompts and name",
            hint="evaluate on the prompts and with the judges that the earlier evaluation had",
        )
    return found


def read_evaluation(file: Path) -> dict[str, Any]:
    """An evaluation.json, or that of a run's folder.

    Raises:
        DataError: E160, it is not one.
    """
    path = file / "evaluation.json" if file.is_dir() else file
    with gate(
        DataError,
        "E160",
        "this is not the evaluation.json of an evaluation",
        place=str(path),
        hint="name the evaluation.json that a run of `stage: evaluate` left, or its folder",
    ):
        content = dict(read_any_json(path))
        for row in _rows(content):
            _check(row)
    return content


def changes_table(found: Sequence[Change]) -> str:
    """As plain text: what has become worse first, then other changes that are more than chance; the rest is counted."""
    worse = [one for one in found if one.is_worse]
    others = [one for one in found if one.is_significant and not one.is_worse]
    lines = [*map(_line, worse), *map(_line, others)]
    same = len(found) - len(lines)
    has, interval = ("has", "its interval") if same == 1 else ("have", "their intervals")
    lines.append(f"{same:,} of {counted(len(found), 'figure')} {has} not changed by more than {interval}")
    return "\n".join(lines)


def _line(one: Change) -> str:
    word = "WORSE " if one.is_worse else "better" if one.better else "other "
    before, now, low, high = (
        _shown(value, one.unit) for value in (one.before.value, one.now.value, one.gap.low, one.gap.high)
    )
    return f"{word}  {one.model}, {one.set}: {one.figure} {before} -> {now} (difference {low} to {high})"


def _shown(value: float, unit: str) -> str:
    return f"{value:.1%}" if unit == "share" else f"{value:.4g}"


def _rows(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from content["figures"]


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["set"], row["model"], row["figure"]


def _check(row: Mapping[str, Any]) -> None:
    """Whether this is a row of figures. Raises what Python raises where it is not."""
    found = _estimate(row)
    numbers = (found.value, found.low, found.high)
    if not all(map(math.isfinite, numbers)) or not all(isinstance(row[name], str) for name in _TEXTS):
        raise ValueError("a row of its figures is none")


def _estimate(row: Mapping[str, Any]) -> Estimate:
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    return Estimate(value, low, high, int(row["of"]))
