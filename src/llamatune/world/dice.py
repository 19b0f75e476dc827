"""Randomness that gives the same world on every machine and Python version.

Only `random.Random(int).random()` is guaranteed to repeat forever, so everything is built on it;
names become numbers through sha256, never through the salted `hash()`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def stable_fraction(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the texts given."""
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


class Dice:
    """A named source of random choices; the same name always gives the same choices."""

    def __init__(self, name: str) -> None:
        seed = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big")
        self.fraction = random.Random(seed).random

    def index(self, size: int) -> int:
        return int(self.fraction() * size)

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.index(high - low + 1)

    def chance(self, probability: float) -> bool:
        return self.fraction() < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.fraction() * len(options))]

    def weighted(self, options: Sequence[tuple[T, float]]) -> T:
        """One of the options, each as likely as its weight says."""
        point = self.fraction() * sum(weight for _, weight in options)
        for option, weight in options:
            point -= weight
            if point < 0:
                return option
        return options[-1][0]

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """`count` different options in random order."""
        pool = list(options)
        for place in range(count):
            other = place + self.index(len(pool) - place)
            pool[place], pool[other] = pool[other], pool[place]
        return pool[:count]

    def shuffle(self, options: Sequence[T]) -> list[T]:
        return self.sample(options, len(options))
