"""GAE against its definition; means over a mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatune.ppo.maths.advantages import gae
from llamatune.ppo.maths.masked import explained_variance, masked_mean, masked_sum, zero_outside

GARBAGE = [100.0, torch.inf, -torch.inf, torch.nan]
LENGTHS = [6, 3, 1, 0]


def mask_of(lengths: list[int], time: int) -> torch.Tensor:
    return torch.arange(time) < torch.tensor(lengths)[:, None]


def rollout(seed: int = 0, rows: int = 4, time: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards and values."""
    rewards, values = torch.randn(2, rows, time, generator=torch.Generator().manual_seed(seed))
    return rewards, values


def definition(
    rewards: list[float], values: list[float], gamma: float, lam: float, next_value: float
) -> list[float]:
    """O(T^2): A_t = sum over k of (gamma lam)^k (r_{t+k} + gamma V_{t+k+1} - V_{t+k}), of one row without padding."""
    after = [*values[1:], next_value]
    return [
        sum(
            (gamma * lam) ** (later - time) * (rewards[later] + gamma * after[later] - values[later])
            for later in range(time, len(rewards))
        )
        for time in range(len(rewards))
    ]


def rows_by_definition(
    rewards: torch.Tensor,
    values: torch.Tensor,
    lengths: list[int],
    gamma: float,
    lam: float,
    following: list[float],
) -> torch.Tensor:
    expected = torch.zeros_like(rewards)
    for row, length in enumerate(lengths):
        known = (rewards[row, :length].tolist(), values[row, :length].tolist())
        expected[row, :length] = torch.tensor(definition(*known, gamma, lam, following[row]))
    return expected


@pytest.mark.proves("A13")
@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.9, 0.0)])
def test_gae_matches_definition(gamma: float, lam: float) -> None:
    rewards, values = rollout()
    mask = mask_of(LENGTHS, 6)
    advantages, returns = gae(rewards=rewards, values=values, mask=mask, gamma=gamma, lam=lam)
    torch.testing.assert_close(
        advantages, rows_by_definition(rewards, values, LENGTHS, gamma, lam, [0.0] * 4)
    )
    torch.testing.assert_close(returns, advantages + zero_outside(values, mask))
    assert not returns[~mask].any()


@pytest.mark.proves("A13")
def test_gae_by_hand() -> None:
    """Two tokens, gamma 1, lambda 1/2: errors 0 + 0.25 - 0.5 and 1 - 0.25."""
    advantages, returns = gae(
        rewards=torch.tensor([[0.0, 1.0]]),
        values=torch.tensor([[0.5, 0.25]]),
        mask=mask_of([2], 2),
        gamma=1.0,
        lam=0.5,
    )
    assert advantages.tolist() == [[-0.25 + 0.5 * 0.75, 0.75]]
    assert returns.tolist() == [[0.625, 1.0]]


@pytest.mark.proves("A13")
def test_lambda_1_gives_what_is_still_to_come_minus_the_value() -> None:
    rewards, values = rollout()
    mask = mask_of([6, 6, 6, 6], 6)
    advantages, returns = gae(rewards=rewards, values=values, mask=mask, gamma=1.0, lam=1.0)
    to_come = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(advantages, to_come - values)
    torch.testing.assert_close(returns, to_come)


@pytest.mark.proves("A13")
def test_lambda_0_gives_the_error_of_one_step() -> None:
    rewards, values = rollout()
    mask = mask_of([6, 6, 6, 6], 6)
    advantages, _ = gae(rewards=rewards, values=values, mask=mask, gamma=0.9, lam=0.0)
    following = torch.cat([values[:, 1:], torch.zeros(4, 1)], dim=1)
    torch.testing.assert_close(advantages, rewards + 0.9 * following - values)


@pytest.mark.proves("A13")
@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, 8), min_size=1, max_size=5),
    extra=st.integers(0, 4),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
)
def test_gae_matches_definition_in_any_padding(
    seed: int, lengths: list[int], extra: int, gamma: float, lam: float
) -> None:
    time = max(lengths) + extra
    rewards, values = rollout(seed, len(lengths), time)
    following = rollout(seed + 1, len(lengths), 1)[0][:, 0]
    mask = mask_of(lengths, time)
    advantages, _ = gae(
        rewards=torch.where(mask, rewards, torch.nan),
        values=torch.where(mask, values, torch.nan),
        mask=mask,
        gamma=gamma,
        lam=lam,
        next_values=following,
    )
    expected = rows_by_definition(rewards, values, lengths, gamma, lam, following.tolist())
    torch.testing.assert_close(advantages, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.proves("A14")
@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("bootstrap", [True, False])
def test_garbage_in_the_padding_changes_no_advantage(garbage: float, bootstrap: bool) -> None:
    rewards, values = rollout()
    mask = mask_of(LENGTHS, 6)
    following = torch.tensor([0.0, 1.0, 2.0, 3.0])

    def run(rewards: torch.Tensor, values: torch.Tensor, last: float) -> tuple[torch.Tensor, torch.Tensor]:
        following[3] = last  # of the row without a token
        next_values = following if bootstrap else None
        return gae(rewards=rewards, values=values, mask=mask, gamma=0.9, lam=0.95, next_values=next_values)

    clean = run(rewards, values, 3.0)
    dirty = run(torch.where(mask, rewards, garbage), torch.where(mask, values, garbage), garbage)
    for ours, theirs in zip(clean, dirty, strict=True):
        assert torch.equal(ours, theirs) and ours.isfinite().all() and ours[mask].all()


@pytest.mark.proves("A15")
def test_a_truncated_completion_goes_on_or_ends() -> None:
    """Both treatments: without `next_values` the value after the last token is 0; with, it is what the critic says,
    and 0 for the completion that ended."""
    rewards, values = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([[0.5, 0.25], [0.5, 0.25]])
    given = {"rewards": rewards, "values": values, "mask": mask_of([2, 2], 2), "gamma": 0.5, "lam": 1.0}
    ended, _ = gae(**given)
    both, returns = gae(**given, next_values=torch.tensor([0.0, 4.0]))
    assert ended.tolist() == [[0.0, 0.75], [0.0, 0.75]]  # 0 + 0.5 - 0.5; 1 - 0.25
    assert both[0].tolist() == [0.0, 0.75]
    assert both[1].tolist() == [1.0, 2.75]  # 0 + 0.5 x (1 + 0.5 x 4) - 0.5; 1 + 0.5 x 4 - 0.25
    assert returns[1].tolist() == [1.5, 3.0]


@pytest.mark.proves("A15")
def test_the_bootstrap_is_after_the_last_real_token() -> None:
    """And not after the padding."""
    found, _ = gae(
        rewards=torch.zeros(1, 4),
        values=torch.zeros(1, 4),
        mask=mask_of([2], 4),
        gamma=0.5,
        lam=1.0,
        next_values=torch.tensor([8.0]),
    )
    assert found.tolist() == [[2.0, 4.0, 0.0, 0.0]]


def test_gaps_are_passed_over() -> None:
    """Tokens in between that the policy did not write, or padding on the left: as if they were not there."""
    rewards, values = rollout(rows=1, time=3)
    given = {"gamma": 0.9, "lam": 0.8, "next_values": torch.tensor([2.0])}
    known = gae(rewards=rewards, values=values, mask=mask_of([3], 3), **given)
    mask = torch.tensor([[False, True, False, True, True, False]])
    wide = torch.full((2, 1, 6), torch.nan)
    wide[:, mask] = torch.stack([rewards, values]).flatten(1)
    found = gae(rewards=wide[0], values=wide[1], mask=mask, **given)
    for ours, theirs in zip(found, known, strict=True):
        assert torch.equal(ours[mask], theirs[0]) and not ours[~mask].any()


@pytest.mark.proves("A20")
def test_advantages_are_detached_and_float32() -> None:
    rewards, values = rollout()
    found = gae(
        rewards=rewards.bfloat16().requires_grad_(),
        values=values.bfloat16().requires_grad_(),
        mask=mask_of(LENGTHS, 6),
        gamma=1.0,
        lam=0.95,
    )
    assert all(not each.requires_grad and each.dtype == torch.float32 for each in found)


def test_gae_of_nothing() -> None:
    for shape in ((0, 3), (2, 0)):
        empty = torch.zeros(shape)
        found, _ = gae(rewards=empty, values=empty, mask=empty.bool(), gamma=1.0, lam=0.95)
        assert found.shape == shape


@pytest.mark.proves("B38")
def test_gae_takes_names_shapes_and_a_bool_mask() -> None:
    rewards, values = rollout()
    mask = mask_of(LENGTHS, 6)
    with pytest.raises(TypeError):
        gae(rewards, values, mask, 1.0, 0.95)
    for wrong in (mask.float(), mask[:, :5], mask[:1]):
        with pytest.raises(AssertionError):
            gae(rewards=rewards, values=values, mask=wrong, gamma=1.0, lam=0.95)
    with pytest.raises(AssertionError):
        gae(rewards=rewards, values=values, mask=mask, gamma=1.0, lam=0.95, next_values=values)


@pytest.mark.proves("A14")
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_reaches_no_sum_and_no_gradient(garbage: float) -> None:
    mask = mask_of([2, 1], 2)
    values = torch.where(mask, torch.tensor([[1.0, 2.0], [6.0, 0.0]]), garbage).requires_grad_()
    assert masked_sum(values, mask).item() == 9.0
    assert masked_mean(values, mask).item() == 3.0
    assert zero_outside(values, mask).tolist() == [[1.0, 2.0], [6.0, 0.0]]
    masked_mean(values, mask).backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.tensor([[1.0, 1.0], [1.0, 0.0]]) / 3)


def test_the_mean_of_nothing_is_0() -> None:
    assert masked_mean(torch.full((2, 2), torch.nan), torch.zeros(2, 2, dtype=torch.bool)).item() == 0.0


def test_the_mean_of_one() -> None:
    assert masked_mean(torch.tensor([[5.0, torch.nan]]), mask_of([1], 2)).item() == 5.0


def test_sums_are_in_float32() -> None:
    ones = torch.ones(1000, dtype=torch.bfloat16)
    assert masked_sum(ones + 2**-7, ones.bool()).item() == 1000 * (1 + 2**-7)


def test_explained_variance_by_hand() -> None:
    returns = torch.tensor([[1.0, 3.0], [5.0, torch.nan]])
    mask = mask_of([2, 1], 2)
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(returns + 7, returns, mask) == 1.0  # a constant is no error of variance
    assert explained_variance(torch.zeros(2, 2), returns, mask) == 0.0
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3.0)  # 1 - 4


@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_explained_variance_of_returns_that_do_not_vary_is_0(constant: float) -> None:
    values, returns = torch.randn(3, 3), torch.full((3, 3), constant)
    assert explained_variance(values, returns, torch.ones(3, 3, dtype=torch.bool)) == 0.0
    assert explained_variance(values, returns, torch.zeros(3, 3, dtype=torch.bool)) == 0.0
