"""Mean 0 and standard deviation 1: of a batch, or by what has been seen so far.

Both take the variance of a population, sum / n: it exists for a single value, and merging batches is exact. Sums are
taken in float64, where sums of float32 numbers are all but exact: a constant has no spread at all, not even that of a
rounding error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from llamatune.outside import checked_number
from llamatune.ppo.maths.masked import zero_outside

EPS = 1e-8


def whiten(
    values: torch.Tensor, mask: torch.Tensor | None = None, *, shift_mean: bool = True, eps: float = EPS
) -> torch.Tensor:
    """(values - mean) / sqrt(variance + eps) over all valid entries, in float32; 0 elsewhere.

    Args:
        values: of any shape: advantages (batch, time), or one score for each completion (batch,).
        mask: bool, the valid entries; all if None.
        shift_mean: False keeps the mean and changes the spread only, which is meant for rewards.

    Several processes have to gather first to whiten together: the mean of means is not the mean.
    """
    if mask is None:
        mask = torch.ones_like(values, dtype=torch.bool)
    assert mask.dtype == torch.bool and mask.shape == values.shape
    values = zero_outside(values, mask).double()
    valid = values[mask]
    if valid.numel() == 0:
        return torch.zeros_like(values, dtype=torch.float32)
    mean, variance = valid.mean(), valid.var(correction=0)
    whitened = (values - mean) / (variance + eps).sqrt()
    return zero_outside(whitened if shift_mean else whitened + mean, mask)


class RunningMoments:
    """Mean and spread of all values seen so far, merged batch by batch (Chan et al. 1979).

    Python numbers in float64, so the state is JSON and a resumed run goes on exactly.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0  # sum of squared distances from the mean

    @property
    def std(self) -> float:
        """Of the population; 0 before anything has been seen."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0

    def update(self, values: torch.Tensor, mask: torch.Tensor | None = None) -> None:
        """Take in `values`, where `mask` (bool, same shape) is True."""
        assert mask is None or (mask.dtype == torch.bool and mask.shape == values.shape)
        valid = values.detach().flatten().double() if mask is None else values.detach()[mask].double()
        added = valid.numel()
        if not added:
            return
        mean = float(valid.mean())
        squares = float((valid - mean).square().sum())
        total = self.count + added
        step = mean - self.mean
        self._squares += squares + step * step * self.count * added / total
        self.mean += step * added / total
        self.count = total

    def whiten(self, values: torch.Tensor) -> torch.Tensor:
        """`values` by the mean and spread seen so far, in float32; without any spread, only the mean is removed."""
        scale = math.sqrt(self.std**2 + EPS) if self.std else 1.0
        return ((values.double() - self.mean) / scale).float()

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"count": self.count, "mean": self.mean, "squares": self._squares}

    def restore(self, state: Mapping[str, float]) -> None:
        self.count, self.mean, self._squares = (
            checked_number(state[name]) for name in ("count", "mean", "squares")
        )
