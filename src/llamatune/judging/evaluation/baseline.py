"""Two evaluations of the same models or of two versions: which figures have changed, whether that is more than
chance, and which are gone: a figure that nobody takes any more cannot be seen to fall.

Win rates are figures, too. Strengths are not compared: they are made from the same matches, and depend on who else is
there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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


@dataclass(frozen=True)
class Changes:
    """All that differs. `gone`: (model, set, figure) that the earlier evaluation has and a model of today lacks.
    `stands_in`: by model of today that is new, the earlier one with which it is compared. `left_out`: earlier models
    that nobody is compared with."""

    every: list[Change]
    gone: list[tuple[str, str, str]]
    stands_in: dict[str, str]
    left_out: list[str]

    @property
    def is_worse(self) -> bool:
        """Whether a figure has become worse by more than its interval, or is gone."""
        return bool(self.gone) or any(one.is_worse for one in self.every)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Of every figure that both evaluations have, by set, model and name. A model of today that the earlier evaluation
    does not have is compared with the last of its models, which is the newest version.

    Raises:
        DataError: E160, no figure is in both.
    """
    earlier = {(row["set"], row["model"], _figure(row, {})): row for row in _rows(before)}
    models = {row["model"]: None for row in _rows(before)}
    last = next(reversed(models), "")
    like = {row["model"]: row["model"] if row["model"] in models else last for row in _rows(now)}
    found, kept = [], set()
    for row in _rows(now):
        key = row["set"], like[row["model"]], _figure(row, like)
        old = earlier.get(key)
        if old is not None:
            kept.add(key)
            name, model, figure = row["set"], row["model"], _figure(row, {})
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
    asked = set(like.values())
    gone = [
        (key[1], key[0], key[2])
        for key, row in earlier.items()
        if key not in kept and {key[1], row.get("against", key[1])} <= asked
    ]
    stands_in = {model: old for model, old in like.items() if model != old}
    return Changes(found, gone, stands_in, [model for model in models if model not in asked])


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


def changes_table(found: Changes) -> str:
    """As plain text: what is gone and has become worse first, then other changes that are more than chance; the rest is
    counted."""
    worse = [one for one in found.every if one.is_worse]
    others = [one for one in found.every if one.is_significant and not one.is_worse]
    lines = [
        f"{model} is compared with {old} of the earlier evaluation" for model, old in found.stands_in.items()
    ]
    if found.left_out:
        lines.append(f"of the earlier evaluation only, compared with nobody: {', '.join(found.left_out)}")
    lines += [
        f"GONE    {model}, {name}: {figure}, which the earlier evaluation has"
        for model, name, figure in found.gone
    ]
    lines += [*map(_line, worse), *map(_line, others)]
    same = len(found.every) - len(worse) - len(others)
    has, interval = ("has", "its interval") if same == 1 else ("have", "their intervals")
    lines.append(
        f"{same:,} of {counted(len(found.every), 'figure')} {has} not changed by more than {interval}"
    )
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
    """The figures, and of the win rates the shares with ties as half a win."""
    yield from content["figures"]
    for row in content.get("win_rates", ()):
        if row["share"]:
            who = {name: row[name] for name in ("set", "model", "judge", "against")}
            yield {**who, "figure": "wins", "unit": "share", "better": "higher", **row["share"]}


def _figure(row: Mapping[str, Any], like: Mapping[str, str]) -> str:
    """What a figure is called. `like`: of models of today, what they were in the earlier evaluation."""
    if "against" not in row:
        return str(row["figure"])
    return f"wins against {like.get(row['against'], row['against'])} by {row['judge']}, ties half"


def _check(row: Mapping[str, Any]) -> None:
    """Whether this is a row of figures. Raises what Python raises where it is not."""
    _figure(row, {})
    found = _estimate(row)
    numbers = (found.value, found.low, found.high)
    if not all(map(math.isfinite, numbers)) or not all(isinstance(row[name], str) for name in _TEXTS):
        raise ValueError("a row of its figures is none")


def _estimate(row: Mapping[str, Any]) -> Estimate:
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    return Estimate(value, low, high, int(row["of"]))
