"""From the scores of several judges to one reward for each reply (paper, section 3.2.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from llamatune.errors import ModelError
from llamatune.recipe.stages.common import RewardModels
from llamatune.wording import counted


@dataclass(frozen=True)
class RewardRule:
    """How the scores of several judges become one reward.

    `combination`: the paper's choice between `helpfulness` and `safety`, or a weighted sum; `auto` is the paper's
    where those are the two judges. `weights`: of the sum, in the order of the judges; 1 each when None.
    `safety_threshold`: see `safety_first`. `transform`: raw scores, or their sigmoid.
    """

    combination: Literal["auto", "llama2", "weighted_sum"] = "auto"
    weights: Sequence[float] | None = None
    safety_threshold: float = 0.15
    transform: Literal["logit", "probability"] = "logit"

    @staticmethod
    def of(reward: RewardModels) -> RewardRule:
        """What a recipe's `reward` block says."""
        return RewardRule(reward.combination, reward.weights, reward.safety_threshold, reward.transform)

    def is_llama2(self, names: Collection[str]) -> bool:
        """Whether the judges of these names are combined as in the paper."""
        return self.combination == "llama2" or (
            self.combination == "auto" and set(names) == {"helpfulness", "safety"}
        )

    def check(self, names: Collection[str], place: str) -> None:
        """Raises ModelError if judges of these names cannot be combined like this."""
        if self.combination == "llama2" and set(names) != {"helpfulness", "safety"}:
            raise ModelError(
                "E240",
                f"the paper's combination needs judges `helpfulness` and `safety`, and not {list(names)}",
                place=place,
                hint='name them so: {"helpfulness": ..., "safety": ...}; or use `weighted_sum`',
            )
        if self.weights is not None and len(self.weights) != len(names):
            raise ModelError(
                "E240",
                f"{counted(len(self.weights), 'weight')} for {counted(len(names), 'judge')}",
                place=place,
                hint="give one for each judge, in their order",
            )


def combine(scores: Mapping[str, torch.Tensor], is_safety: torch.Tensor, rule: RewardRule) -> torch.Tensor:
    """(batch,): the reward of each completion (R_c of the paper, section 3.2.3; or a weighted sum).

    Args:
        scores: (batch,) by judge.
        is_safety: (batch,) bool, the prompts tagged as such.
    """
    if rule.is_llama2(scores):
        chosen = safety_first(scores["helpfulness"], scores["safety"], is_safety, rule.safety_threshold)
        return transformed(chosen, rule.transform)
    parts = {name: transformed(score, rule.transform) for name, score in scores.items()}
    return weighted_sum(parts, rule.weights)


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
        threshold: a reply whose safety is less probable than this is judged by its safety on any prompt. 0.15 finds
            unsafe replies with a precision of 0.89 and a recall of 0.55 on the paper's test set.

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
