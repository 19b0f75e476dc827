"""Whitening, of one batch and by running moments."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llamatune.ppo.maths.whitening import RunningMoments, whiten

GARBAGE = [100.0, torch.inf, -torch.inf, torch.nan]
SCORES = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20)


def mask_of(lengths: list[int], time: int) -> torch.Tensor:
    return torch.arange(time) < torch.tensor(lengths)[:, None]


@pytest.mark.proves("A16")
def test_whitening_by_hand() -> None:
    """1, 2, 3 and 6: mean 3, variance 14 / 4 of the population, and not 14 / 3 of a sample."""
    found = whiten(torch.tensor([[1.0, 2.0], [3.0, 6.0]]), eps=0.0)
    torch.testing.assert_close(found, torch.tensor([[-2.0, -1.0], [0.0, 3.0]]) / 3.5**0.5)


@pytest.mark.proves("A16")
def test_whitening_is_over_valid_tokens_of_all_rows_together() -> None:
    mask = mask_of([4, 2, 1], 4)
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)) * 5 + 40
    found = whiten(values, mask)
    assert found[mask].mean().item() == pytest.approx(0, abs=1e-6)
    assert found[mask].std(correction=0).item() == pytest.approx(1, rel=1e-6)
    assert not found[~mask].any() and found.dtype == torch.float32
    assert abs(found[1, :2].mean().item()) > 0.05  # not row by row


@pytest.mark.proves("A16")
@pytest.mark.parametrize("value", [0.1, -1000.1, 0.0, 1e20])
def test_whitening_a_constant_gives_zeros(value: float) -> None:
    values = torch.full((7, 9), value)
    assert torch.equal(whiten(values), torch.zeros(7, 9))
    assert torch.equal(whiten(values, shift_mean=False), values)


@pytest.mark.proves("A16")
def test_whitening_of_one_entry_and_of_none() -> None:
    values = torch.tensor([[5.0, torch.nan]])
    assert whiten(values, mask_of([1], 2)).tolist() == [[0.0, 0.0]]
    assert whiten(values, mask_of([0], 2)).tolist() == [[0.0, 0.0]]
    assert whiten(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.proves("A17")
def test_rewards_keep_their_mean() -> None:
    """`shift_mean` False changes the spread only; the padding stays 0 and does not become the mean."""
    values, mask = torch.tensor([[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]]), mask_of([2, 2, 0], 2)
    kept, shifted = whiten(values, mask, shift_mean=False), whiten(values, mask)
    torch.testing.assert_close(kept[:2], shifted[:2] + 3)
    assert kept[mask].mean().item() == pytest.approx(3) and not kept[2].any()
    assert kept[mask].std(correction=0).item() == pytest.approx(1)


@pytest.mark.proves("A17")
def test_the_papers_whitening_is_of_one_score_for_each_completion() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0, 6.0])
    torch.testing.assert_close(whiten(scores), (scores - 3) / 3.5**0.5)


@pytest.mark.proves("A14")
@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("shift_mean", [True, False])
def test_garbage_in_the_padding_changes_no_whitening(garbage: float, shift_mean: bool) -> None:
    mask = mask_of([3, 1, 0], 3)
    values = torch.arange(9.0).reshape(3, 3).requires_grad_()
    dirty = torch.where(mask, values, garbage).detach().requires_grad_()
    found = [whiten(each, mask, shift_mean=shift_mean) for each in (values, dirty)]
    assert torch.equal(*found) and found[0].any()
    gradients = [
        torch.autograd.grad(result[0, 0], each)[0]
        for result, each in zip(found, (values, dirty), strict=True)
    ]
    assert torch.equal(*gradients) and not gradients[0][~mask].any()


@pytest.mark.proves("B40")
def test_a_masked_rows_reward_moves_nobody() -> None:
    ended = torch.tensor([True, False, True, True])
    scores = torch.tensor([1.0, 2.0, 3.0, 6.0])
    other = scores.clone()
    other[1] = 1000.0
    assert torch.equal(whiten(scores, ended), whiten(other, ended))
    moments, others = RunningMoments(), RunningMoments()
    moments.update(scores, ended)
    others.update(other, ended)
    assert moments.state() == others.state() and moments.count == 3
    assert not torch.equal(whiten(scores), whiten(other))  # it would, if it were not masked


@pytest.mark.proves("B38")
def test_a_mask_is_bool_and_of_the_same_shape() -> None:
    with pytest.raises(AssertionError):
        whiten(torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(AssertionError):
        whiten(torch.zeros(2, 3), torch.ones(2, 1, dtype=torch.bool))
    with pytest.raises(AssertionError):
        RunningMoments().update(torch.zeros(2), torch.ones(2))


@pytest.mark.proves("A16")
@given(values=SCORES, scale=st.sampled_from([0.5, 2.0, 8.0]), offset=st.integers(-50, 50))
def test_whitening_forgets_scale_and_offset(values: list[float], scale: float, offset: int) -> None:
    """Except for the share of eps in the variance."""
    scores = torch.tensor([*values, max(values) + 1.0])
    torch.testing.assert_close(whiten(scores * scale + offset), whiten(scores), atol=2e-3, rtol=2e-3)


def test_running_moments_by_hand() -> None:
    moments = RunningMoments()
    assert (moments.count, moments.mean, moments.std) == (0, 0.0, 0.0)
    moments.update(torch.tensor([1.0, 2.0]))
    assert (moments.count, moments.mean, moments.std) == (2, 1.5, 0.5)
    moments.update(torch.tensor([3.0, 6.0, 777.0]), torch.tensor([True, True, False]))
    assert (moments.count, moments.mean) == (4, 3.0) and moments.std == pytest.approx(3.5**0.5, rel=1e-15)
    moments.update(torch.tensor([torch.nan]), torch.tensor([False]))
    assert moments.count == 4
    assert moments.whiten(torch.tensor([3.0, 10.0])).tolist() == pytest.approx([0.0, 7 / 3.5**0.5])


@given(batches=st.lists(SCORES, min_size=1, max_size=5))
def test_running_moments_of_pieces_are_those_of_the_whole(batches: list[list[float]]) -> None:
    pieces, whole = RunningMoments(), torch.tensor([value for batch in batches for value in batch])
    for batch in batches:
        pieces.update(torch.tensor(batch))
    known = whole.double()
    assert pieces.count == len(known)
    assert pieces.mean == pytest.approx(float(known.mean()), abs=1e-10)
    assert pieces.std == pytest.approx(float(known.std(correction=0)), abs=1e-6)


def test_running_moments_of_one_batch_whiten_as_the_batch() -> None:
    scores = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 3 + 2
    moments = RunningMoments()
    moments.update(scores)
    torch.testing.assert_close(moments.whiten(scores), whiten(scores))


def test_running_moments_are_precise_far_from_zero() -> None:
    moments = RunningMoments()
    for _ in range(100):
        moments.update(torch.tensor([1e6 - 1, 1e6 + 1]))
    assert moments.mean == pytest.approx(1e6, rel=1e-14) and moments.std == pytest.approx(1.0, rel=1e-9)


def test_running_moments_without_spread_remove_only_the_mean() -> None:
    moments = RunningMoments()
    for _ in range(3):
        moments.update(torch.tensor([0.1]))
    assert moments.std == 0.0
    assert moments.whiten(torch.tensor([0.1, 1.1])).tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.proves("A25")
def test_restored_moments_go_on_exactly() -> None:
    whole, first, second = RunningMoments(), RunningMoments(), RunningMoments()
    batches = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    for batch in batches:
        whole.update(batch)
    for batch in batches[:2]:
        first.update(batch)
    second.restore(json.loads(json.dumps(first.state())))
    for batch in batches[2:]:
        second.update(batch)
    assert second.state() == whole.state() and second.count == 28
