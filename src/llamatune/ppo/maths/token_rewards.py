"""From the scores of reward models to one reward per token (paper, section 3.2.3)."""

from __future__ import annotations

import torch

from llamatune.ppo.maths.masked import zero_outside


def missing_end_penalty(scores: torch.Tensor, ended: torch.Tensor, penalty: float | None) -> torch.Tensor:
    """(batch,): `penalty` less for a completion that did not end (`ended` False).

    It is subtracted, and does not replace the score: among unfinished completions, better ones stay better.
    """
    assert ended.dtype == torch.bool
    return scores.float() if penalty is None else torch.where(ended, scores.float(), scores.float() - penalty)


def token_rewards(
    *, scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, kl_coef: float
) -> torch.Tensor:
    """(batch, time): -kl_coef * kl at each real token, and the score on top at each row's last one.

    Args:
        scores: (batch,).
        kl: (batch, time), from `kl_terms`.
        mask: (batch, time) bool. A row without a real token gets nothing, not even its score.
    """
    assert mask.dtype == torch.bool and kl.shape == mask.shape and scores.shape == mask.shape[:1]
    still_to_come = mask.flip(1).cumsum(1).flip(1)  # real tokens from here on, this one included
    last = mask & (still_to_come == 1)
    return zero_outside(scores[:, None].expand_as(kl), last) - kl_coef * zero_outside(kl, mask)
