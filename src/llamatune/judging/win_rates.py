"""Win rates: how often one model's reply is better than another's, and how sure that is (paper, section 3.4).

Pure: of what judges said. A judge who sees an order is asked in both, since most prefer a place; where the two answers
differ, nobody wins. Ties are kept. Intervals are by prompt (`evaluation.estimates`): both orders, and all turns of a
chat, are drawn together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamatune.judging.evaluation.estimates import RESAMPLES, Estimate, bootstrapped, draws, ratio

_STEPS_OF_NEWTON = 25
_STEPS_FROM_THERE = 6
_STEPS_OF_STRENGTHS = 300
_RIDGE = 1.0
_PRIOR = 0.1
"""Games that each pair is taken to have won and lost besides, so that who always wins is not infinitely strong."""


@dataclass(frozen=True)
class Game:
    """What a judge said once. `won`: 1 the model's reply is better, -1 the other's, 0 neither. `first`: 1 if the
    model's reply was shown first, -1 if the other's was, 0 where the judge sees no order."""

    won: int
    first: int = 0


@dataclass(frozen=True)
class Match:
    """All that a judge said of two replies to a prompt. `prompt`: what is drawn together for intervals. `lengths`: of
    the model's reply and the other's, in characters."""

    prompt: str
    games: tuple[Game, ...]
    lengths: tuple[int, int] = (0, 0)

    @property
    def outcome(self) -> int:
        """1 the model won, -1 the other, 0 neither: the judge said so, or said different things in different orders."""
        words = {game.won for game in self.games}
        return words.pop() if len(words) == 1 else 0


@dataclass(frozen=True)
class WinRate:
    """A model against another.

    `win`, `tie`, `loss`: matches. `rate`: win / (win + loss), the paper's; `share`: (win + tie / 2) / all.
    `at_equal_length`: what `share` would be if both wrote replies of the same length, by a logistic regression on the
    difference of lengths, as AlpacaEval 2 has it; None where lengths do not differ. `length_ratio`: mean length of the
    model's replies by that of the other's. Of judges who see an order, else None: `consistency`, the share of matches
    with the same word in both orders; `first_position`, the share of games with a winner that what was shown first won.
    """

    prompts: int
    win: int
    tie: int
    loss: int
    rate: Estimate | None
    share: Estimate | None
    at_equal_length: Estimate | None
    length_ratio: float | None
    consistency: Estimate | None
    first_position: Estimate | None

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {
            name: value.record() if isinstance(value, Estimate) else value
            for name, value in vars(self).items()
        }


def win_rate(matches: Sequence[Match], *, times: int = RESAMPLES, seed: int = 0) -> WinRate:
    """How a model does in these matches.

    Args:
        times, seed: of the draws for the intervals.
    """
    prompts = list({match.prompt: None for match in matches})
    place = {prompt: at for at, prompt in enumerate(prompts)}
    outcomes = [match.outcome for match in matches]

    def by_prompt(values: Sequence[float]) -> np.ndarray:
        sums = np.zeros(len(prompts))
        np.add.at(sums, [place[match.prompt] for match in matches], np.array(values, float))
        return sums

    def share_of(parts: Sequence[float], wholes: Sequence[float]) -> Estimate | None:
        return ratio(by_prompt(parts), by_prompt(wholes), times=times, seed=seed)  # type: ignore[arg-type]

    ordered = [match for match in matches if len({game.first for game in match.games} - {0}) == 2]
    in_both = {id(match) for match in ordered}
    decided = [[game for game in match.games if game.won and game.first] for match in matches]
    ours, theirs = (sum(match.lengths[side] for match in matches) for side in (0, 1))
    return WinRate(
        prompts=len(prompts),
        win=outcomes.count(1),
        tie=outcomes.count(0),
        loss=outcomes.count(-1),
        rate=share_of([one == 1 for one in outcomes], [one != 0 for one in outcomes]),
        share=share_of([(one + 1) / 2 for one in outcomes], [1] * len(matches)),
        at_equal_length=_at_equal_length(matches, outcomes, by_prompt_of=place, times=times, seed=seed),
        length_ratio=ours / theirs if theirs else None,
        consistency=share_of(
            [id(match) in in_both and len({game.won for game in match.games}) == 1 for match in matches],
            [id(match) in in_both for match in matches],
        ),
        first_position=share_of(
            [sum(game.won == game.first for game in games) for games in decided],
            [len(games) for games in decided],
        ),
    )


# ---- at equal length --------------------------------------------------------------------------------------------


def _at_equal_length(
    matches: Sequence[Match],
    outcomes: Sequence[int],
    *,
    by_prompt_of: Mapping[str, int],
    times: int,
    seed: int,
) -> Estimate | None:
    """logit P(win) = a + b tanh(difference of lengths / its deviation); P at a difference of 0, ties being half a win.

    b has a ridge of 1, so that lengths that decide everything have a finite slope.
    """
    longer = np.array([match.lengths[0] - match.lengths[1] for match in matches], float)
    if len(matches) < 2 or not longer.std():
        return None
    length, won = np.tanh(longer / longer.std()), (np.array(outcomes, float) + 1) / 2
    of = np.array([by_prompt_of[match.prompt] for match in matches])
    all_once = np.ones((1, len(matches)))
    start = _newton(length, won, all_once, np.zeros((1, 2)), _STEPS_OF_NEWTON)

    def refitted(drawn: np.ndarray) -> np.ndarray:
        begin = np.repeat(start, len(drawn), axis=0)
        return _sigmoid(_newton(length, won, drawn[:, of], begin, _STEPS_FROM_THERE)[:, 0])

    low, high = bootstrapped(refitted, len(by_prompt_of), times=times, seed=seed)
    return Estimate(float(_sigmoid(start)[0, 0]), low, high, len(by_prompt_of))


def _newton(
    length: np.ndarray, won: np.ndarray, weights: np.ndarray, start: np.ndarray, steps: int
) -> np.ndarray:
    """(fits, 2): a and b of weighted logistic regressions. `length`, `won`: (matches,); `weights`: (fits, matches)."""
    fit = start
    for _ in range(steps):
        expected = _sigmoid(fit[:, :1] + fit[:, 1:] * length)
        off = weights * (won - expected)
        curve = weights * expected * (1 - expected)
        # A little ridge on a, too: who always wins has an infinite one.
        up_a = off.sum(1) - 1e-2 * fit[:, 0]
        up_b = (off * length).sum(1) - _RIDGE * fit[:, 1]
        aa, ab = curve.sum(1) + 1e-2, (curve * length).sum(1)
        bb = (curve * length**2).sum(1) + _RIDGE
        scale = aa * bb - ab**2
        step = np.stack([(bb * up_a - ab * up_b) / scale, (aa * up_b - ab * up_a) / scale], axis=1)
        fit = fit + np.clip(step, -2, 2)
    return fit


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(value, -50, 50))))


# ---- more than two models -----------------------------------------------------------------------------------------


def strengths(
    pairs: Mapping[tuple[str, str], Sequence[Match]],
    baseline: str,
    *,
    times: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Bradley and Terry's strengths of all models, in log-odds against the baseline: P(a beats b) is the sigmoid of the
    difference. Ties are half a win for both.

    Args:
        pairs: (model, other) -> their matches. Every model has to be compared with another, directly or by others.
    """
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    place = {name: at for at, name in enumerate(names)}
    prompts = list(dict.fromkeys(match.prompt for matches in pairs.values() for match in matches))
    row = {prompt: at for at, prompt in enumerate(prompts)}
    # wins[prompt, i, j]: of i over j.
    wins = np.zeros((len(prompts), len(names), len(names)))
    prior = np.zeros((len(names), len(names)))
    for (one, other), matches in pairs.items():
        i, j = place[one], place[other]
        prior[i, j] = prior[j, i] = _PRIOR
        for match in matches:
            wins[row[match.prompt], i, j] += (match.outcome + 1) / 2
            wins[row[match.prompt], j, i] += (1 - match.outcome) / 2
    flat = wins.reshape(len(prompts), -1)

    def fitted(drawn: np.ndarray) -> np.ndarray:
        table = (drawn @ flat).reshape(len(drawn), len(names), len(names)) + prior
        found = np.log(_minorised(table))
        return np.asarray(found - found[:, place[baseline], None])

    [whole] = fitted(np.ones((1, len(prompts))))
    every = np.concatenate([fitted(block) for block in draws(len(prompts), times, seed)])
    low, high = np.quantile(every, [0.025, 0.975], axis=0)
    return {
        name: Estimate(float(whole[at]), float(low[at]), float(high[at]), len(prompts))
        for at, name in enumerate(names)
    }


def _minorised(wins: np.ndarray) -> np.ndarray:
    """(fits, models): what maximises the likelihood of (fits, models, models) wins (Hunter 2004, equation 3)."""
    games = wins + wins.transpose(0, 2, 1)
    won = wins.sum(2)
    found = np.ones(won.shape)
    for _ in range(_STEPS_OF_STRENGTHS):
        found = won / (games / (found[:, :, None] + found[:, None, :])).sum(2)
        found = found / np.exp(np.log(found).mean(1, keepdims=True))
    return found
