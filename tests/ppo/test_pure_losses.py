"""The clipped losses, by hand, and however a mini-batch is cut."""

import inspect
import math

import pytest
import torch
from torch.nn.functional import pad

from llamatune.ppo.maths.losses import policy_loss, token_weights, value_loss

GARBAGE = [100.0, torch.inf, -torch.inf, torch.nan]
LENGTHS = [5, 1, 3, 2, 5, 4, 1, 2]
AGGREGATIONS = ["token_mean", "sequence_mean"]


def mask_of(lengths: list[int], time: int) -> torch.Tensor:
    return torch.arange(time) < torch.tensor(lengths)[:, None]


def policy_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(8, 5, generator=generator)
    return {
        "logprobs": old + 0.3 * torch.randn(8, 5, generator=generator),
        "old_logprobs": old,
        "advantages": torch.randn(8, 5, generator=generator),
    }


def value_batch() -> dict[str, torch.Tensor]:
    values, moves, returns = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(1))
    return {"values": values + 0.3 * moves, "old_values": values, "returns": returns}


CASES = [(policy_loss, policy_batch, "logprobs"), (value_loss, value_batch, "values")]


def one(value: float) -> torch.Tensor:
    return torch.tensor([[value]])


ALL = torch.ones(1, 1, dtype=torch.bool)


# Policy


@pytest.mark.parametrize(
    "ratio, advantage, loss, moves",
    [
        (1.0, 2.0, -2.0, True),
        (1.1, 2.0, -2.2, True),  # inside the range
        (1.5, 2.0, -2.4, False),  # went up far enough for a good token: 1.2 x 2
        (0.5, 2.0, -1.0, True),  # a good token became rarer: it is taken back
        (0.5, -2.0, 1.6, False),  # went down far enough for a bad token: 0.8 x 2
        (1.5, -2.0, 3.0, True),  # a bad token became more frequent
    ],
)
def test_the_clipped_surrogate_by_hand(ratio: float, advantage: float, loss: float, moves: bool) -> None:
    logprobs = one(math.log(ratio) - 3).requires_grad_()
    found, statistics = policy_loss(
        logprobs=logprobs,
        old_logprobs=one(-3.0),
        advantages=one(advantage),
        mask=ALL,
        cliprange=0.2,
        weights=one(1.0),
    )
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-5)
    assert logprobs.grad is not None
    assert logprobs.grad.item() == pytest.approx(-advantage * ratio if moves else 0.0, rel=1e-5)
    assert statistics["clipped"].item() == float(not moves)


def test_policy_statistics_are_sums_by_hand() -> None:
    """Ratios 1, 2 and 1/4; the fourth token is padding."""
    ratios = torch.tensor([[1.0, 2.0], [0.25, 9.0]])
    _, found = policy_loss(
        logprobs=ratios.log().requires_grad_(),
        old_logprobs=torch.zeros(2, 2),
        advantages=torch.ones(2, 2),
        mask=mask_of([2, 1], 2),
        cliprange=0.2,
        weights=torch.ones(2, 2),
    )
    k3 = (1 - math.log(2)) + (-0.75 + math.log(4))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {"ratio": 3.25, "clipped": 1.0, "approx_kl": k3, "tokens": 3.0, "ratio_max": 2.0}
    )
    assert not any(value.requires_grad for value in found.values())


@pytest.mark.proves("B2")
def test_an_unchanged_policy_has_ratio_exactly_1() -> None:
    batch = policy_batch() | {"logprobs": policy_batch()["old_logprobs"]}
    _, found = policy_loss(**batch, mask=mask_of(LENGTHS, 5), cliprange=0.2, weights=torch.ones(8, 5))
    assert found["ratio"] == found["tokens"] == sum(LENGTHS) and found["ratio_max"] == 1.0
    assert found["approx_kl"] == found["clipped"] == 0.0


@pytest.mark.proves("A20")
@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("gap", [1e4, -1e4, 88.0, torch.inf, -torch.inf])
def test_a_huge_gap_gives_a_finite_loss(gap: float, advantage: float) -> None:
    logprobs = one(gap).requires_grad_()
    loss, found = policy_loss(
        logprobs=logprobs,
        old_logprobs=one(0.0),
        advantages=one(advantage),
        mask=ALL,
        cliprange=0.2,
        weights=one(1.0),
    )
    loss.backward()
    assert loss.isfinite() and logprobs.grad is not None and logprobs.grad.isfinite().all()
    assert all(value.isfinite() for value in found.values())
    assert found["ratio_max"].item() == pytest.approx(math.exp(math.copysign(20, gap)), rel=1e-4)


@pytest.mark.proves("A20")
@pytest.mark.parametrize("name", ["advantages", "old_logprobs"])
def test_the_rollout_has_no_gradient(name: str) -> None:
    batch = policy_batch()
    batch[name].requires_grad_()
    with pytest.raises(AssertionError, match="without gradient"):
        policy_loss(**batch, mask=mask_of(LENGTHS, 5), cliprange=0.2, weights=torch.ones(8, 5))


# Value


@pytest.mark.proves("A18")
@pytest.mark.parametrize(
    "value, target, loss, gradient",
    [
        (0.1, 1.0, 0.5 * 0.9**2, -0.9),  # inside the range around the old value, 0
        (0.5, 1.0, 0.5 * 0.8**2, 0.0),  # towards the return, further than 0.2: nothing more to gain
        (-0.5, 1.0, 0.5 * 1.5**2, -1.5),  # away from the return: taken back
        (5.0, 1.0, 0.5 * 4.0**2, 4.0),  # far past the return: taken back
        (-0.1, -1.0, 0.5 * 0.9**2, 0.9),  # and the same downwards
        (-0.5, -1.0, 0.5 * 0.8**2, 0.0),
        (0.5, -1.0, 0.5 * 1.5**2, 1.5),
        (-5.0, -1.0, 0.5 * 4.0**2, -4.0),
    ],
)
def test_four_regimes_of_the_clipped_value_loss(
    value: float, target: float, loss: float, gradient: float
) -> None:
    values = one(value).requires_grad_()
    found, statistics = value_loss(
        values=values, old_values=one(0.0), returns=one(target), mask=ALL, cliprange=0.2, weights=one(1.0)
    )
    found.backward()
    assert values.grad is not None
    assert found.item() == pytest.approx(loss) and values.grad.item() == pytest.approx(gradient)
    assert statistics["value_clipped"].item() == float(gradient == 0)
    assert statistics["value_error"].item() == pytest.approx((value - target) ** 2)


@pytest.mark.proves("A18")
def test_values_are_clipped_around_the_old_ones() -> None:
    """Old value 3, return 4: a value of 3.5 counts as 3.2. Around the return, or around 0, it would not."""
    found, _ = value_loss(
        values=one(3.5), old_values=one(3.0), returns=one(4.0), mask=ALL, cliprange=0.2, weights=one(1.0)
    )
    assert found.item() == pytest.approx(0.5 * 0.8**2)


@pytest.mark.proves("A18")
def test_without_a_range_it_is_half_the_squared_error() -> None:
    found, statistics = value_loss(
        values=one(0.5), old_values=one(0.0), returns=one(1.0), mask=ALL, cliprange=None, weights=one(1.0)
    )
    assert found.item() == 0.125 and statistics["value_clipped"] == 0.0


@pytest.mark.proves("A20")
@pytest.mark.parametrize("name", ["returns", "old_values"])
def test_the_returns_have_no_gradient(name: str) -> None:
    batch = value_batch()
    batch[name].requires_grad_()
    with pytest.raises(AssertionError, match="without gradient"):
        value_loss(**batch, mask=mask_of(LENGTHS, 5), cliprange=0.2, weights=torch.ones(8, 5))


# Weights, micro-batches


@pytest.mark.proves("A19")
def test_weights_by_hand() -> None:
    """Rows of 3 and 1 tokens, and one of none."""
    given = {"mask": mask_of([3, 1, 0], 4), "tokens": 4, "sequences": 2}
    tokens = token_weights(**given, aggregation="token_mean")
    assert tokens.tolist() == [[0.25, 0.25, 0.25, 0], [0.25, 0, 0, 0], [0, 0, 0, 0]]
    sequences = token_weights(**given, aggregation="sequence_mean")
    torch.testing.assert_close(sequences[0], torch.tensor([1, 1, 1, 0]) / 6)
    assert sequences[1:].tolist() == [[0.5, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.proves("A19")
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_no_tokens_no_weights(aggregation: str) -> None:
    """A process without a share still takes part: loss 0 and no NaN."""
    for shape in ((2, 3), (0, 3), (2, 0)):
        mask = torch.zeros(shape, dtype=torch.bool)
        weights = token_weights(mask=mask, aggregation=aggregation, tokens=0, sequences=0)
        assert weights.shape == shape and not weights.any()
        empty = torch.full(shape, torch.nan)
        loss, found = policy_loss(
            logprobs=empty, old_logprobs=empty, advantages=empty, mask=mask, cliprange=0.2, weights=weights
        )
        assert loss == 0.0 and all(value == 0.0 for value in found.values())


@pytest.mark.proves("A19")
@pytest.mark.parametrize("rows", [8, 4, 2, 1])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("loss_of, batch_of, trained", CASES)
def test_the_cut_into_micro_batches_changes_nothing(
    loss_of, batch_of, trained: str, aggregation: str, rows: int
) -> None:
    """1x8, 2x4, 4x2, 8x1 ragged rows, each micro-batch as wide as its longest row, against a loop over rows."""
    batch = batch_of()
    loss, gradient, statistics = accumulated(loss_of, batch, trained, aggregation, rows)
    expected, slopes = by_row(loss_of, batch_of(), trained, aggregation)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, slopes)
    _, _, whole = accumulated(loss_of, batch_of(), trained, aggregation, 8)
    assert statistics == pytest.approx(whole, rel=1e-5) and whole["tokens"] == sum(LENGTHS)


def accumulated(
    loss_of, batch: dict[str, torch.Tensor], trained: str, aggregation: str, rows: int
) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Loss, gradient and statistics, summed over micro-batches of so many rows."""
    leaf = batch[trained].requires_grad_()
    total, statistics = torch.zeros(()), {}
    for start in range(0, 8, rows):
        lengths = LENGTHS[start : start + rows]
        width = max(lengths)
        mask = mask_of(lengths, width)
        weights = token_weights(
            mask=mask, aggregation=aggregation, tokens=sum(LENGTHS), sequences=len(LENGTHS)
        )
        piece = {name: value[start : start + rows, :width] for name, value in batch.items()}
        loss, found = loss_of(**piece, mask=mask, cliprange=0.2, weights=weights)
        loss.backward()
        total += loss.detach()
        for name, value in found.items():
            before = statistics.get(name, 0.0)
            statistics[name] = max(before, value.item()) if name == "ratio_max" else before + value.item()
    assert leaf.grad is not None
    return total, leaf.grad, statistics


def by_row(
    loss_of, batch: dict[str, torch.Tensor], trained: str, aggregation: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from the definition: the mean over all tokens, or over rows of the mean over a row's tokens."""
    leaf = batch[trained].requires_grad_()
    sums = []
    for row, length in enumerate(LENGTHS):
        piece = {name: value[row : row + 1, :length] for name, value in batch.items()}
        ones = torch.ones(1, length)
        sums.append(loss_of(**piece, mask=ones.bool(), cliprange=0.2, weights=ones)[0])
    if aggregation == "token_mean":
        loss = torch.stack(sums).sum() / sum(LENGTHS)
    else:
        loss = torch.stack([total / length for total, length in zip(sums, LENGTHS, strict=True)]).mean()
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


@pytest.mark.proves("A19")
def test_the_aggregations_differ() -> None:
    """Else the tests above would not tell them apart."""
    losses = [accumulated(policy_loss, policy_batch(), "logprobs", kind, 8)[0] for kind in AGGREGATIONS]
    assert abs(losses[0] - losses[1]) > 1e-3


# Padding


@pytest.mark.proves("A14")
@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("loss_of, batch_of, trained", CASES)
def test_garbage_in_the_padding_changes_no_loss(loss_of, batch_of, trained: str, garbage: float) -> None:
    """Neither the loss nor the statistics nor the gradient, in which 0 x NaN would show."""
    mask = mask_of(LENGTHS, 5)
    weights = token_weights(mask=mask, aggregation="token_mean", tokens=23, sequences=8)

    def run(batch: dict[str, torch.Tensor], weights: torch.Tensor) -> list[torch.Tensor]:
        leaf = batch[trained].requires_grad_()
        loss, found = loss_of(**batch, mask=mask, cliprange=0.2, weights=weights)
        loss.backward()
        assert leaf.grad is not None and not leaf.grad[~mask].any() and leaf.grad.any()
        return [loss.detach(), leaf.grad, *found.values()]

    clean = run(batch_of(), weights)
    dirty = {name: torch.where(mask, value, garbage) for name, value in batch_of().items()}
    for ours, theirs in zip(clean, run(dirty, torch.where(mask, weights, garbage)), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.proves("B12")
@pytest.mark.parametrize("loss_of, batch_of, trained", CASES)
def test_more_padding_changes_no_loss_and_no_statistic(loss_of, batch_of, trained: str) -> None:
    def run(columns: int) -> list[torch.Tensor]:
        mask = pad(mask_of(LENGTHS, 5), (0, columns))
        weights = token_weights(mask=mask, aggregation="sequence_mean", tokens=23, sequences=8)
        batch = {name: pad(value, (0, columns), value=1.0) for name, value in batch_of().items()}
        loss, found = loss_of(**batch, mask=mask, cliprange=0.2, weights=weights)
        return [loss, *found.values()]

    for ours, theirs in zip(run(0), run(7), strict=True):
        torch.testing.assert_close(ours, theirs)


# What can be confused


@pytest.mark.proves("B38")
@pytest.mark.parametrize("function", [policy_loss, value_loss, token_weights])
def test_arguments_have_names(function) -> None:
    kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.proves("B38")
@pytest.mark.parametrize("loss_of, batch_of, trained", CASES)
def test_confused_tensors_are_refused(loss_of, batch_of, trained: str) -> None:
    mask, weights = mask_of(LENGTHS, 5), torch.ones(8, 5)
    good = {**batch_of(), "mask": mask, "weights": weights, "cliprange": 0.2}
    loss_of(**good)
    with pytest.raises(AssertionError, match="mask is bool"):
        loss_of(**good | {"mask": batch_of()[trained]})
    with pytest.raises(AssertionError, match="only the mask is bool"):
        loss_of(**good | {"weights": mask})
    for name in [*batch_of(), "weights"]:  # shapes that would broadcast
        with pytest.raises(AssertionError, match="shape"):
            loss_of(**good | {name: good[name][:1]})


@pytest.mark.parametrize("loss_of, batch_of, trained", CASES)
def test_losses_are_in_float32(loss_of, batch_of, trained: str) -> None:
    low = {name: value.bfloat16() for name, value in batch_of().items()}
    mask = mask_of(LENGTHS, 5)
    loss, found = loss_of(**low, mask=mask, cliprange=0.2, weights=torch.ones(8, 5))
    exact, _ = loss_of(
        **{name: value.float() for name, value in low.items()},
        mask=mask,
        cliprange=0.2,
        weights=torch.ones(8, 5),
    )
    assert loss.dtype == torch.float32 and torch.equal(loss, exact)
    assert all(value.dtype == torch.float32 for value in found.values())
