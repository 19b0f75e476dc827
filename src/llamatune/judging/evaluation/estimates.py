"""Figures with their 95% intervals: shares, means, ratios, and how far two of them are apart.

A share has Wilson's interval. Of everything else the interval is a bootstrap's: prompts are drawn anew with
replacement, each with all that belongs to it, and the middle 95% of what comes out is taken. Two replies to one prompt,
or two verdicts on one reply, are not two prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

RESAMPLES = 1000
_AT_ONCE = 4_000_000
"""Most numbers of a block of draws."""


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Between which shares the true one lies with 95% confidence (Wilson's interval); of at least one."""
        z = 1.96
        middle = (self.hits + z * z / 2) / (self.of + z * z)
        reach = z * math.sqrt(self.hits * (self.of - self.hits) / self.of + z * z / 4) / (self.of + z * z)
        return max(0.0, middle - reach), min(1.0, middle + reach)

    def __str__(self) -> str:
        if not self.of:
            return "-"
        low, high = self.interval
        return f"{self.hits / self.of:.0%} ({low:.0%}-{high:.0%}) of {self.of}"

    def record(self) -> dict[str, float | int | None]:
        """As plain data."""
        low, high = self.interval if self.of else (None, None)
        share = self.hits / self.of if self.of else None
        return {"hits": self.hits, "of": self.of, "share": share, "low": low, "high": high}

    def estimate(self) -> Estimate | None:
        """The share with its interval; None of nothing."""
        return Estimate(self.hits / self.of, *self.interval, self.of) if self.of else None


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval. `of`: how many prompts it is made from."""

    value: float
    low: float
    high: float
    of: int

    def record(self) -> dict[str, float | int]:
        """As plain data."""
        return asdict(self)


def draws(number: int, times: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `number` prompts is drawn, `times` times over: blocks (some, number), float64."""
    dice = np.random.default_rng(seed)
    size = max(1, _AT_ONCE // max(number, 1))
    for start in range(0, times, size):
        yield dice.multinomial(number, np.full(number, 1 / number), size=min(size, times - start)).astype(
            float
        )


def bootstrapped(
    figure: Callable[[np.ndarray], np.ndarray], number: int, *, times: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The middle 95% of a figure over draws of the prompts.

    Args:
        figure: (draws, prompts) counts -> (draws,); not a number where a draw has nothing to measure.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.concatenate([figure(block) for block in draws(number, times, seed)])
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def ratio(
    parts: Sequence[float], wholes: Sequence[float], *, times: int = RESAMPLES, seed: int = 0
) -> Estimate | None:
    """Sum of the parts by the sum of the wholes, a part and a whole for each prompt; None where all wholes are 0.

    A share that is 0 or 1 in every draw has no width; it then has Wilson's interval, of the prompts that say anything.
    """
    part, whole = np.array(parts, float), np.array(wholes, float)
    if not whole.sum():
        return None
    value = float(part.sum() / whole.sum())
    of = int((whole != 0).sum())
    low, high = bootstrapped(
        lambda drawn: (drawn @ part) / (drawn @ whole), len(part), times=times, seed=seed
    )
    is_share = bool(((part >= 0) & (part <= whole)).all())
    if low == high and is_share and value in (0.0, 1.0):
        low, high = Share(of if value else 0, of).interval
    return Estimate(value, low, high, of)


def mean_of(values: Sequence[float], *, times: int = RESAMPLES, seed: int = 0) -> Estimate | None:
    """The mean of a value for each prompt; None of nothing."""
    return ratio(values, [1.0] * len(values), times=times, seed=seed)


def difference(now: Estimate, before: Estimate) -> Estimate:
    """How much larger `now` is, with an interval from those of both (Newcombe 1998, method 10).

    Both are taken to be independent. Figures of the same prompts rather rise and fall together, so that their true
    interval is narrower.
    """
    gap = now.value - before.value
    down = math.hypot(now.value - now.low, before.high - before.value)
    up = math.hypot(now.high - now.value, before.value - before.low)
    return Estimate(gap, gap - down, gap + up, min(now.of, before.of))
