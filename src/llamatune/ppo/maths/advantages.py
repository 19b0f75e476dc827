"""Generalised advantage estimation (Schulman et al. 2016)."""

from __future__ import annotations

import torch

from llamatune.ppo.maths.masked import zero_outside


@torch.no_grad()
def gae(
    *,
    rewards: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    gamma: float,
    lam: float,
    next_values: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages, and returns = advantages + values; both (batch, time), float32, 0 in the padding, no gradient.

    A_t = sum over k of (gamma lam)^k (r_{t+k} + gamma V_{t+k+1} - V_{t+k}), over the row's real tokens.

    Args:
        rewards: (batch, time), for the token of each position.
        values: (batch, time), of the state in which that token was chosen.
        mask: (batch, time) bool.
        next_values: (batch,) value of the state after each row's last real token: 0 for a completion that ended, the
            critic's for one that was cut off, which goes on as it would have. None: every completion ended there.
    """
    assert mask.dtype == torch.bool and rewards.shape == values.shape == mask.shape
    assert next_values is None or next_values.shape == mask.shape[:1]
    rewards, values = zero_outside(rewards, mask), zero_outside(values, mask)
    following = values.new_zeros(len(values)) if next_values is None else next_values.float()
    advantage = torch.zeros_like(following)
    advantages = torch.zeros_like(values)
    for time in reversed(range(mask.shape[1])):
        real = mask[:, time]
        error = rewards[:, time] + gamma * following - values[:, time]
        # Padding hands on what comes after it, untouched.
        advantage = torch.where(real, error + gamma * lam * advantage, advantage)
        following = torch.where(real, values[:, time], following)
        advantages[:, time] = advantage
    advantages = zero_outside(advantages, mask)
    return advantages, advantages + values
