"""Gwet's coefficients beside those that are published."""

import math

import pytest

from llamatune.annotation.agreement import gwet, weights_of

# K. L. Gwet's package irrCAC 1.0, README: 12 subjects and 4 raters with gaps (cac.raw4raters).
FOUR_RATERS = """
1 1 . 1
2 2 3 2
3 3 3 3
3 3 3 3
2 2 2 2
1 2 3 4
4 4 4 4
1 1 2 1
2 2 2 2
. 5 5 5
. . 1 1
. . 3 .
"""
# The same, distrib.6raters: 15 patients, 6 psychiatrists, 5 diagnoses (Fleiss 1971, in part).
SIX_RATERS = """
0 0 0 6 0
0 3 0 0 3
0 1 4 0 1
0 0 0 0 6
0 3 0 3 0
2 0 4 0 0
0 0 4 0 2
2 0 3 1 0
2 0 0 4 0
0 0 0 0 6
1 0 0 5 0
1 1 0 4 0
0 3 3 0 0
1 0 0 5 0
0 2 0 3 1
"""
# The same, cont3x3abstractors: 100 subjects, 2 raters, as a table.
TWO_RATERS = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]


def of_four() -> list[list[int]]:
    rows = [[int(one) for one in line.split() if one != "."] for line in FOUR_RATERS.split("\n") if line]
    return [[row.count(category) for category in range(1, 6)] for row in rows]


def of_six() -> list[list[int]]:
    return [[int(one) for one in line.split()] for line in SIX_RATERS.split("\n") if line]


def of_two() -> list[list[int]]:
    found = []
    for first, row in enumerate(TWO_RATERS):
        for second, count in enumerate(row):
            found += [[(first == one) + (second == one) for one in range(3)]] * count
    return found


@pytest.mark.parametrize(
    ("counts", "value", "error", "observed", "chance", "interval"),
    [
        (of_four(), 0.77544, 0.14295, 0.8181818, 0.1903212, (0.461, 1.0)),
        (of_six(), 0.4448007, 0.08418757, 0.5511111, 0.1914815, (0.264, 0.625)),
        # Its formula for tables divides by n where that for any number of raters divides by n - 1.
        (of_two(), 0.8493305, 0.04321747 * math.sqrt(100 / 99), 0.89, None, (0.764, 0.935)),
    ],
    ids=["4 raters with gaps", "6 raters", "2 raters"],
)
def test_ac1_is_the_published_one(
    counts: list[list[int]],
    value: float,
    error: float,
    observed: float,
    chance: float | None,
    interval: tuple[float, float],
) -> None:
    found = gwet(counts, "nominal")
    assert found is not None and found.standard_error is not None
    assert found.value == pytest.approx(value, abs=1e-5)
    assert found.standard_error == pytest.approx(error, abs=1e-5)
    assert found.observed == pytest.approx(observed, abs=1e-6)
    assert chance is None or found.chance == pytest.approx(chance, abs=1e-6)
    assert (found.low, found.high) == pytest.approx(interval, abs=2e-3)


@pytest.mark.parametrize(
    ("weights", "value", "error", "observed", "chance"),
    [
        ("ordinal", 0.89894, 0.1069, 0.96818, 0.68516),
        ("linear", 0.85874, 0.11733, 0.93939, 0.57096),
        ("quadratic", 0.914, 0.10396, 0.97538, 0.7137),
    ],
)
def test_ac2_is_that_of_irrcac(weights, value: float, error: float, observed: float, chance: float) -> None:
    """On the four raters, as irrCAC 0.4.4 for Python gives it (`CAC(raw_4raters(), weights=...).gwet()`)."""
    found = gwet(of_four(), weights)
    assert found is not None and found.standard_error is not None
    assert found.value == pytest.approx(value, abs=1e-5)
    assert found.standard_error == pytest.approx(error, abs=1e-5)
    assert (found.observed, found.chance) == pytest.approx((observed, chance), abs=1e-5)


def test_weights_are_those_of_the_vignette() -> None:
    """irrCAC's vignette on weights, three categories."""
    ordinal = [[1, 2 / 3, 0], [2 / 3, 1, 2 / 3], [0, 2 / 3, 1]]
    assert [
        row == pytest.approx(known)
        for row, known in zip(weights_of("ordinal", 3).tolist(), ordinal, strict=True)
    ] == [True] * 3
    assert weights_of("linear", 3)[0].tolist() == [1, 0.5, 0]
    assert weights_of("quadratic", 3)[0].tolist() == [1, 0.75, 0]


def test_edges() -> None:
    assert gwet([], "ordinal") is None and gwet([[1, 0], [0, 1]], "ordinal") is None, (
        "nobody judged with another"
    )
    full = gwet([[2, 0, 0], [0, 0, 2], [0, 2, 0]], "ordinal")
    assert full is not None and full.value == 1 and full.high == 1
    alone = gwet([[1, 1]], "nominal")
    assert alone is not None and alone.low is None and not math.isnan(alone.value)
    apart = gwet([[1, 1]] * 20, "nominal")
    assert apart is not None and apart.value == pytest.approx(-1)
