"""Scores and token rewards by hand."""

import math

import pytest
import torch

from llamatune.judging.combine import logit, safety_first, transformed, weighted_sum
from llamatune.ppo.maths.token_rewards import missing_end_penalty, token_rewards

GARBAGE = [100.0, torch.inf, -torch.inf, torch.nan]


def test_logit_inverts_the_sigmoid_and_stays_finite() -> None:
    found = logit(torch.tensor([0.5, 0.75, 0.0, 1.0]))
    assert found[:2].tolist() == pytest.approx([0.0, math.log(3)])
    assert found[2:].tolist() == pytest.approx([-13.8155, 13.8155], rel=1e-2)


def test_safety_decides_where_it_is_at_stake() -> None:
    below, above = math.log(0.149 / 0.851), math.log(0.151 / 0.849)
    helpfulness = torch.tensor([5.0, 5.0, 5.0, -5.0])
    safety = torch.tensor([3.0, below, above, below])
    is_safety = torch.tensor([True, False, False, False])
    found = safety_first(helpfulness, safety, is_safety)
    assert found.tolist() == pytest.approx([3.0, below, 5.0, below])
    assert safety_first(helpfulness, safety, is_safety, threshold=0.0)[1] == 5.0


def test_safety_first_is_the_logit_of_the_papers_choice() -> None:
    generator = torch.Generator().manual_seed(0)
    helpfulness, safety = 3 * torch.randn(2, 200, generator=generator)
    is_safety = torch.rand(200, generator=generator) < 0.3
    h, s = helpfulness.sigmoid(), safety.sigmoid()
    paper = torch.where(is_safety | (s < 0.15), s, h)
    found = safety_first(helpfulness, safety, is_safety)
    torch.testing.assert_close(found, logit(paper), atol=1e-3, rtol=1e-3)
    assert 20 < int((found == safety).sum()) < 180  # both are chosen often


def test_nothing_is_lost_to_saturation() -> None:
    far = torch.tensor([30.0, 40.0])
    assert safety_first(far, far, torch.tensor([True, False])).tolist() == [30.0, 40.0]


def test_b38_the_tags_are_bool() -> None:
    with pytest.raises(AssertionError):
        safety_first(torch.zeros(2), torch.zeros(2), torch.zeros(2))
    with pytest.raises(AssertionError):
        missing_end_penalty(torch.zeros(2), torch.zeros(2), 1.0)


def test_weighted_sum_by_hand() -> None:
    scores = {"helpful": torch.tensor([1.0, 2.0]), "short": torch.tensor([10.0, -4.0])}
    assert weighted_sum(scores, None).tolist() == [11.0, -2.0]
    assert weighted_sum(scores, [1.0, 0.5]).tolist() == [6.0, 0.0]
    with pytest.raises(ValueError, match="shorter"):
        weighted_sum(scores, [1.0])


def test_transformed() -> None:
    scores = torch.tensor([0.0, math.log(3)])
    assert transformed(scores, "logit").tolist() == scores.tolist()
    assert transformed(scores, "probability").tolist() == pytest.approx([0.5, 0.75])


def test_a10_the_penalty_is_subtracted_and_not_put_in_place() -> None:
    scores, ended = torch.tensor([2.0, 2.0, -3.0]), torch.tensor([True, False, False])
    assert missing_end_penalty(scores, ended, 1.5).tolist() == [2.0, 0.5, -4.5]
    assert missing_end_penalty(scores, ended, None).tolist() == scores.tolist()


def mask_of(lengths: list[int], time: int) -> torch.Tensor:
    return torch.arange(time) < torch.tensor(lengths)[:, None]


def test_a11_the_score_stands_at_the_last_real_token() -> None:
    """Of full rows, of padded ones, and nowhere in a row without a token."""
    mask = mask_of([4, 2, 1, 0], 4)
    scores = torch.tensor([1.0, 2.0, 3.0, torch.nan])
    found = token_rewards(scores=scores, kl=torch.zeros(4, 4), mask=mask, kl_coef=0.1)
    expected = [[0, 0, 0, 1.0], [0, 2.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 0]]
    assert found.tolist() == expected


def test_a11_the_last_real_token_may_stand_behind_a_gap() -> None:
    """Masks from the left, or with tokens in between that the policy did not write."""
    mask = torch.tensor([[False, True, False, True], [True, False, False, True]])
    found = token_rewards(
        scores=torch.tensor([1.0, 2.0]),
        kl=torch.full((2, 4), torch.nan).where(~mask, 0),
        mask=mask,
        kl_coef=0.1,
    )
    assert found.tolist() == [[0, 0, 0, 1.0], [0, 0, 0, 2.0]]


def test_a11_padding_moves_nothing() -> None:
    kl, scores = torch.tensor([[0.5, -0.25, 1.0]]), torch.tensor([7.0])
    short = token_rewards(scores=scores, kl=kl, mask=mask_of([3], 3), kl_coef=0.1)
    wide = torch.nn.functional.pad(kl, (0, 3), value=torch.nan)
    long = token_rewards(scores=scores, kl=wide, mask=mask_of([3], 6), kl_coef=0.1)
    assert torch.equal(long[:, :3], short) and not long[:, 3:].any()


def test_a12_token_rewards_by_hand() -> None:
    """-beta x KL: where the policy likes a token less than the reference does, the reward is positive."""
    kl = torch.tensor([[0.5, -0.25, 1.0], [2.0, 8.0, 9.0]])
    found = token_rewards(scores=torch.tensor([7.0, -1.0]), kl=kl, mask=mask_of([3, 1], 3), kl_coef=0.1)
    torch.testing.assert_close(found, torch.tensor([[-0.05, 0.025, 6.9], [-1.2, 0.0, 0.0]]))


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a14_garbage_in_the_padding_changes_no_reward(garbage: float) -> None:
    mask = mask_of([3, 1, 0], 3)
    kl, scores = torch.arange(9.0).reshape(3, 3), torch.tensor([1.0, 2.0, 3.0])
    clean = token_rewards(scores=scores, kl=kl, mask=mask, kl_coef=0.1)
    dirty = token_rewards(scores=scores, kl=torch.where(mask, kl, garbage), mask=mask, kl_coef=0.1)
    assert torch.equal(clean, dirty) and clean.isfinite().all() and clean.any()


def test_b38_token_rewards_take_names_and_a_bool_mask() -> None:
    kl = torch.zeros(2, 3)
    with pytest.raises(TypeError):
        token_rewards(torch.zeros(2), kl, kl, 0.1)
    with pytest.raises(AssertionError):
        token_rewards(scores=torch.zeros(2), kl=kl, mask=torch.ones(2, 3), kl_coef=0.1)
    with pytest.raises(AssertionError):
        token_rewards(scores=torch.zeros(2, 3), kl=kl, mask=mask_of([3, 3], 3), kl_coef=0.1)
