"""Which samples become training rows: the best of each prompt, and why the others do not.

Pure: of samples with their scores, what to keep and a seed. The same again, and other judges' scores, cost no sampling.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from statistics import fmean

import torch

from llamatune.data.rows import RATINGS, Rating
from llamatune.judging.combine import RewardRule, combine
from llamatune.recipe.stages.rejection_sampling import Keep
from llamatune.sampling.prompts import PromptRow
from llamatune.sampling.sampler import seed_of
from llamatune.sampling.samples import Group, Sample


class Fate(StrEnum):
    """What became of a sample."""

    KEPT = "kept"
    EMPTY = "empty"
    CUT_OFF = "cut off"
    REPEATS = "repeats itself"
    DUPLICATE = "the same reply as another sample"
    BELOW_FLOOR = "below the floor"
    WORSE = "a better one was kept"
    DRAWN = "as good as one that was kept, which was drawn"
    SAME_PROMPT = "kept for another prompt that asks the same"
    SAME_REPLY = "its reply was kept often enough"


@dataclass(frozen=True)
class Candidate:
    """A sample with what it is worth. `scores` by judge; `reward`: what they come to; `run`: the earlier run that
    sampled it, None for this one."""

    prompt: PromptRow
    sample: Sample
    scores: dict[str, float]
    reward: float
    run: str | None = None


def weighed(
    groups: Sequence[Group],
    scores: Mapping[str, Sequence[Sequence[float]]],
    rule: RewardRule,
    run: str | None = None,
) -> list[list[Candidate]]:
    """The samples of each prompt as candidates.

    Args:
        scores: by judge, as `SampleScores.by_group` gives them.
        run: the earlier run that they are from.
    """
    flat = [(prompt, one) for prompt, samples in groups for one in samples]
    by_judge = {name: [score for group in found for score in group] for name, found in scores.items()}
    is_safety = torch.tensor([bool(prompt.get("is_safety")) for prompt, _ in flat], dtype=torch.bool)
    rewards = combine({name: torch.tensor(found) for name, found in by_judge.items()}, is_safety, rule)
    every = [
        Candidate(prompt, one, {name: by_judge[name][at] for name in by_judge}, float(rewards[at]), run)
        for at, (prompt, one) in enumerate(flat)
    ]
    found = iter(every)
    return [list(islice(found, len(samples))) for _, samples in groups]


def competing(rounds: Iterable[Sequence[Sequence[Candidate]]]) -> list[list[Candidate]]:
    """The candidates of several rounds by prompt; prompts in the order in which they first come."""
    by_prompt: dict[str, list[Candidate]] = {}
    for groups in rounds:
        for group in groups:
            for one in group:
                by_prompt.setdefault(one.sample.prompt_id, []).append(one)
    return list(by_prompt.values())


Ranked = list[tuple[Candidate, Fate]]
"""The candidates of a prompt, best first, and what became of each."""


def select(groups: Sequence[Sequence[Candidate]], keep: Keep, seed: int) -> list[Ranked]:
    """The candidates of each prompt, best first, with their fates.

    Ties are decided by the seed. An answer that is empty, was cut off or repeats itself is never kept, whatever its
    reward, and takes no other one's place; of equal answers one is kept. Where two prompts ask the same in the same
    words, and are answered the same, the first is kept.
    """
    ranked = [_of_prompt(group, keep, seed) for group in groups]
    return _often_enough(_same_prompts(ranked), keep)


def _of_prompt(group: Sequence[Candidate], keep: Keep, seed: int) -> Ranked:
    def place(one: Candidate) -> tuple[float, int]:
        drawn = seed_of(seed, "tie", one.sample.prompt_id, one.run or "", one.sample.sample)
        return -one.reward, drawn

    found: Ranked = []
    seen: set[str] = set()
    kept: list[float] = []
    for one in sorted(group, key=place):
        if (never := flaw(one.sample)) is not None:
            found.append((one, never))
            continue
        reply = plain_words(one.sample.text)
        if reply in seen:
            fate = Fate.DUPLICATE
        elif keep.floor is not None and one.reward < keep.floor:
            fate = Fate.BELOW_FLOOR
        elif len(kept) == keep.best:
            fate = Fate.DRAWN if one.reward == kept[-1] else Fate.WORSE
        else:
            fate = Fate.KEPT
            kept.append(one.reward)
        seen.add(reply)
        found.append((one, fate))
    return found


def flaw(sample: Sample) -> Fate | None:
    """Why a sample can never be kept, if it cannot."""
    if not sample.text.strip():
        return Fate.EMPTY
    if not sample.ended:
        return Fate.CUT_OFF
    return Fate.REPEATS if repeats_itself(sample.text) else None


_MOST_IN_A_ROW = 4
_LONGEST_LOOP = 24


def repeats_itself(text: str) -> bool:
    """Whether a passage of up to 24 words comes at least four times in a row."""
    words = text.split()
    for length in range(1, min(_LONGEST_LOOP, len(words) // _MOST_IN_A_ROW) + 1):
        run = 0
        for at in range(length, len(words)):
            run = run + 1 if words[at] == words[at - length] else 0
            if run >= (_MOST_IN_A_ROW - 1) * length:
                return True
    return False


def plain_words(text: str) -> str:
    """A text without what makes no difference to a reader: case, blanks, marks at its end."""
    return re.sub(r"\s+", " ", text).strip(" .!?").casefold()


def _same_prompts(groups: list[Ranked]) -> list[Ranked]:
    seen: set[tuple[str, str]] = set()
    found = []
    for group in groups:
        changed: Ranked = []
        for one, fate in group:
            asked = "\n".join(plain_words(message["content"]) for message in one.prompt["prompt"])
            row = (asked, plain_words(one.sample.text))
            if fate is Fate.KEPT and row in seen:
                fate = Fate.SAME_PROMPT
            elif fate is Fate.KEPT:
                seen.add(row)
            changed.append((one, fate))
        found.append(changed)
    return found


def _often_enough(groups: list[Ranked], keep: Keep) -> list[Ranked]:
    if keep.same_reply is None:
        return groups
    kept = [
        (one, number, place)
        for number, group in enumerate(groups)
        for place, (one, fate) in enumerate(group)
        if fate is Fate.KEPT
    ]
    times: Counter[str] = Counter()
    for one, number, place in sorted(kept, key=lambda found: -found[0].reward):
        reply = plain_words(one.sample.text)
        times[reply] += 1
        if times[reply] > keep.same_reply:
            groups[number][place] = (one, Fate.SAME_REPLY)
    return groups


# ---- pairs ----------------------------------------------------------------------------------------------------

_STEPS = (2.0, 1.0, 0.5)
"""From which gap on a reply is significantly better, better and slightly better, in deviations."""


def pairs_of(groups: Sequence[Ranked], seed: int) -> Iterator[tuple[Candidate, Candidate, Rating]]:
    """Of each prompt, the best that was kept, a worse answer drawn from those that are whole, and how much worse it is.

    The gap is measured in deviations of rewards from the mean of their prompt, over all prompts, so that it means the
    same whatever judges (the paper has no such pairs).
    """
    deviation = deviation_of([[one.reward for one, _ in group] for group in groups])
    for group in groups:
        best = next((one for one, fate in group if fate is Fate.KEPT), None)
        if best is None:
            continue
        worse = [one for one, _ in group if flaw(one.sample) is None and one.reward < best.reward]
        if worse:
            draw = random.Random(seed_of(seed, "pair", best.sample.prompt_id))
            other = draw.choice(worse)
            gap = (best.reward - other.reward) / deviation
            yield best, other, RATINGS[sum(gap < step for step in _STEPS)]


def deviation_of(rewards: Sequence[Sequence[float]]) -> float:
    """The deviation of rewards from the mean of their group, over all groups."""
    squares = [(one - fmean(group)) ** 2 for group in rewards if group for one in group]
    return float(fmean(squares) ** 0.5) if squares else 0.0
