"""Log probabilities and entropies, against loops written out and numbers by hand."""

import math

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from llamatune.forward.cutting import POSITIONS
from llamatune.forward.outputs import logprobs_and_entropies, token_logprobs
from llamatune.ppo.maths.losses import policy_loss, token_weights


def batch(rows: int = 3, time: int = 5, vocab: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, time, vocab, generator=generator)
    return logits, torch.randint(vocab, (rows, time), generator=generator)


def entropies(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Of the distributions alone, whichever tokens were chosen."""
    return logprobs_and_entropies(logits, torch.zeros(logits.shape[:-1], dtype=torch.long), temperature)[1]


def by_hand(logits: torch.Tensor, tokens: torch.Tensor, temperature: float) -> list[list[float]]:
    found = []
    for row, chosen in zip(logits.tolist(), tokens.tolist(), strict=True):
        found.append([])
        for position, token in zip(row, chosen, strict=True):
            total = sum(math.exp(logit / temperature) for logit in position)
            found[-1].append(math.log(math.exp(position[token] / temperature) / total))
    return found


@pytest.mark.proves("A2")
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_match_an_explicit_loop(temperature: float) -> None:
    logits, tokens = batch()
    expected = torch.tensor(by_hand(logits, tokens, temperature))
    torch.testing.assert_close(token_logprobs(logits, tokens, temperature), expected, atol=1e-5, rtol=0)


@pytest.mark.proves("A2")
def test_position_i_depends_on_logits_i_alone() -> None:
    logits, tokens = batch()
    changed = logits.clone()
    changed[:, 2, 0] += 1.0
    moved = token_logprobs(changed, tokens) != token_logprobs(logits, tokens)
    assert moved[:, 2].all() and moved.sum() == 3


@pytest.mark.proves("A5")
def test_temperature_scales_the_logits() -> None:
    two, token = torch.tensor([math.log(3.0), 0.0]), torch.tensor(0)
    assert token_logprobs(two, token).item() == pytest.approx(math.log(3 / 4))
    assert token_logprobs(two, token, 0.5).item() == pytest.approx(math.log(9 / 10))
    assert entropies(two, 0.5).item() == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 2, 3), (0, 3), (2, 0), (POSITIONS + 1,)])
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    """Also those that are cut into pieces: (POSITIONS + 1,) is two of them."""
    logits = torch.randn(*shape, 5, generator=torch.Generator().manual_seed(1))
    tokens = torch.full(shape, 3)
    expected = logits.log_softmax(-1)
    logprobs, entropy = logprobs_and_entropies(logits, tokens)
    torch.testing.assert_close(logprobs, expected[..., 3])
    torch.testing.assert_close(entropy, -(expected.exp() * expected).sum(-1))
    assert logprobs.shape == entropy.shape == shape
    assert torch.equal(token_logprobs(logits, tokens), logprobs)


def test_float32_also_from_bfloat16() -> None:
    logits, tokens = batch()
    low = logits.bfloat16()
    logprobs, entropy = logprobs_and_entropies(low, tokens)
    assert logprobs.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(logprobs, token_logprobs(low.float(), tokens), rtol=0, atol=0)


def test_gradients_are_those_of_log_softmax() -> None:
    """Of both results, at a temperature, and through the pieces."""
    logits, tokens = batch(rows=2, time=POSITIONS, vocab=4)
    weights = torch.randn(2, 2, POSITIONS, generator=torch.Generator().manual_seed(2))
    ours = logits.clone().requires_grad_()
    logprobs, entropy = logprobs_and_entropies(ours, tokens, 0.7)
    (weights[0] * logprobs + weights[1] * entropy).sum().backward()
    plain = logits.clone().requires_grad_()
    distribution = (plain / 0.7).log_softmax(-1)
    chosen = distribution.gather(-1, tokens[..., None])[..., 0]
    spread = -(distribution.exp() * distribution).sum(-1)
    (weights[0] * chosen + weights[1] * spread).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad, atol=1e-5, rtol=1e-4)


def test_no_distribution_is_kept_for_the_backward_pass() -> None:
    """Only the logits themselves, which the model's own graph holds anyway."""
    logits, tokens = batch()
    logits.requires_grad_()
    kept: list[torch.Tensor] = []

    def copies() -> list[torch.Tensor]:
        own = logits.untyped_storage().data_ptr()
        return [each for each in kept if each.numel() >= 7 * 15 and each.untyped_storage().data_ptr() != own]

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        logits.log_softmax(-1)
        assert copies()  # the hook sees what it should
        kept.clear()
        token_logprobs(logits, tokens, 0.7)
        logprobs_and_entropies(logits, tokens, 0.7)
    assert kept and not copies()


@pytest.mark.proves("B11")
def test_entropy_is_not_negative_and_does_not_see_the_padding() -> None:
    logits, _ = batch()
    entropy = entropies(logits)
    assert (entropy > 0).all() and (entropy <= math.log(7)).all()
    assert entropies(torch.zeros(4)).item() == pytest.approx(math.log(4))
    padded = torch.cat([logits, torch.full((3, 2, 7), torch.nan)], dim=1)
    assert torch.equal(entropies(padded)[:, :5], entropy)
    # Nearly certain tokens, at sizes where rounding could make it negative.
    certain = torch.zeros(1000, 50)
    certain[:, 0] = torch.linspace(10, 90, 1000)
    assert (entropies(certain) >= 0).all()


def test_a_token_that_cannot_come_adds_nothing_to_the_entropy() -> None:
    logits = torch.tensor([0.0, 0.0, -torch.inf], requires_grad=True)
    entropy = entropies(logits)
    entropy.backward()
    assert entropy.item() == pytest.approx(math.log(2))
    assert logits.grad is not None and torch.equal(logits.grad, torch.zeros(3))


@pytest.mark.proves("A1")
@pytest.mark.parametrize("garbage", [100.0, torch.inf])
def test_logits_outside_the_mask_move_neither_loss_nor_gradient(garbage: float) -> None:
    logits, tokens = batch()
    mask = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]
    old = token_logprobs(logits, tokens) - 0.05
    advantages = torch.ones(3, 5)

    def run(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits.requires_grad_()
        weights = token_weights(mask=mask, aggregation="token_mean", tokens=9, sequences=3)
        loss, _ = policy_loss(
            logprobs=token_logprobs(logits, tokens),
            old_logprobs=old,
            advantages=advantages,
            mask=mask,
            cliprange=0.2,
            weights=weights,
        )
        loss.backward()
        assert logits.grad is not None
        return loss.detach(), logits.grad

    loss, gradient = run(logits.clone())
    disturbed = logits.clone()
    disturbed[..., 0] = torch.where(mask, logits[..., 0], garbage)
    other_loss, other_gradient = run(disturbed)
    assert loss == other_loss and torch.equal(gradient[mask], other_gradient[mask])
    assert gradient[mask].abs().sum() > 0 and not gradient[~mask].any()
