"""From the scores of several judges to one reward for each reply (paper, section 3.2.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch


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
