"""Where reward models and oracle part: orders of a few replies, by numbers that can be done by hand."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from llamatune.judging.disagreement import JudgedTwice, disagreement, remark


def replies(rewards: Sequence[float], qualities: Sequence[float], prompt: str = "q") -> list[JudgedTwice]:
    both = zip(rewards, qualities, strict=True)
    return [JudgedTwice(prompt, f"{prompt}{number}", *values) for number, values in enumerate(both)]


def names(found: dict[str, Any], kind: str) -> list[str]:
    return [one["reply"] for one in found[kind]]


def test_the_same_order_and_its_reverse() -> None:
    same = disagreement([replies([-2, 0.5, 90], [0.1, 0.2, 0.3])])
    assert same["correlation"] == pytest.approx(1) and same["pairs"] == {"compared": 3, "agree": 1.0}
    assert same["overrated"] == same["underrated"] == [] and remark(same) is None
    reverse = disagreement([replies([3, 2, 1], [0.1, 0.2, 0.3])])
    assert reverse["correlation"] == pytest.approx(-1) and reverse["pairs"]["agree"] == 0.0
    assert names(reverse, "overrated") == ["q0"] and names(reverse, "underrated") == ["q2"]
    assert reverse["overrated"][0] == {
        "prompt": "q",
        "reply": "q0",
        "reward": 3,
        "reward_place": pytest.approx(5 / 6),
        "quality": 0.1,
        "quality_place": pytest.approx(1 / 6),
    }
    said = remark(reverse)
    assert said is not None and "rank correlation -1.00" in said and "0% of 3 pairs, over 3 answers" in said


def test_equal_values_share_their_mean_rank() -> None:
    """Ranks 1.5, 1.5, 3, 4 and 1, 2.5, 2.5, 4: from their mean, products sum up to 3.75, squares to 4.5."""
    found = disagreement([replies([1, 1, 2, 3], [0, 0.5, 0.5, 1])])
    assert found["correlation"] == pytest.approx(3.75 / 4.5)
    # Of six pairs, one has equal qualities; of the others, the rewards of one are equal.
    assert found["pairs"] == {"compared": 5, "agree": 4.5 / 5}


def test_pairs_are_of_one_prompt_and_the_correlation_is_of_all() -> None:
    """In each group the order is wrong, and yet most of the whole order is right."""
    found = disagreement([replies([1, 0], [0.1, 0.2], "a"), replies([9, 8], [0.8, 0.9], "b")])
    assert found["correlation"] == pytest.approx(0.6), "1 - 6 * 4 / (4 * 15)"
    assert found["pairs"] == {"compared": 2, "agree": 0.0}
    said = remark(found)
    assert said is not None and "rank correlation 0.60" in said and "0% of 2 pairs, over 4 answers" in said
    single = disagreement([replies([0, 1], [0, 1], "a")[:1], replies([0, 1], [0, 1], "b")[1:]])
    assert single["pairs"] == {"compared": 0, "agree": None} and single["correlation"] == pytest.approx(1)


@pytest.mark.parametrize(
    "groups",
    [
        [],
        [[]],
        [replies([1], [0.5])],
        [replies([0.1] * 7, [0.1] * 7)],
        [replies([0.1] * 7, [0, 1, 0, 1, 0, 1, 0])],
        [replies([1, 2, 3], [0.7] * 3)],
    ],
    ids=["none", "an empty group", "one", "all equal", "equal rewards", "equal qualities"],
)
def test_without_an_order_nothing_is_said_of_it(groups: list[list[JudgedTwice]]) -> None:
    """0.1 seven times does not sum up to 0.7: a deviation of them would not be zero."""
    found = disagreement(groups)
    assert found["correlation"] is None and found["replies"] == sum(map(len, groups))
    json.dumps(found, allow_nan=False)
    if found["pairs"]["compared"]:
        assert found["pairs"]["agree"] == 0.5, "as good as guessing"


def test_the_widest_gaps_come_first_and_each_reply_once() -> None:
    """Twenty replies in the reverse order, the one with the highest reward sampled twice."""
    every = replies(range(20), [1 - number / 20 for number in range(20)])
    found = disagreement([[*every, every[-1]]])
    assert names(found, "overrated") == [f"q{number}" for number in range(19, 11, -1)]
    assert names(found, "underrated") == [f"q{number}" for number in range(8)]
    places = [one["reward_place"] - one["quality_place"] for one in found["overrated"]]
    assert places == sorted(places, reverse=True) and min(places) > 0
    assert disagreement([[*every, every[-1]]]) == found


def test_a_remark_is_made_where_the_order_is_as_good_as_chance() -> None:
    def found(correlation: float | None, agree: float | None) -> dict[str, Any]:
        return {"replies": 9, "correlation": correlation, "pairs": {"compared": 7, "agree": agree}}

    assert remark(found(0.05, None)) == (
        "what the reward models like has little to do with what the oracle calls good: rank correlation 0.05, over "
        "9 answers"
    )
    assert remark(found(0.3, 0.5)) is not None and remark(found(None, 0.48)) is not None
    assert remark(found(0.1, 0.51)) is remark(found(None, None)) is remark(found(0.4, None)) is None
