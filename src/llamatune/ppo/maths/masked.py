"""Sums and means over the real tokens of a padded batch.

What is in the padding may be anything, NaN included. It is replaced before any arithmetic, and never multiplied
by zero: 0 x NaN is NaN, in the result and, where the result is clean, still in the gradient.
"""

from __future__ import annotations

import torch


def zero_outside(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`values` in float32, 0 where `mask` (bool, same shape) is False. No gradient goes to the zeros."""
    return torch.where(mask, values.float(), 0.0)


def masked_sum(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scalar: the sum over the mask."""
    return zero_outside(values, mask).sum()


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scalar: the mean over the mask, 0 if that is empty."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """1 - var(returns - values) / var(returns) over the mask: 1 is a perfect critic, 0 no better than a constant.

    0 where the returns do not vary, or there are none.
    """
    known, found = returns[mask].double(), values[mask].double()
    if known.numel() == 0 or known.min() == known.max():
        return 0.0
    return float(1 - (known - found).var(correction=0) / known.var(correction=0))
