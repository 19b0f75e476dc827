"""From the scores of reward models to one reward per token (paper, section 3.2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from llamatune.rl.masked import zero_outside


def logit(probability: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """log(p / (1 - p)) in float32, with p kept `eps` away from 0 and 1."""
    return torch.logit(probability.float(), eps=eps)


def safety_first(
    helpfulness: torch.Tensor, safety: torch.Tensor, is_safety: torch.Tensor, threshold: float = 0.15
) -> torch.Tensor:
    """(batch,): the paper's R_c. The safety score decides where safety is at stake, else the helpfulness score.

    Args:
        helpfulness, safety: (batch,) raw scores of the two reward models, before any sigmoid.
        is_safety: (batch,) bool, the prompts tagged as such.
        threshold: a reply whose safety is less probable than this is judged by it on any prompt. 0.15 finds unsafe
            replies with a precision of 0.89 and a recall of 0.55 on the paper's test set.

    The paper selects among probabilities and takes the logit of the selected one. That is the raw score: selecting
    among raw scores is the same, and loses nothing where a sigmoid has saturated.
    """
    assert is_safety.dtype == torch.bool
    unsafe = safety.float().sigmoid() < threshold
    return torch.where(is_safety | unsafe, safety.float(), helpfulness.float())


def weighted_sum(scores: Mapping[str, torch.Tensor], weights: Sequence[float] | None) -> torch.Tensor:
    """(batch,): the sum of each reward's scores (batch,) x its weight, in order; without weights, each counts 1."""
    factors = [1.0] * len(scores) if weights is None else weights
    terms = [score.float() * factor for score, factor in zip(scores.values(), factors, strict=True)]
    return torch.stack(terms).sum(0)


def transformed(scores: torch.Tensor, kind: Literal["logit", "probability"]) -> torch.Tensor:
    """Raw scores as they are (the logit of the probability, as in the paper), or as probabilities."""
    return scores.float() if kind == "logit" else scores.float().sigmoid()


def missing_end_penalty(scores: torch.Tensor, ended: torch.Tensor, penalty: float | None) -> torch.Tensor:
    """(batch,): `penalty` less for a completion that did not end (`ended` False).

    Subtracted and not put in place of the score: among unfinished completions better ones stay better.
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
        mask: (batch, time) bool. A row without a real token gets nothing, its score neither.
    """
    assert mask.dtype == torch.bool and kl.shape == mask.shape and scores.shape == mask.shape[:1]
    still_to_come = mask.flip(1).cumsum(1).flip(1)  # real tokens from here on, this one included
    last = mask & (still_to_come == 1)
    return zero_outside(scores[:, None].expand_as(kl), last) - kl_coef * zero_outside(kl, mask)
