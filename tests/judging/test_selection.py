"""Which samples win: the breakages of public rejection samplers, one by one, and what is said of a round."""

import math
import random
from collections import Counter
from itertools import combinations
from statistics import fmean, median
from typing import Any

import pytest
import torch

from llamatune.errors import DataError
from llamatune.judging.combine import RewardRule
from llamatune.judging.outcome import best_temperature, outcome
from llamatune.judging.selection import (
    Candidate,
    Fate,
    competing,
    pairs_of,
    repeats_itself,
    select,
    weighed,
)
from llamatune.judging.variety import best_of_curve, self_bleu, unique_share
from llamatune.recipe.stages.rejection_sampling import Keep
from llamatune.sampling.samples import Sample, prompt_id


def candidate(
    question: str, number: int, text: str, reward: float, *, ended: bool = True, run: str | None = None
) -> Candidate:
    prompt = [{"role": "user", "content": question}]
    name = prompt_id(prompt)
    sample = Sample(name, number, number, 1.0, "p", "t", [7] * len(text), "stop" if ended else "length", text)
    return Candidate({"prompt_id": name, "prompt": prompt, "source": "s"}, sample, {"a": reward}, reward, run)


def group(question: str, **rewards: float) -> list[Candidate]:
    return [
        candidate(question, number, text, reward) for number, (text, reward) in enumerate(rewards.items())
    ]


def kept(groups: Any) -> list[str]:
    return [one.sample.text for ranked in groups for one, fate in ranked if fate is Fate.KEPT]


def fates(ranked: Any) -> dict[str, Fate]:
    return {one.sample.text: fate for one, fate in ranked}


def test_the_best_of_each_prompt_wins_in_any_order() -> None:
    groups = [group("q1", a=1, b=3, c=2), group("q2", d=-1, e=-2)]
    assert kept(select(groups, Keep(), 0)) == ["b", "d"]
    shuffled = [random.Random(0).sample(one, len(one)) for one in groups]
    assert select(shuffled, Keep(), 0) == select(groups, Keep(), 0)
    assert kept(select(groups, Keep(best=2), 0)) == ["b", "c", "d", "e"]
    [ranked] = select(groups[:1], Keep(), 0)
    assert fates(ranked) == {"b": Fate.KEPT, "c": Fate.WORSE, "a": Fate.WORSE}


def test_breakage_3_the_only_one_above_the_floor_is_kept() -> None:
    """Also with `best` 2, and where it is the last one."""
    [ranked] = select([group("q", a=0.1, b=0.2, c=0.9)], Keep(best=2, floor=0.5), 0)
    assert fates(ranked) == {"c": Fate.KEPT, "b": Fate.BELOW_FLOOR, "a": Fate.BELOW_FLOOR}


def test_breakage_4_a_constant_judge_favours_no_place() -> None:
    wins = Counter(
        kept(select([group(f"q{number}", a=1, b=1, c=1, d=1)], Keep(), 0))[0] for number in range(400)
    )
    expected = 100
    assert sum((wins[name] - expected) ** 2 / expected for name in "abcd") < 16.3, "chi-square, 0.1%"
    [ranked] = select([group("q", a=1, b=1, c=0)], Keep(), 0)
    assert Counter(fates(ranked).values()) == {Fate.KEPT: 1, Fate.DRAWN: 1, Fate.WORSE: 1}


@pytest.mark.parametrize(
    ("text", "ended", "fate"),
    [
        ("", True, Fate.EMPTY),
        (" \n", True, Fate.EMPTY),
        ("it goes on and", False, Fate.CUT_OFF),
        ("no no no no no", True, Fate.REPEATS),
    ],
)
def test_breakage_10_what_is_not_whole_never_wins(text: str, ended: bool, fate: Fate) -> None:
    groups = [[candidate("q", 0, "fine", 0.0), candidate("q", 1, text, 9.0, ended=ended)]]
    [ranked] = select(groups, Keep(best=2), 0)
    assert fates(ranked) == {text: fate, "fine": Fate.KEPT}


def test_breakage_10_what_never_wins_is_in_no_other_answers_way() -> None:
    """A whole answer in the words of a better one that was cut off."""
    groups = [[candidate("q", 0, "It is red", 9.0, ended=False), candidate("q", 1, "It is red.", 1.0)]]
    [ranked] = select(groups, Keep(), 0)
    assert fates(ranked) == {"It is red": Fate.CUT_OFF, "It is red.": Fate.KEPT}


def test_breakage_10_equal_answers_are_kept_once() -> None:
    groups = [[candidate("q", 0, "Yes.", 1), candidate("q", 1, " yes", 1), candidate("q", 2, "No.", 0)]]
    [ranked] = select(groups, Keep(best=2), 0)
    assert sorted(fate for _, fate in ranked) == [Fate.KEPT, Fate.KEPT, Fate.DUPLICATE]
    asked_twice = [group("Is it so?", Yes=1), group("is it  so", yes=2), group("Is it not so?", Yes=1)]
    assert kept(select(asked_twice, Keep(), 0)) == ["Yes", "Yes"], "of another prompt, it is another row"
    assert kept(select(asked_twice, Keep(same_reply=1), 0)) == ["Yes"]


def test_repeating() -> None:
    assert repeats_itself("so I said: " + "we go home and " * 4)
    assert not repeats_itself("we go home and " * 3) and not repeats_itself("one two three four")
    assert not repeats_itself("")


def test_all_rounds_compete_again() -> None:
    first = [[candidate("q1", 0, "old", 5, run="runs/1")], [candidate("q0", 0, "forgotten", 1, run="runs/1")]]
    second = [group("q1", new=3), group("q2", fresh=0)]
    groups = select(competing([second, first]), Keep(), 0)
    assert kept(groups) == ["old", "fresh", "forgotten"], "and prompts that this round did not ask"
    assert outcome(groups, second, {}, 1.0).figures["rounds"] == {"runs/1": 2, "this run": 1}


def test_the_papers_rule_makes_the_reward() -> None:
    """R_s where safety is at stake, else R_h."""
    groups = []
    for name, is_safety in (("a", False), ("b", True)):
        one = candidate(name, 0, "x", 0)
        groups.append(({**one.prompt, "is_safety": is_safety}, [one.sample]))
    scores = {"helpfulness": [[2.0], [2.0]], "safety": [[1.0], [1.0]]}
    assert [one[0].reward for one in weighed(groups, scores, RewardRule())] == [2.0, 1.0]
    unsafe = weighed(groups, scores | {"safety": [[-5.0], [1.0]]}, RewardRule(), "runs/1")
    assert [one[0].reward for one in unsafe] == [-5.0, 1.0] and unsafe[0][0].run == "runs/1"
    assert unsafe[0][0].scores == {"helpfulness": 2.0, "safety": -5.0}


def test_pairs_of_the_best_and_a_worse_one() -> None:
    groups = [group(f"q{number}", good=1.0, bad=-1.0, cut=0.0) for number in range(20)]
    groups = [[*one[:2], candidate("q", 2, "cut", 0.0, ended=False)] for one in groups]
    found = list(pairs_of(select(groups, Keep(), 0), 0))
    assert {(best.sample.text, worse.sample.text, rating) for best, worse, rating in found} == {
        ("good", "bad", "significantly_better")
    }
    assert list(pairs_of(select([group("q", a=1, b=1)], Keep(), 0), 0)) == [], "none is worse"
    for gap, rating in ((0.1, "negligibly_better"), (0.6, "slightly_better"), (1.2, "better")):
        *_, (_, _, found_rating) = pairs_of(select([*groups, group("new", a=gap, b=0.0)], Keep(), 0), 0)
        assert found_rating == rating


# ---- figures --------------------------------------------------------------------------------------------------


def test_the_curve_of_the_best_of_n() -> None:
    curve = best_of_curve([[1.0, 2.0, 3.0], [0.0, 0.0, 6.0]])
    assert [row["n"] for row in curve] == [1, 2, 3]
    assert curve[0]["max"] == curve[0]["mean"] == pytest.approx(2.0), "one sample is plain sampling"
    assert curve[1]["max"] == pytest.approx(((2 + 3 + 3) / 3 + (0 + 6 + 6) / 3) / 2)
    assert curve[2]["max"] == pytest.approx(4.5) and curve[2]["median"] == pytest.approx(1.0)
    groups = [[3.0, 9.0, 1.0, 4.0, 1.0, 5.0], [2.0, 6.0, 5.0, 3.0, 5.0, 8.0]]
    for row in best_of_curve(groups):
        drawn = [list(combinations(group, int(row["n"]))) for group in groups]
        for figure, of in (("max", max), ("median", median), ("mean", fmean)):
            assert row[figure] == pytest.approx(fmean(fmean(map(of, draws)) for draws in drawn))
    rewards = torch.randn(40, 16, generator=torch.Generator().manual_seed(0)).tolist()
    rising = [row["max"] for row in best_of_curve(rewards)]
    assert rising == sorted(rising)


def test_how_different_samples_are() -> None:
    same, other = ["the red cup is here"] * 2, ["the red cup is here", "nobody knows anything about lamps"]
    assert unique_share([same, other]) == pytest.approx(0.75)
    assert self_bleu([same]) == pytest.approx(1.0) and self_bleu([other]) < 0.4
    assert self_bleu([["alone"]]) is None


def test_the_temperature_with_the_best_answers() -> None:
    cold, hot = [group("q", a=2, b=2)], [group("q", a=-9, b=3)]
    assert best_temperature({1.3: hot, 0.7: cold}) == 1.3, "the mean is not what counts"
    assert best_temperature({1.3: cold, 0.7: cold}) == 0.7


def said_of(groups: list[list[Candidate]]) -> str:
    return "\n".join(outcome(select(groups, Keep(), 0), groups, {}, 1.0).remarks)


def test_remarks() -> None:
    assert "gives all answers to a prompt the same score" in said_of(
        [group("q", a=1, b=1), group("p", c=2, d=2)]
    )
    assert "1 prompt of 2 with the same reward" in said_of([group("q", a=1, b=1), group("p", c=2, d=3)])
    assert "length hacking" in said_of([group("q", a=1, much_longer_than_the_other=3)])
    assert "1 prompt of 2 without" in said_of([[candidate("q", 0, "", 0)], group("p", a=1)])
    assert said_of([group("q", a=1, b=2)]) == "", "K = 2, nothing to say"
    assert said_of([group("q", a=1)]) == "", "K = 1"


@pytest.mark.parametrize(
    ("text", "ended", "hint"), [("a", False, "max_new_tokens"), ("", True, "was trained")]
)
def test_nothing_can_be_kept(text: str, ended: bool, hint: str) -> None:
    groups = [[candidate("q", 0, text, 0.0, ended=ended)]]
    with pytest.raises(DataError, match=f"E148(.|\n)*1 answer can be kept(.|\n)*{hint}"):
        outcome(select(groups, Keep(), 0), groups, {}, 1.0)


def test_figures_are_finite() -> None:
    groups = [group("q", a=1, b=1), group("p", c=2)]
    found = outcome(select(groups, Keep(), 0), groups, {1.0: groups, 0.5: groups}, 1.0)
    assert all(math.isfinite(value) for value in found.headline.values())
    assert set(found.figures["temperatures"]) == {"0.5", "1"}
    assert found.figures["examples"][0]["best"]["fate"] == "kept"
