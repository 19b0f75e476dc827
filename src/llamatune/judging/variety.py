"""How much there is to gain from more samples, and how different they are: the figures of the paper's figures 7, 8, 21.

Pure functions of the rewards and texts of samples, a list for each prompt.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

_ORDERS = 4
_WORD = re.compile(r"\w+|[^\w\s]")


def best_of_curve(rewards: Sequence[Sequence[float]]) -> list[dict[str, float]]:
    """For N = 1 to K: the largest and the median reward among N samples, and their mean, averaged over prompts (figure
    7). All are exact over all choices of N of the K samples: those of the first N would wander.
    """
    k = min(map(len, rewards), default=0)
    # What is expected at each place of N is linear in the K ordered rewards, so that prompts are averaged first.
    ordered = [fmean(column) for column in zip(*(sorted(group[:k]) for group in rewards), strict=True)]
    return [
        {
            "n": n,
            "max": _expected(ordered, n, n - 1),
            "median": (_expected(ordered, n, (n - 1) // 2) + _expected(ordered, n, n // 2)) / 2,
            "mean": fmean(ordered),
        }
        for n in range(1, k + 1)
    ]


def _expected(ordered: Sequence[float], n: int, place: int) -> float:
    """The value at a place (0 is the smallest) of n that are drawn from k: the i-th of the k is there in as many draws
    as take `place` of those below it, and the rest of those above."""
    k = len(ordered)
    draws = [math.comb(i, place) * math.comb(k - 1 - i, n - 1 - place) for i in range(k)]
    return math.fsum(value * (count / math.comb(k, n)) for value, count in zip(ordered, draws, strict=True))


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
        [Counter(zip(*(one[at:] for at in range(n)), strict=False)) for n in range(1, _ORDERS + 1)]
        for one in words
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


def _log_precision(own: Counter[tuple[str, ...]], others: Sequence[Counter[tuple[str, ...]]]) -> float:
    """Log of the share of n-grams that another sample has, too; smoothed by one, as texts are short."""
    most = Counter[tuple[str, ...]]()
    for other in others:
        most |= other
    return math.log(((own & most).total() + 1) / (own.total() + 1))
