"""More of findings 1 to 3: what margins and the safety loss do to reward models, and what each knows of other pairs.

The paper's tables 8, 28 and 29 on pico, over several seeds: of the data's choice and order and of the heads. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reporting import Table

from findings.twelve import HELPFUL, RATINGS, SAFETY, accuracy

Figures = Mapping[str, Any]
"""What `evaluation.json` holds."""
Column = Callable[[Figures], float]

MODELS = {
    "helpfulness, margin none": "helpful-none",
    "helpfulness, margin small": "helpful",
    "helpfulness, margin large": "helpful-large",
    "safety, without the safety loss": "safe-plain",
    "safety, with it": "safe",
}
"""Steps of recipe.yaml by what is shown."""
NOTE = (
    "Reward models: means, least and most in brackets; per cent of the test pairs. A pair's accuracy is chance "
    "in a tie. `unsafe recall`: unsafe replies whose score is below 0.5 after the sigmoid. The smallest rating "
    "carries noise by construction: 50% is the most that can be expected there."
)


def tables(found: Mapping[str, Sequence[Figures]]) -> list[Table]:
    """`found`: by step, the figures of each seed."""
    return [
        _table("Helpfulness pairs: accuracy by rating", found, _by_rating(HELPFUL)),
        _table("Safety pairs: accuracy by rating", found, _by_rating(SAFETY)),
        _table("Safety pairs: by safety of the replies", found, _by_safety()),
        _table(
            "Longer replies", found, {"longer preferred": lambda run: float(run[HELPFUL]["longer_preferred"])}
        ),
    ]


def _by_rating(pairs: str) -> dict[str, Column]:
    def of_rating(rating: str | None) -> Column:
        return lambda run: accuracy(run, pairs, rating)

    ratings = {name.replace("_", " "): of_rating(name) for name in reversed(RATINGS)}
    return {"all": of_rating(None), **ratings}


def _by_safety() -> dict[str, Column]:
    def of_bin(name: str) -> Column:
        return lambda run: float(run[SAFETY]["by_safety"][name]["accuracy"])

    bins = {name.replace("_", " "): of_bin(name) for name in ("chosen_safe", "both_safe", "both_unsafe")}
    return {
        **bins,
        "unsafe recall": lambda run: float(run[SAFETY]["unsafe_recall"]),
        "safe recall": lambda run: float(run[SAFETY]["safe_recall"]),
    }


def _table(title: str, found: Mapping[str, Sequence[Figures]], columns: Mapping[str, Column]) -> Table:
    rows = [
        [shown, *(_spread([value(run) for run in found[step]]) for value in columns.values())]
        for shown, step in MODELS.items()
    ]
    return Table(title, ["model", *columns], rows)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})".replace("%", "")
