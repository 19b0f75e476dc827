"""Where reward models and truth part: replies that the one side likes and the other does not.

PPO and rejection sampling look for whatever reward models like, and so for what they get wrong. Where the truth is
known (`judging.oracle`), both sides put the same replies in order, and the orders are compared. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamatune.wording import counted

_LISTED = 8
_LITTLE = 0.1
"""A rank correlation below this is said."""


@dataclass(frozen=True)
class JudgedTwice:
    """A reply, and what it is worth to both sides. `prompt`: what a reader sees of it. `reward`: combined, as the stage
    uses it. `quality`: the oracle's."""

    prompt: str
    reply: str
    reward: float
    quality: float


def disagreement(groups: Sequence[Sequence[JudgedTwice]]) -> dict[str, Any]:
    """How far two orders of the same replies agree, and the replies on whose place they agree least.

    Args:
        groups: the replies to each prompt. All are put in one order, whatever they answer.

    Returns:
        Ready for JSON. `replies`: how many. `correlation`: Spearman's rank correlation of reward and quality, equal
        values sharing their mean rank; None where one side gives all the same. `pairs`: of the pairs of replies to one
        prompt that differ in quality, how many there are and the share whose rewards have the same order, where equal
        rewards count half: what best-of-K goes by. `overrated`, `underrated`: the replies that rank highest with the
        reward models and lowest with the oracle, and the other way round, each once; `reward_place` and
        `quality_place` are the shares of all replies that they are above (equal ones, and themselves, count half).
    """
    every = [one for group in groups for one in group]
    by_reward = _places([one.reward for one in every])
    by_quality = _places([one.quality for one in every])
    listed = [
        {
            "prompt": one.prompt,
            "reply": one.reply,
            "reward": one.reward,
            "reward_place": float(by_reward[at]),
            "quality": one.quality,
            "quality_place": float(by_quality[at]),
        }
        for at, one in enumerate(every)
    ]
    gaps = by_reward - by_quality
    return {
        "replies": len(every),
        "correlation": _correlation(by_reward, by_quality),
        "pairs": _pairs(groups),
        "overrated": _widest(listed, gaps),
        "underrated": _widest(listed, -gaps),
    }


def remark(found: dict[str, Any]) -> str | None:
    """A sentence, where what reward models like has little to do with what is good."""
    correlation, agree = found["correlation"], found["pairs"]["agree"]
    if (correlation is None or correlation >= _LITTLE) and (agree is None or agree > 0.5):
        return None
    parts = [] if correlation is None else [f"rank correlation {correlation:.2f}"]
    if agree is not None:
        pairs = counted(found["pairs"]["compared"], "pair")
        parts.append(f"the better one of two answers to the same prompt gets more in {agree:.0%} of {pairs}")
    return (
        f"what the reward models like has little to do with what the oracle calls good: {', '.join(parts)}, over "
        f"{counted(found['replies'], 'answer')}"
    )


def _places(values: Sequence[float]) -> np.ndarray:
    """(values,): the share of all values that each is above; equal ones, and itself, count half."""
    _, which, counts = np.unique(np.array(values, dtype=np.float64), return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    return np.asarray(middles[which] / max(len(values), 1))


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    # By their places, which are exact: the deviation of equal numbers may miss zero.
    if not all(len(np.unique(places)) > 1 for places in (first, second)):
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _pairs(groups: Sequence[Sequence[JudgedTwice]]) -> dict[str, Any]:
    compared, agree = 0, 0.0
    for group in groups:
        rewards, qualities = (
            np.array([getattr(one, name) for one in group]) for name in ("reward", "quality")
        )
        better = qualities[:, None] > qualities[None, :]
        order = np.sign(rewards[:, None] - rewards[None, :])[better]
        compared += len(order)
        agree += float((order + 1).sum() / 2)
    return {"compared": compared, "agree": agree / compared if compared else None}


def _widest(listed: Sequence[dict[str, Any]], gaps: np.ndarray) -> list[dict[str, Any]]:
    """Those with the widest gaps, the first of equal ones first; what is said again to the same prompt is left out."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for at in np.argsort(-gaps, kind="stable"):
        if len(found) == _LISTED or gaps[at] <= 0:
            break
        found.setdefault((listed[at]["prompt"], listed[at]["reply"]), listed[at])
    return list(found.values())
