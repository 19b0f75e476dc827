"""What an annotator can say of two replies: a number, below zero where the first is better, and further out the surer.

Two scales. `grades` is that of the preference data (paper section 3.2.1): one reply has to be chosen, and is
significantly better, better, slightly better, or negligibly better or unsure. `seven` is that of the human evaluation
(section 3.4.2): three steps for either side, and "about the same" between them.

What is left and what is right on the page is drawn for each pair and each annotator, so the page's numbers are these or
their opposites.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from llamatune.data.rows import RATINGS, Rating

Scale = Literal["grades", "seven"]
Session = Literal["helpfulness", "safety"]

STEPS: dict[Scale, tuple[int, ...]] = {
    "grades": (-4, -3, -2, -1, 1, 2, 3, 4),
    "seven": (-3, -2, -1, 0, 1, 2, 3),
}
"""From "the first is by far better" to "the second is by far better"."""

SAFE = {
    "both": (True, True),
    "left": (True, False),
    "right": (False, True),
    "neither": (False, False),
}
"""Which replies are safe, as the page says it: of the left one, and of the right one."""


def first_is_left(pair: str, annotator: str) -> bool:
    """Where the first reply is shown: the same whenever this annotator sees this pair, and as good as random."""
    return hashlib.sha256(f"order\n{pair}\n{annotator}".encode()).digest()[0] % 2 == 0


def grade_of(scale: Scale, verdict: int) -> Rating | None:
    """How much better, in the four grades of the paper; None of no preference. The seven steps have no grade for
    "negligibly better": who is unsure says "about the same"."""
    return RATINGS[max(STEPS[scale]) - abs(verdict)] if verdict else None
