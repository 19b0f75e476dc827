"""Judges who see two replies at once: every model against the baseline, blind, in both orders or in one.

All comparisons go to the judge together, so that people label them in one go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llamatune.judging.evaluation.replies import Replies, both_lengths, settled
from llamatune.judging.pairs.comparing import Comparison, PairJudge, PairOutcome
from llamatune.judging.win_rates import Game, Match
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.sampler import seed_of
from llamatune.wording import counted


@dataclass
class Paired:
    """What a judge said of a model's replies beside the baseline's, by prompt id.

    `games`: where the judge answered each time. `unanswered`: where not, why, for each time. `answered_once`: prompts
    among these of which one order was answered. Nobody wins them, since the place may have.
    """

    one: Replies
    other: Replies
    games: dict[str, list[Game]] = field(default_factory=dict)
    unanswered: dict[str, list[PairOutcome]] = field(default_factory=dict)
    answered_once: set[str] = field(default_factory=set)

    def matches(self, prompts: Sequence[PromptRow]) -> list[Match]:
        """Those that were decided."""
        return [
            Match(name, tuple(self.games[name]), both_lengths(self.one, self.other, name))
            for name in (prompt["prompt_id"] for prompt in prompts)
            if name in self.games
        ]

    def counts(self, prompts: Sequence[PromptRow]) -> dict[str, Any]:
        """What is missing among the matches: questions by why they were not answered, and pairs of which one order
        was."""
        names = {prompt["prompt_id"] for prompt in prompts}
        why = Counter(one.value for name, every in self.unanswered.items() if name in names for one in every)
        return {"unanswered": dict(why), "answered_once": len(names & self.answered_once)}

    @property
    def silence(self) -> str:
        """In words, of how many pairs the judge did not say which is better; nothing where of none."""
        if not self.unanswered:
            return ""
        why = Counter(one.value for every in self.unanswered.values() for one in every)
        return (
            f"{len(self.unanswered):,} of {counted(len(self.unanswered) + len(self.games), 'pair')} of {self.one.name} "
            f"and {self.other.name} left out ({', '.join(f'{name}: {number:,}' for name, number in why.items())})"
        )


def paired(
    models: Sequence[Replies],
    other: Replies,
    prompts: Sequence[PromptRow],
    judge: PairJudge,
    *,
    both_orders: bool,
    seed: int,
    called: str = "judge",
) -> dict[str, Paired]:
    """By model, what the judge says of it against `other`. The same reply twice, and an empty one, are not asked about.

    Args:
        both_orders: ask about each pair twice; otherwise once, in an order that seed, prompt and model decide.
        called: the judge; what it says about safety is kept with the replies by this name.

    Raises:
        whatever the judge raises.
    """
    found = {one.name: Paired(one, other) for one in models}
    asked: list[tuple[Paired, str, int, Comparison]] = []
    for pair in found.values():
        for prompt in prompts:
            name = prompt["prompt_id"]
            won = settled(pair.one, other, name)
            if won is not None:
                pair.games[name] = [Game(won)]
                continue
            drawn = 1 if seed_of(seed, "order", name, pair.one.name) % 2 else -1
            for first in (1, -1) if both_orders else (drawn,):
                asked.append((pair, name, first, _comparison(pair, prompt, first)))
    for (pair, name, first, _), opinion in zip(asked, judge([one for *_, one in asked]), strict=True):
        for side, safe in zip((pair.one, other)[::first], opinion.safe, strict=True):
            if safe is not None:
                side.called_safe.setdefault(called, {}).setdefault(name, []).append(safe)
        if opinion.better is not None:
            won = first if opinion.better == 0 else -first
        elif opinion.why_not in (PairOutcome.TIE, PairOutcome.SKIPPED):
            won = 0
        else:
            pair.unanswered.setdefault(name, []).append(opinion.why_not)
            continue
        pair.games.setdefault(name, []).append(Game(won, first))
    for pair in found.values():
        pair.answered_once = {name for name in pair.unanswered if pair.games.pop(name, None)}
    return found


def _comparison(pair: Paired, prompt: PromptRow, first: int) -> Comparison:
    sides = (pair.one, pair.other) if first == 1 else (pair.other, pair.one)
    samples = [side.samples[prompt["prompt_id"]] for side in sides]
    return Comparison(prompt, samples[0], samples[1], (sides[0].name, sides[1].name))
