"""The distance from the reference: estimates per token, and the coefficient of their penalty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from llamatune.outside import checked_number

LOG_RATIO_LIMIT = 20.0
"""exp(20) is 5e8: beyond it nothing is learnt, and float32 soon overflows."""

Estimator = Literal["k1", "k2", "k3"]


def kl_terms(logprobs: torch.Tensor, ref_logprobs: torch.Tensor, estimator: Estimator) -> torch.Tensor:
    """Estimates of KL(policy || reference) from tokens that the policy sampled; shape as given, float32.

    With d = logprobs - ref_logprobs, clamped at +-20 so that nothing overflows:
    k1 = d, without bias, may be negative for a token; k2 = d^2 / 2, never negative, biased; k3 = exp(-d) - 1 + d,
    never negative and without bias (Schulman 2020, "Approximating KL divergence").
    """
    distance = (logprobs.float() - ref_logprobs.float()).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    if estimator == "k1":
        return distance
    if estimator == "k2":
        return 0.5 * distance.square()
    return torch.expm1(-distance) + distance


class FixedKL:
    """A coefficient that stays. The paper's: 0.01 for 7B and 13B, 0.005 for 34B and 70B."""

    def __init__(self, coef: float) -> None:
        self.coef = coef

    def update(self, kl: float, rollouts: int) -> None:
        """Learns nothing."""

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"coef": self.coef}

    def restore(self, state: Mapping[str, float]) -> None:
        self.coef = checked_number(state["coef"])


class AdaptiveKL(FixedKL):
    """A coefficient that steers the KL towards a target (Ziegler et al. 2019, section 2.2).

    Args:
        coef: where it starts.
        target: wanted KL of a completion, in nats: the sum over its tokens, mean over completions.
        horizon: number of rollouts over which it moves; at most 20 % per `horizon` rollouts.
    """

    def __init__(self, coef: float, target: float, horizon: int) -> None:
        super().__init__(coef)
        self.target = target
        self.horizon = horizon

    def update(self, kl: float, rollouts: int) -> None:
        """Move after `rollouts` completions whose mean KL is `kl`."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.coef *= 1 + error * rollouts / self.horizon


def kl_controller(
    kind: Literal["fixed", "adaptive"], coef: float, target: float | None = None, horizon: int | None = None
) -> FixedKL:
    """The controller that a recipe asks for; a fixed one needs neither target nor horizon."""
    if kind == "fixed":
        return FixedKL(coef)
    assert target is not None and horizon is not None, "an adaptive KL needs a target and a horizon"
    return AdaptiveKL(coef, target, horizon)
