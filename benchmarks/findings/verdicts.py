"""When a claim is said to show, from one figure for each seed. These rules were fixed before anything was run.

Pure. A claim is worded so that the paper says "more than zero", or "zero" for what does not change.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LEAST_SEEDS = 3


class Verdict(StrEnum):
    YES = "yes"
    NO = "no"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Seeds:
    """A figure for each seed; None where there is none."""

    values: tuple[float | None, ...]

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.known) if self.known else None

    @property
    def spread(self) -> float:
        """The largest minus the least."""
        return max(self.known) - min(self.known) if self.known else 0.0

    @property
    def enough(self) -> bool:
        return None not in self.values and len(self.values) >= LEAST_SEEDS


@dataclass(frozen=True)
class Above:
    """More than zero.

    Yes: in every seed, and the mean is larger than the spread. Where there is
    nothing to find, three seeds say yes 4 times in 100 (figures drawn from a normal distribution around zero).
    No: less than zero in every seed.
    """

    def verdict(self, seeds: Seeds) -> Verdict:
        mean = seeds.mean
        if not seeds.enough or mean is None:
            return Verdict.NOT_SHOWN
        if min(seeds.known) > 0 and mean > seeds.spread:
            return Verdict.YES
        return Verdict.NO if max(seeds.known) < 0 else Verdict.NOT_SHOWN


@dataclass(frozen=True)
class Near:
    """Zero, as far as that matters.

    Yes: at most `within` from zero in every seed. No: further away in every seed.
    """

    within: float

    def verdict(self, seeds: Seeds) -> Verdict:
        if not seeds.enough:
            return Verdict.NOT_SHOWN
        near = [abs(value) <= self.within for value in seeds.known]
        if all(near):
            return Verdict.YES
        return Verdict.NOT_SHOWN if any(near) else Verdict.NO


def of_all(verdicts: Sequence[Verdict]) -> Verdict:
    """A finding's, from those of its claims: yes if all of them show, no if the contrary of one does."""
    if Verdict.NO in verdicts:
        return Verdict.NO
    return Verdict.YES if set(verdicts) == {Verdict.YES} else Verdict.NOT_SHOWN
