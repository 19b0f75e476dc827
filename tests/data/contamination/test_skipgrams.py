"""Skip-grams of appendix A.6, against a search that tries everything."""

from __future__ import annotations

import random

import pytest

from llamatune.data.contamination.skipgrams import BUDGET, FIRST, Skipgrams
from llamatune.data.contamination.subsets import is_affected, subsets


def slow_shares(rows: list[list[int]], texts: list[list[int]], longer_than: int) -> list[float]:
    """By the definition: every start in the row and in the text, and every length."""
    found = []
    for row in rows:
        dirty = [False] * len(row)
        for text in texts:
            for start in range(len(row)):
                for at in range(len(text)):
                    for size in range(longer_than + 1, min(len(row) - start, len(text) - at) + 1):
                        same = [row[start + k] == text[at + k] for k in range(size)]
                        if not all(same[:FIRST]) or not same[-1] or same.count(False) > BUDGET:
                            continue
                        for k in range(size):
                            dirty[start + k] |= same[k]
        found.append(sum(dirty) / len(row) if row else 0.0)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_finds_what_a_search_of_everything_finds(seed: int) -> None:
    dice = random.Random(seed)
    words = range(dice.choice([2, 5, 1000]))
    texts = [[dice.choice(words) for _ in range(dice.randrange(0, 60))] for _ in range(4)]
    rows = []
    for _ in range(5):
        row = [dice.choice(words) for _ in range(dice.randrange(0, 12))]
        copied = list(dice.choice(texts))
        for _ in range(dice.randrange(0, 8)):
            if copied:
                copied[dice.randrange(len(copied))] = dice.choice(words)
        rows.append(row + copied[dice.randrange(0, 5) :] + row)
    seen = Skipgrams(rows)
    for text in texts:
        seen.read(text)
    for longer_than in (10, 13, 20):
        assert seen.shares(longer_than=longer_than) == pytest.approx(slow_shares(rows, texts, longer_than))


def test_four_tokens_may_differ_but_not_five_nor_the_first_ten_nor_the_last() -> None:
    text = list(range(100, 140))

    def share(*changed: int) -> int:
        row = [7 if at in changed else token for at, token in enumerate(text)]
        seen = Skipgrams([row])
        seen.read(text)
        return round(seen.shares()[0] * len(row))

    assert share() == 40
    assert share(12, 14, 16, 18) == 36
    assert share(12, 14, 16, 18, 39) == 35  # the last one would be trailing
    assert share(12, 14, 16, 18, 20) == 16 + 19  # up to the fifth, and what is after it
    assert share(3) == 36  # from the fourth on
    assert share(5, 15, 25, 35) == 0  # nowhere ten that agree


def test_a_stretch_never_joins_two_texts_or_two_rows() -> None:
    seen = Skipgrams([list(range(8)), list(range(8, 16))])
    seen.read(list(range(16)))
    assert seen.shares() == [0.0, 0.0]
    seen = Skipgrams([list(range(16))])
    seen.read(list(range(8)))
    seen.read(list(range(8, 16)))
    assert seen.shares() == [0.0]


def test_nothing_is_something_too() -> None:
    seen = Skipgrams([])
    seen.read([1] * 20)
    assert seen.shares() == []
    seen = Skipgrams([[], [1]])
    seen.read([])
    assert seen.shares() == [0.0, 0.0]


def test_subsets_by_hand() -> None:
    shares = [0.0, 0.1, 0.2, 0.5, 0.8, 1.0]
    right = [0, 0, 1, 0, 1, 1]
    found = subsets(shares, right)
    assert {name: one["rows"] for name, one in found.items()} == {
        "clean": 2,
        "not clean": 4,
        "not dirty": 4,
        "dirty": 2,
    }
    # of all: mean 1/2, standard deviation 1/2; of two: standard error 1/2 / sqrt(2)
    assert found["dirty"] == {"rows": 2, "mean": 1.0, "z": pytest.approx(2**0.5)}
    assert found["clean"]["z"] == pytest.approx(-(2**0.5))
    assert found["not clean"]["z"] == pytest.approx(1.0)
    assert not is_affected(found)


def test_only_what_is_far_from_chance_is_called_affected() -> None:
    learnt_by_heart = subsets([0.0] * 50 + [1.0] * 50, [0] * 50 + [1] * 50)
    assert is_affected(learnt_by_heart)
    assert not is_affected(subsets([0.0] * 50 + [1.0] * 50, [0, 1] * 50))
    assert not is_affected(subsets([0.0] * 10, [1] * 10)), "nothing to compare with"
