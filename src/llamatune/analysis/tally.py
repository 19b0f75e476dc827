"""Counts of a part of the documents, which can be stored as JSON and added up in any order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

_DIGITS = 5
"""Significant digits to which a long length is kept, so that the table of lengths stays small."""


class Tally:
    """Counters by name. What is added to one of them is a key and a number."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter[str])

    def add(self, name: str, key: str, number: int = 1) -> None:
        self.counts[name][key] += number

    def add_length(self, name: str, length: int) -> None:
        """A length, for quantiles; its total is kept exactly."""
        self.add(name, str(_rounded(length)))
        self.add("totals", name, length)

    def merge(self, stored: Mapping[str, Mapping[str, int]]) -> None:
        """Add the counts of another tally, as `to_json` gives them."""
        for name, counts in stored.items():
            self.counts[name].update(counts)

    def to_json(self) -> dict[str, dict[str, int]]:
        return {name: dict(counts) for name, counts in self.counts.items()}

    def get(self, name: str, key: str) -> int:
        return self.counts[name][key] if name in self.counts else 0

    def lengths(self, name: str) -> dict[str, Any]:
        """Their total, mean, median, quantiles and largest; lengths of 100,000 and more to five digits."""
        ascending = sorted((int(key), number) for key, number in self.counts[name].items())
        number, total = sum(count for _, count in ascending), self.get("totals", name)
        return {
            "total": total,
            "mean": total / number if number else 0.0,
            "median": _quantile(ascending, 0.5),
            "p90": _quantile(ascending, 0.9),
            "p99": _quantile(ascending, 0.99),
            "longest": ascending[-1][0] if ascending else 0,
        }


def _rounded(length: int) -> int:
    scale: int = 10 ** max(0, len(str(length)) - _DIGITS)
    return round(length / scale) * scale


def _quantile(ascending: list[tuple[int, int]], share: float) -> int:
    """The smallest length that at least this share of all do not exceed."""
    wanted, seen = share * sum(number for _, number in ascending), 0
    for length, number in ascending:
        seen += number
        if seen >= wanted:
            return length
    return 0
