"""Win rates and their intervals: what they say of judges whose bias and noise are known."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from llamatune.judging.evaluation.estimates import Estimate, difference, mean_of, ratio
from llamatune.judging.win_rates import Game, Match, strengths, win_rate


def match(prompt: str, *games: tuple[int, int], lengths: tuple[int, int] = (10, 10)) -> Match:
    return Match(prompt, tuple(Game(*game) for game in games), lengths)


def test_both_orders_make_one_outcome_and_ties_are_kept() -> None:
    matches = [
        match("a", (1, 1), (1, -1)),
        match("b", (1, 1), (1, -1)),
        match("c", (-1, 1), (-1, -1)),
        match("d", (1, 1), (-1, -1)),  # the first one shown, twice
        match("e", (0, 1), (0, -1)),
        match("f", (0, 1), (1, -1)),
    ]
    found = win_rate(matches)
    assert (found.win, found.tie, found.loss, found.prompts) == (2, 3, 1, 6)
    assert found.rate is not None and found.rate.value == pytest.approx(2 / 3)
    assert found.share is not None and found.share.value == pytest.approx(3.5 / 6)
    assert found.consistency is not None and found.consistency.value == pytest.approx(4 / 6)
    # of the games with a winner: 1 0 / 1 0 / 0 1 / 1 1 / - - / - 0
    assert found.first_position is not None and found.first_position.value == pytest.approx(5 / 9)
    assert found.at_equal_length is None and found.length_ratio == 1.0


def test_a_judge_that_sees_no_order_has_no_position_to_prefer() -> None:
    found = win_rate([match("a", (1, 0)), match("b", (-1, 0))])
    assert found.consistency is None and found.first_position is None


def test_who_always_wins_has_an_interval_all_the_same() -> None:
    found = win_rate([match(str(number), (1, 0)) for number in range(20)])
    # Wilson's interval of 20 of 20, from Newcombe (1998), table I.
    assert found.rate == Estimate(1.0, pytest.approx(0.8389, abs=6e-5), 1.0, 20)


def test_a_judge_that_goes_by_length_alone_is_found_out() -> None:
    dice = np.random.default_rng(0)
    matches = []
    for number in range(400):
        ours, theirs = int(dice.integers(50, 150)), int(dice.integers(20, 120))
        matches.append(match(str(number), (1 if ours > theirs else -1, 0), lengths=(ours, theirs)))
    found = win_rate(matches)
    assert found.share is not None and found.at_equal_length is not None
    assert found.share.value > 0.65 and found.length_ratio == pytest.approx(100 / 70, rel=0.05)
    assert found.at_equal_length.low < 0.5 < found.at_equal_length.high
    better = [match(one.prompt, (1, 0), lengths=one.lengths) for one in matches]
    assert win_rate(better).at_equal_length.value > 0.95  # type: ignore[union-attr]


# ---- intervals hold the truth ---------------------------------------------------------------------------------


def verdicts(dice: np.random.Generator, prompts: int, *, turns: int, bias: float) -> list[Match]:
    """A judge who prefers the first place in some cases, on chats whose turns are alike: a model that is good at a
    prompt is good at all its turns."""
    matches = []
    for prompt in range(prompts):
        skill = dice.normal(0.4, 1.5)
        for _ in range(turns):
            games = []
            for first in (1, -1):
                wins = dice.random() < 1 / (1 + math.exp(-(skill + bias * first)))
                games.append(Game(1 if wins else -1, first))
            matches.append(Match(f"prompt {prompt}", tuple(games)))
    return matches


def truth_of(figure: Callable[[list[Match]], float], *, turns: int, bias: float) -> float:
    return figure(verdicts(np.random.default_rng(99), 40_000, turns=turns, bias=bias))


def by_game(matches: list[Match]) -> list[Match]:
    """Every match as if it were of a prompt of its own."""
    return [Match(str(number), one.games) for number, one in enumerate(matches)]


@pytest.mark.slow
def test_intervals_by_prompt_hold_the_truth_and_those_by_game_do_not() -> None:
    """500 simulations with 60 chats of 4 turns each; the truth is that of 40,000 chats."""
    settings = {"turns": 4, "bias": 0.7}

    def plain(matches: list[Match]) -> float:
        decided = [one.outcome for one in matches if one.outcome]
        return sum(one == 1 for one in decided) / len(decided)

    truth = truth_of(plain, **settings)
    dice = np.random.default_rng(1)
    held = {"by prompt": 0, "by game": 0}
    for simulation in range(500):
        matches = verdicts(dice, 60, **settings)
        for name, given in (("by prompt", matches), ("by game", by_game(matches))):
            found = win_rate(given, times=400, seed=simulation).rate
            assert found is not None
            held[name] += found.low <= truth <= found.high
    assert 0.925 <= held["by prompt"] / 500 <= 0.975, held
    assert held["by game"] / 500 < 0.85, held


def test_a_judge_who_prefers_a_place_is_found_out() -> None:
    dice = np.random.default_rng(2)
    found = win_rate(verdicts(dice, 500, turns=1, bias=2.0))
    fair = win_rate(verdicts(dice, 500, turns=1, bias=0.0))
    assert found.first_position is not None and fair.first_position is not None
    assert found.first_position.low > 0.6 and fair.first_position.low < 0.5 < fair.first_position.high
    assert found.consistency is not None and fair.consistency is not None
    assert found.consistency.high < fair.consistency.low


def test_means_hold_the_truth() -> None:
    dice = np.random.default_rng(3)
    held = 0
    for seed in range(500):
        found = mean_of(dice.exponential(2.0, 80), times=400, seed=seed)  # type: ignore[arg-type]
        assert found is not None
        held += found.low <= 2.0 <= found.high
    assert 0.91 <= held / 500 <= 0.97, "an exponential's tail is long: a little below 95%"


def test_the_same_seed_gives_the_same_interval() -> None:
    matches = verdicts(np.random.default_rng(4), 50, turns=2, bias=0.0)
    assert win_rate(matches, seed=5) == win_rate(matches, seed=5) != win_rate(matches, seed=6)


def test_a_ratio_of_nothing_is_none() -> None:
    assert ratio([0, 0], [0, 0]) is None and mean_of([]) is None


# ---- several models -------------------------------------------------------------------------------------------


def test_strengths_are_those_that_made_the_wins() -> None:
    """Three models; the truth is in log-odds against the first."""
    dice = np.random.default_rng(6)
    truth = {"a": 0.0, "b": 0.8, "c": -0.5}
    pairs: dict[tuple[str, str], list[Match]] = {}
    for one, other in (("a", "b"), ("b", "c"), ("c", "a")):
        chance = 1 / (1 + math.exp(truth[other] - truth[one]))
        pairs[one, other] = [
            match(str(number), (1 if dice.random() < chance else -1, 0)) for number in range(2000)
        ]
    found = strengths(pairs, "a")
    assert found["a"].value == 0.0 and list(found) == ["a", "b", "c"]
    for name in ("b", "c"):
        assert found[name].value == pytest.approx(truth[name], abs=0.1)
        assert found[name].low < truth[name] < found[name].high
    assert found["b"].high - found["b"].low < 0.35


def test_a_model_that_never_loses_is_not_infinitely_strong() -> None:
    pairs = {("a", "b"): [match(str(number), (1, 0)) for number in range(30)]}
    found = strengths(pairs, "b")
    assert 4 < found["a"].value < 8


def test_differences_are_those_of_the_literature() -> None:
    """Newcombe (1998), table II, contrast (a): 56 of 70 and 48 of 80, method 10."""
    from llamatune.judging.evaluation.estimates import Share

    now, before = Share(56, 70).estimate(), Share(48, 80).estimate()
    assert now is not None and before is not None
    found = difference(now, before)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=6e-5)
