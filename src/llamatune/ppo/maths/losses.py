"""The clipped losses of PPO (Schulman et al. 2017), as sums over weighted tokens.

The weights contain the denominator of the whole mini-batch, so how that is cut into micro-batches changes nothing:
losses, gradients and statistics of the pieces add up. Arguments have names, since all are tensors of one shape.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn.functional import pad

from llamatune.ppo.maths.kl import LOG_RATIO_LIMIT
from llamatune.ppo.maths.masked import masked_sum, zero_outside

Statistics = dict[str, torch.Tensor]


def token_weights(
    *,
    mask: torch.Tensor,
    aggregation: Literal["token_mean", "sequence_mean"],
    tokens: int,
    sequences: int,
) -> torch.Tensor:
    """(batch, time): how much each token counts in a loss; over a whole mini-batch the weights add up to 1.

    Args:
        mask: (batch, time) bool, of one micro-batch.
        aggregation: each token counts the same, or each sequence does, divided among its tokens.
        tokens, sequences: real tokens, and rows that have any, of the whole mini-batch, on all processes.
    """
    assert mask.dtype == torch.bool
    if aggregation == "token_mean":
        return mask.float() / max(tokens, 1)
    lengths = mask.sum(1, keepdim=True).clamp(min=1)
    return mask.float() / (lengths * max(sequences, 1))


def policy_loss(
    *,
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    cliprange: float,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, Statistics]:
    """The clipped surrogate, and statistics of the ratio between new and old policy.

    Args:
        logprobs: (batch, time), with gradient.
        old_logprobs, advantages: (batch, time), of the rollout.
        mask: (batch, time) bool.
        weights: (batch, time), from `token_weights`.

    Returns:
        The loss, and sums over real tokens, except `ratio_max`: `ratio`, `clipped` (tokens that the clipping cut off
        from the gradient), `approx_kl` (k3, of the old policy from the new one), `tokens`.
    """
    _check(mask, logprobs, old_logprobs, advantages, weights)
    assert not (advantages.requires_grad or old_logprobs.requires_grad), (
        "the rollout is data, without gradient"
    )
    advantages = zero_outside(advantages, mask)
    # Clamped as a logarithm: its exponential must not overflow.
    log_ratio = zero_outside(logprobs, mask) - zero_outside(old_logprobs, mask)
    log_ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    loss = (zero_outside(weights, mask) * torch.maximum(unclipped, clipped)).sum()
    with torch.no_grad():
        statistics = {
            "ratio": masked_sum(ratio, mask),
            "clipped": masked_sum(clipped > unclipped, mask),
            "approx_kl": masked_sum(torch.expm1(log_ratio) - log_ratio, mask),
            "tokens": mask.sum().float(),
            "ratio_max": pad(zero_outside(ratio, mask).flatten(), (0, 1)).max(),  # 0 where there is no token
        }
    return loss, statistics


def value_loss(
    *,
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    cliprange: float | None,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, Statistics]:
    """Half the squared error of the critic; the larger of that and of the value clipped around the OLD one.

    Args:
        values: (batch, time), with gradient.
        old_values, returns: (batch, time), of the rollout.
        mask: (batch, time) bool.
        cliprange: how far a value may move from the old one before it no longer pays; None does not clip.
        weights: (batch, time), from `token_weights`.

    Returns:
        The loss, and sums over real tokens: `value_error` (squared, unclipped), `value_clipped` (tokens that the
        clipping cut off from the gradient), `tokens`.
    """
    _check(mask, values, old_values, returns, weights)
    assert not (returns.requires_grad or old_values.requires_grad), "the rollout is data, without gradient"
    values, old_values, returns = (zero_outside(each, mask) for each in (values, old_values, returns))
    unclipped = clipped = (values - returns).square()
    if cliprange is not None:
        # Exactly `values`, within the range.
        near = values.clamp(old_values - cliprange, old_values + cliprange)
        clipped = (near - returns).square()
    loss = 0.5 * (zero_outside(weights, mask) * torch.maximum(unclipped, clipped)).sum()
    with torch.no_grad():
        statistics = {
            "value_error": masked_sum(unclipped, mask),
            "value_clipped": masked_sum(clipped > unclipped, mask),
            "tokens": mask.sum().float(),
        }
    return loss, statistics


def _check(mask: torch.Tensor, *others: torch.Tensor) -> None:
    """Tensors of one shape are easily confused; only the mask is bool."""
    assert mask.dtype == torch.bool, "the mask is bool"
    assert all(other.shape == mask.shape for other in others), "all tensors have the shape of the mask"
    assert not any(other.dtype == torch.bool for other in others), "only the mask is bool"
