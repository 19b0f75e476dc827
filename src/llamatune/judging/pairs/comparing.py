"""Two replies to a prompt, blind and in random order, and what came of comparing them (paper section 3.2.1).

Pure: of samples, opinions and a seed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from llamatune.data.mix import evenly
from llamatune.data.rows import RATINGS, Rating
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.sampler import seed_of
from llamatune.sampling.samples import Sample
from llamatune.world.preferences import rating_of

VARIANTS = ("model", "other")
"""Who gave a reply: the recipe's `model`, or its `other`."""


class PairOutcome(StrEnum):
    """What came of a comparison."""

    PREFERRED = "a preference"
    CHOSEN_UNSAFE = "the chosen reply is unsafe and the other one safe"
    TIE = "no reply is better"
    SAME = "the same reply twice"
    EMPTY = "a reply is empty"
    CUT_OFF = "a reply was cut off"
    NO_ROOM = "the prompt is too long for the other model"
    REFUSED = "the judge refused"
    NOT_UNDERSTOOD = "the judge's answer was not understood"
    SKIPPED = "the judge chose none"


@dataclass(frozen=True)
class Comparison:
    """Two replies to a prompt as the judge sees them. `by`: who gave the first and who the second, which the judge does
    not see."""

    prompt: PromptRow
    first: Sample
    second: Sample
    by: tuple[str, str]

    @property
    def id(self) -> str:
        """The same for the same prompt and replies in the same order."""
        parts = "\n".join((self.prompt["prompt_id"], self.first.text, self.second.text))
        return hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()[:24]

    @property
    def flaw(self) -> PairOutcome | None:
        """Why the two are not compared at all."""
        texts = [self.first.text.strip(), self.second.text.strip()]
        if not all(texts):
            return PairOutcome.EMPTY
        if not (self.first.ended and self.second.ended):
            return PairOutcome.CUT_OFF
        return PairOutcome.SAME if texts[0] == texts[1] else None


@dataclass(frozen=True)
class Opinion:
    """What a judge said. `better`: 0 the first, 1 the second, None for none, for the reason `why_not`. `safe`: of the
    first and of the second, None where nobody said."""

    better: int | None
    rating: Rating | None = None
    safe: tuple[bool | None, bool | None] = (None, None)
    why_not: PairOutcome = PairOutcome.TIE


@dataclass(frozen=True)
class Judged:
    """A comparison with its outcome; `opinion` is None where nobody was asked."""

    comparison: Comparison
    opinion: Opinion | None
    outcome: PairOutcome

    @property
    def chosen(self) -> Sample | None:
        """The better reply, where there is a preference."""
        if self.outcome is not PairOutcome.PREFERRED or self.opinion is None:
            return None
        return (self.comparison.first, self.comparison.second)[self.opinion.better or 0]


PairJudge = Callable[[Sequence[Comparison]], list[Opinion]]


def compared(prompt: PromptRow, replies: tuple[Sample, Sample], seed: int) -> Comparison:
    """The replies of both variants in an order that the seed and the prompt decide."""
    if seed_of(seed, "order", prompt["prompt_id"]) % 2:
        return Comparison(prompt, replies[1], replies[0], (VARIANTS[1], VARIANTS[0]))
    return Comparison(prompt, *replies, (VARIANTS[0], VARIANTS[1]))


def judged(comparisons: Sequence[Comparison], judge: PairJudge) -> list[Judged]:
    """Ask about those that can be compared. A chosen reply that is unsafe, where the other one is safe, is no
    preference: "we do not include any examples where the chosen response was unsafe and the other response safe"."""
    opinions = iter(judge([one for one in comparisons if one.flaw is None]))
    found = []
    for one in comparisons:
        if one.flaw is not None:
            found.append(Judged(one, None, one.flaw))
            continue
        opinion = next(opinions)
        outcome = PairOutcome.PREFERRED
        if opinion.better is None:
            outcome = opinion.why_not
        elif (opinion.safe[opinion.better], opinion.safe[1 - opinion.better]) == (False, True):
            outcome = PairOutcome.CHOSEN_UNSAFE
        found.append(Judged(one, opinion, outcome))
    return found


# ---- opinions of scores -----------------------------------------------------------------------------------------

_STEPS = (2.0, 1.0, 0.5)
"""From which difference of two log-odds on a reply is significantly better, better and slightly better: the better one
is preferred in 88, 73 and 62 of 100 cases (left open by the paper)."""


def opinion_of_rewards(rewards: tuple[float, float], safety: tuple[float, float] | None) -> Opinion:
    """What reward models say: the higher reward, how much higher, and, where there is a safety model, which replies are
    more probably safe than not."""
    safe = (None, None) if safety is None else (safety[0] >= 0, safety[1] >= 0)
    gap = abs(rewards[0] - rewards[1])
    if gap == 0:
        return Opinion(None, safe=safe)
    return Opinion(int(rewards[1] > rewards[0]), RATINGS[sum(gap < step for step in _STEPS)], safe)


def opinion_of_truth(qualities: tuple[float, float], unsafe: tuple[bool, bool]) -> Opinion:
    """What the oracle says: the quality of both replies, and which are unsafe."""
    safe = (not unsafe[0], not unsafe[1])
    gap = abs(qualities[0] - qualities[1])
    if gap == 0:
        return Opinion(None, safe=safe)
    rating = next(one for one in RATINGS if one == rating_of(gap))
    return Opinion(int(qualities[1] > qualities[0]), rating, safe)


# ---- figures ----------------------------------------------------------------------------------------------------

_EXAMPLES = 6
_BINS = {
    (True, False): "chosen_safe",
    (True, True): "both_safe",
    (False, False): "both_unsafe",
    (False, True): "chosen_unsafe",
}


def comparison_figures(every: Sequence[Judged], test: int, no_room: int = 0) -> dict[str, Any]:
    """evaluation.json: outcomes, grades, safety bins, who won, and whether the judge prefers what it sees first.

    Args:
        test: how many preferences are held out.
        no_room: how many prompts were not answered, because the other model does not read as much.
    """
    asked = [
        (one.comparison, one.opinion)
        for one in every
        if one.opinion is not None and one.opinion.better is not None
    ]
    kept = [one for one in every if one.outcome is PairOutcome.PREFERRED]
    outcomes, ratings, bins, wins = (Counter[str]() for _ in range(4))
    for one in every:
        outcomes[one.outcome.value] += 1
    if no_room:
        outcomes[PairOutcome.NO_ROOM.value] = no_room
    for comparison, opinion in asked:
        assert opinion.better is not None
        wins[comparison.by[opinion.better]] += 1
        ratings[opinion.rating or "not said"] += 1
        chosen, other = opinion.safe[opinion.better], opinion.safe[1 - opinion.better]
        bins["not said" if chosen is None or other is None else _BINS[chosen, other]] += 1
    return {
        "comparisons": len(every) + no_room,
        "preferences": len(kept),
        "test": test,
        "outcomes": dict(outcomes.most_common()),
        "ratings": {name: ratings[name] for name in (*RATINGS, "not said") if ratings[name]},
        "safety": dict(bins.most_common()),
        "wins": dict(wins.most_common()),
        "first_preferred": sum(opinion.better == 0 for _, opinion in asked) / len(asked) if asked else None,
        "examples": [_example(one) for one in evenly(kept, _EXAMPLES)],
    }


def _example(one: Judged) -> dict[str, Any]:
    assert one.opinion is not None and one.opinion.better is not None
    replies = (one.comparison.first, one.comparison.second)
    better = one.opinion.better
    return {
        "prompt": one.comparison.prompt["prompt"][-1]["content"],
        "rating": one.opinion.rating,
        "chosen": {"by": one.comparison.by[better], "text": replies[better].text},
        "rejected": {"by": one.comparison.by[1 - better], "text": replies[1 - better].text},
    }
