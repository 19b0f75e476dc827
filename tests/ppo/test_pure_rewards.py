"""Token rewards by hand."""

import pytest
import torch

from llamatune.ppo.maths.token_rewards import missing_end_penalty, token_rewards

GARBAGE = [100.0, torch.inf, -torch.inf, torch.nan]


@pytest.mark.proves("B38")
def test_the_tags_are_bool() -> None:
    with pytest.raises(AssertionError):
        missing_end_penalty(torch.zeros(2), torch.zeros(2), 1.0)


@pytest.mark.proves("A10")
def test_the_penalty_is_subtracted_and_not_put_in_place() -> None:
    scores, ended = torch.tensor([2.0, 2.0, -3.0]), torch.tensor([True, False, False])
    assert missing_end_penalty(scores, ended, 1.5).tolist() == [2.0, 0.5, -4.5]
    assert missing_end_penalty(scores, ended, None).tolist() == scores.tolist()


def mask_of(lengths: list[int], time: int) -> torch.Tensor:
    return torch.arange(time) < torch.tensor(lengths)[:, None]


@pytest.mark.proves("A11")
def test_the_score_is_at_the_last_real_token() -> None:
    """Of full rows, of padded ones, and nowhere in a row without a token."""
    mask = mask_of([4, 2, 1, 0], 4)
    scores = torch.tensor([1.0, 2.0, 3.0, torch.nan])
    found = token_rewards(scores=scores, kl=torch.zeros(4, 4), mask=mask, kl_coef=0.1)
    expected = [[0, 0, 0, 1.0], [0, 2.0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 0]]
    assert found.tolist() == expected


@pytest.mark.proves("A11")
def test_the_last_real_token_may_come_after_a_gap() -> None:
    """Masks from the left, or with tokens in between that the policy did not write."""
    mask = torch.tensor([[False, True, False, True], [True, False, False, True]])
    found = token_rewards(
        scores=torch.tensor([1.0, 2.0]),
        kl=torch.full((2, 4), torch.nan).where(~mask, 0),
        mask=mask,
        kl_coef=0.1,
    )
    assert found.tolist() == [[0, 0, 0, 1.0], [0, 0, 0, 2.0]]


@pytest.mark.proves("A11")
def test_padding_moves_nothing() -> None:
    kl, scores = torch.tensor([[0.5, -0.25, 1.0]]), torch.tensor([7.0])
    short = token_rewards(scores=scores, kl=kl, mask=mask_of([3], 3), kl_coef=0.1)
    wide = torch.nn.functional.pad(kl, (0, 3), value=torch.nan)
    long = token_rewards(scores=scores, kl=wide, mask=mask_of([3], 6), kl_coef=0.1)
    assert torch.equal(long[:, :3], short) and not long[:, 3:].any()


@pytest.mark.proves("A12")
def test_token_rewards_by_hand() -> None:
    """-beta x KL: where the policy likes a token less than the reference does, the reward is positive."""
    kl = torch.tensor([[0.5, -0.25, 1.0], [2.0, 8.0, 9.0]])
    found = token_rewards(scores=torch.tensor([7.0, -1.0]), kl=kl, mask=mask_of([3, 1], 3), kl_coef=0.1)
    torch.testing.assert_close(found, torch.tensor([[-0.05, 0.025, 6.9], [-1.2, 0.0, 0.0]]))


@pytest.mark.proves("A14")
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_the_padding_changes_no_reward(garbage: float) -> None:
    mask = mask_of([3, 1, 0], 3)
    kl, scores = torch.arange(9.0).reshape(3, 3), torch.tensor([1.0, 2.0, 3.0])
    clean = token_rewards(scores=scores, kl=kl, mask=mask, kl_coef=0.1)
    dirty = token_rewards(scores=scores, kl=torch.where(mask, kl, garbage), mask=mask, kl_coef=0.1)
    assert torch.equal(clean, dirty) and clean.isfinite().all() and clean.any()


@pytest.mark.proves("B38")
def test_token_rewards_take_names_and_a_bool_mask() -> None:
    kl = torch.zeros(2, 3)
    with pytest.raises(TypeError):
        token_rewards(torch.zeros(2), kl, kl, 0.1)
    with pytest.raises(AssertionError):
        token_rewards(scores=torch.zeros(2), kl=kl, mask=torch.ones(2, 3), kl_coef=0.1)
    with pytest.raises(AssertionError):
        token_rewards(scores=torch.zeros(2, 3), kl=kl, mask=mask_of([3, 3], 3), kl_coef=0.1)
