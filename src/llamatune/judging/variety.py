"""How much there is to gain from more samples, and how different they are: the figures of the paper's figures 7, 8, 21.

Pure functions of the rewards and texts of samples, a list for each prompt.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

_ORDERS = 4
_WORD = re.compile(r"\w+|[^\w\s]")


def best_of_curve(rewards: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """For N = 1 to K: the largest and the median reward among N samples, and their mean, averaged over prompts (figure
    7). The largest and the mean are exact over all choices of N of the K samples; the median is that of the first N.
    """
    k = min(map(len, rewards), default=0)
    ordered = [sorted(group[:k]) for group in rewards]
    return [
        {
            "n": n,
            "max": fmean(_expected_largest(group, n) for group in ordered),
            "median": fmean(median(group[:n]) for group in rewards),
            "mean": fmean(map(fmean, ordered)),
        }
        for n in range(1, k + 1)
    ]


def _expected_largest(ordered: Sequence[float], n: int) -> float:
    """Of n values drawn from these, the smallest first: the i-th is the largest in C(i, n - 1) of C(k, n) draws."""
    k = len(ordered)
    return sum(value * math.comb(i, n - 1) for i, value in enumerate(ordered)) / math.comb(k, n)


def unique_share(texts: Sequence[Sequence[str]]) -> float:
    """Different texts among the samples of a prompt, as a share, averaged over prompts."""
    return fmean(len(set(group)) / len(group) for group in texts)


def self_bleu(texts: Sequence[Sequence[str]]) -> float | None:
    """How alike the samples of a prompt are, from 0 to 1: the mean BLEU-4 of each against the others (Zhu et al. 2018),
    averaged over prompts; None where no prompt has two samples."""
    found = [_self_bleu(group) for group in texts if len(group) > 1]
    return fmean(found) if found else None


def _self_bleu(group: Sequence[str]) -> float:
    words = [_WORD.findall(text.lower()) for text in group]
    counts = [
        [Counter(zip(*(one[at:] for at in range(n)), strict=False)) for n in _orders()] for one in words
    ]
    scores = []
    for index, one in enumerate(words):
        others = [other for other in range(len(words)) if other != index]
        logs = [
            _log_precision(counts[index][n], [counts[other][n] for other in others]) for n in range(_ORDERS)
        ]
        nearest = min((abs(len(words[other]) - len(one)), len(words[other])) for other in others)[1]
        brevity = 0.0 if len(one) >= nearest else 1 - nearest / max(len(one), 1)
        scores.append(math.exp(fmean(logs) + brevity))
    return fmean(scores)


def _orders() -> range:
    return range(1, _ORDERS + 1)


def _log_precision(own: Counter[tuple[str, ...]], others: Sequence[Counter[tuple[str, ...]]]) -> float:
    """Log of the share of n-grams that another sample has, too; smoothed by one, as texts are short."""
    most = Counter[tuple[str, ...]]()
    for other in others:
        most |= other
    return math.log(((own & most).total() + 1) / (own.total() + 1))
