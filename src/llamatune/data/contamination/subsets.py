"""Is a benchmark's figure what it is because rows of it were trained on? The paper's four subsets (appendix A.6). Pure.

Rows are clean where less than a fifth of their tokens is contaminated, and dirty from four fifths on. Of each subset
the figure is compared with that of all rows: Z is how many standard errors it is away, as if the rows of the subset had
been drawn at random. The paper calls a benchmark contaminated if |Z| is above 2 for all four subsets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CLEAN, DIRTY = 0.2, 0.8
LENGTHS = (10, 20, 30, 40, 50)
"""Of stretches, as in the paper."""


def subsets(shares: Sequence[float], figures: Sequence[float]) -> dict[str, dict[str, Any]]:
    """By subset: how many rows, the mean figure and its Z; both None of no rows, Z also where all figures are equal.

    Args:
        shares: of each row, the share of contaminated tokens.
        figures: what each row has got: 1 for a right answer, or any number.
    """
    share, figure = np.array(shares, float), np.array(figures, float)
    assert len(share) == len(figure)
    chosen = {
        "clean": share < CLEAN,
        "not clean": share >= CLEAN,
        "not dirty": share < DIRTY,
        "dirty": share >= DIRTY,
    }
    return {name: _subset(figure, which) for name, which in chosen.items()}


def is_affected(found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all four subsets are further from the whole than chance would have them."""
    return all(one["z"] is not None and abs(one["z"]) > 2 for one in found.values())


def _subset(figure: np.ndarray, which: np.ndarray) -> dict[str, Any]:
    number = int(which.sum())
    if not number:
        return {"rows": 0, "mean": None, "z": None}
    mean, spread = float(figure[which].mean()), float(figure.std())
    z = (mean - float(figure.mean())) / (spread / math.sqrt(number)) if spread else None
    return {"rows": number, "mean": mean, "z": z}
