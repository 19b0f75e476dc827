"""Gwet's AC1 and AC2: how far annotators agree beyond chance, for any number of them and with gaps (paper, 3.4.2).

Pure. After K. L. Gwet, Handbook of Inter-Rater Reliability (4th edition, 2014), chapters 5 and 6: `pi_k` is how often
category k is used, agreement by chance is that of annotators who are unsure where categories are used evenly, and a
weight says how far two categories that differ agree. Unlike kappa it does not fall when nearly all replies are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

Weights = Literal["nominal", "ordinal", "linear", "quadratic"]


@dataclass(frozen=True)
class Agreement:
    """A coefficient, 1 for full agreement and 0 for that of chance, with its 95% interval.

    `pairs`: those judged by at least two; with one of them alone there is no interval. `observed`: the share of
    agreement, weighted, and `chance`: what of it chance would give.
    """

    value: float
    low: float | None
    high: float | None
    standard_error: float | None
    observed: float
    chance: float
    pairs: int

    def record(self) -> dict[str, float | int | None]:
        """As plain data."""
        return asdict(self)


def weights_of(kind: Weights, categories: int) -> np.ndarray:
    """(categories, categories): 1 on the diagonal, less the further apart two categories are."""
    apart = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories))).astype(float)
    if kind == "nominal":
        weights = (apart == 0).astype(float)
    elif kind == "ordinal":
        between = (apart + 1) * apart / 2  # how many pairs of categories lie between the two, they included
        weights = 1 - between / max(float(between.max()), 1.0)
    else:
        weights = 1 - (apart / max(categories - 1, 1)) ** (1 if kind == "linear" else 2)
    return np.asarray(weights)


def gwet(counts: Sequence[Sequence[int]], weights: Weights) -> Agreement | None:
    """The agreement on some pairs; None where no pair was judged by two.

    Args:
        counts: (pairs, categories) how many annotators put each pair into each category; all categories that they could
            choose, in their order, whether chosen or not.
    """
    table = np.array([row for row in counts if sum(row)], float)
    if not len(table) or not (table.sum(1) >= 2).any():
        return None
    weight = weights_of(weights, table.shape[1])
    judged = table.sum(1)
    twice = judged >= 2
    # (pairs,) of those judged twice: of two annotators drawn, how far they agree
    agree = np.zeros(len(table))
    some = table[twice]
    agree[twice] = (some * (some @ weight - 1)).sum(1) / (judged[twice] * (judged[twice] - 1))
    observed = float(agree[twice].mean())
    shares = table / judged[:, None]
    used = shares.mean(0)
    categories = table.shape[1]
    scale = weight.sum() / (categories * (categories - 1))
    chance = float(scale * (used * (1 - used)).sum())
    value = (observed - chance) / (1 - chance)
    error = None
    if len(table) > 1:
        each = np.where(twice, (agree - chance) * len(table) / twice.sum() / (1 - chance), 0.0)
        chance_of_each = scale * (shares @ (1 - used))
        each -= 2 * (1 - value) * (chance_of_each - chance) / (1 - chance)
        error = math.sqrt(((each - value) ** 2).sum() / len(table) / (len(table) - 1))
    reach = None if error is None else error * _student(len(table) - 1)
    return Agreement(
        value,
        None if reach is None else max(-1.0, value - reach),
        None if reach is None else min(1.0, value + reach),
        error,
        observed,
        chance,
        int(twice.sum()),
    )


def _student(freedom: int) -> float:
    """The 97.5% quantile of Student's t, by its expansion around the normal one, right to one in a hundred from
    3 degrees of freedom on; those below are listed."""
    known = {1: 12.706, 2: 4.303}
    if freedom in known:
        return known[freedom]
    z = 1.959964
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))
