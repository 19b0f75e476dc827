"""What came of a round of rejection sampling, in figures and in words: what more samples gain, how different they are,
what was kept and why the rest was not, and what a reader should be warned of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from llamatune.data.mix import evenly
from llamatune.errors import DataError
from llamatune.judging.disagreement import JudgedTwice, disagreement, remark
from llamatune.judging.selection import Candidate, Fate, Ranked
from llamatune.judging.variety import best_of_curve, self_bleu, unique_share
from llamatune.wording import counted

_LONGER = 1.2
"""How much longer than the others winners may be before it is said."""
_LISTED = 20
_EXAMPLES = 6
THIS_ROUND = "this run"

Groups = Sequence[Sequence[Candidate]]


@dataclass(frozen=True)
class Outcome:
    """`figures`: evaluation.json. `headline`: the figures of the result. `remarks`: warnings, a sentence each."""

    figures: dict[str, Any]
    headline: dict[str, float]
    remarks: list[str]


def best_temperature(tried: Mapping[float, Groups]) -> float:
    """The temperature whose best answers are best on average; the lowest of several that are equally good. What cannot
    be kept counts like any other answer, as in the paper's figure 8."""
    return max(sorted(tried), key=lambda one: fmean(max(map(_reward, group)) for group in tried[one]))


def outcome(
    groups: Sequence[Ranked],
    own: Groups,
    tried: Mapping[float, Groups],
    temperature: float,
    qualities: Sequence[Sequence[float]] | None = None,
) -> Outcome:
    """Figures of a round.

    Args:
        groups: all candidates, selected.
        own: those sampled by this run, at the temperature that was chosen.
        tried: candidates at each temperature, if there were several.
        qualities: of each of `own`, says the oracle; None where nobody knows, or where the oracle decides.

    Raises:
        DataError: E148, no answer to any prompt can be kept.
    """
    fates = Counter(fate for group in groups for _, fate in group)
    if not fates[Fate.KEPT]:
        raise _nothing_kept(fates)
    kept = [one for group in groups for one, fate in group if fate is Fate.KEPT]
    equal = [group for group in own if len(group) > 1 and len({one.reward for one in group}) == 1]
    length = fmean(len(one.sample.tokens) for group in own for one in group)
    winners = fmean(len(one.sample.tokens) for one in kept)
    curve = best_of_curve([[one.reward for one in group] for group in own])
    without = sum(all(fate is not Fate.KEPT for _, fate in group) for group in groups)
    figures = {
        "temperature": temperature,
        "curve": curve,
        "temperatures": {f"{one:g}": _of_temperature(tried[one]) for one in sorted(tried)},
        "sets": {
            name: _of_set(some) for name, some in _by(own, lambda one: str(one.prompt["source"])).items()
        },
        "fates": {fate.value: fates[fate] for fate in Fate if fates[fate]},
        "prompts": {"asked": len(groups), "without_a_row": without, "all_equal": len(equal)},
        "all_equal": [group[0].prompt["prompt"][-1]["content"] for group in equal[:_LISTED]],
        "tokens": {"all": length, "kept": winners},
        "rounds": dict(Counter(one.run or THIS_ROUND for one in kept)),
        "examples": _examples(groups),
    }
    headline = {
        "prompts": float(len(groups)),
        "samples": float(sum(fates.values())),
        "kept": float(len(kept)),
        "reward_of_kept": fmean(map(_reward, kept)),
        "mean_reward": curve[-1]["mean"],
        "temperature": temperature,
        "unique_share": unique_share([[one.sample.text for one in group] for group in own]),
    }
    remarks = _remarks(own, equal, without, len(groups), winners / max(length, 1e-9))
    if qualities is not None:
        figures["disagreement"] = found = disagreement(_judged(own, qualities))
        remarks += filter(None, [remark(found)])
    return Outcome(figures, headline, remarks)


def _judged(own: Groups, qualities: Sequence[Sequence[float]]) -> list[list[JudgedTwice]]:
    return [
        [
            JudgedTwice(one.prompt["prompt"][-1]["content"], one.sample.text, one.reward, quality)
            for one, quality in zip(group, found, strict=True)
        ]
        for group, found in zip(own, qualities, strict=True)
    ]


def _remarks(own: Groups, equal: Groups, without: int, prompts: int, longer: float) -> list[str]:
    found = []
    several = [group for group in own if len({one.sample.text for one in group}) > 1]
    if several and all(len({one.reward for one in group}) == 1 for group in several):
        found.append(
            "the judge gives all answers to a prompt the same score, for every prompt: which of them is kept is drawn"
        )
    elif equal:
        found.append(f"{counted(len(equal), 'prompt')} of {prompts:,} with the same reward for all answers")
    if longer > _LONGER:
        found.append(
            f"length hacking: the answers that are kept are {longer:.1f} times as long as the mean of all: the judge "
            "may take length for quality"
        )
    if without:
        found.append(f"{counted(without, 'prompt')} of {prompts:,} without an answer that can be kept")
    return found


def _reward(one: Candidate) -> float:
    return one.reward


def _by(groups: Groups, name_of: Callable[[Candidate], str]) -> dict[str, list[Sequence[Candidate]]]:
    found: dict[str, list[Sequence[Candidate]]] = {}
    for group in groups:
        found.setdefault(name_of(group[0]), []).append(group)
    return found


def _of_temperature(groups: Groups) -> dict[str, Any]:
    return {
        "prompts": len(groups),
        "curve": best_of_curve([[one.reward for one in group] for group in groups]),
        "sets": {
            name: _of_set(some) for name, some in _by(groups, lambda one: str(one.prompt["source"])).items()
        },
    }


def _of_set(groups: Groups) -> dict[str, Any]:
    """How different the samples are, and how good: of the prompts of one source."""
    texts = [[one.sample.text for one in group] for group in groups]
    rewards = [[one.reward for one in group] for group in groups]
    return {
        "prompts": len(groups),
        "unique_share": unique_share(texts),
        "self_bleu": self_bleu(texts),
        "mean": fmean(fmean(group) for group in rewards),
        "best": fmean(map(max, rewards)),
        "ended": fmean(one.sample.ended for group in groups for one in group),
    }


def _examples(groups: Sequence[Ranked]) -> list[dict[str, Any]]:
    """Prompts from the whole list, each with its best and its worst sample."""
    several = [group for group in groups if len(group) > 1]
    return [
        {
            "prompt": group[0][0].prompt["prompt"][-1]["content"],
            **{name: _example(*group[at]) for name, at in (("best", 0), ("worst", -1))},
        }
        for group in evenly(several, _EXAMPLES)
    ]


def _example(one: Candidate, fate: Fate) -> dict[str, Any]:
    return {
        "text": one.sample.text,
        "reward": one.reward,
        "scores": one.scores,
        "tokens": len(one.sample.tokens),
        "ended": one.sample.ended,
        "fate": fate.value,
    }


def _nothing_kept(fates: Counter[Fate]) -> DataError:
    every = sum(fates.values())
    counts = "; ".join(f"{fate.value}: {fates[fate]:,}" for fate in Fate if fates[fate])
    most, _ = fates.most_common(1)[0]
    hints = {
        Fate.CUT_OFF: "raise `sampling.max_new_tokens`",
        Fate.BELOW_FLOOR: "lower `keep.floor`",
        Fate.EMPTY: "ask a model that was trained to answer",
        Fate.REPEATS: "raise `sampling.temperature`, or ask a model that was trained to answer",
    }
    return DataError(
        "E148",
        f"none of {counted(every, 'answer')} can be kept ({counts})",
        place="keep",
        why="no row would be left to train on; the samples are kept",
        hint=hints.get(most, "look at the reasons"),
    )
