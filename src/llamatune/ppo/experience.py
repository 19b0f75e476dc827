"""From rollouts, log-probabilities, values and scores to advantages: one iteration's experience.

Pure: all processes hold the whole iteration and compute the same, so nothing is whitened over a part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from llamatune.forward.rollouts import Rollout, mask_of
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.maths.advantages import gae
from llamatune.ppo.maths.kl import kl_terms
from llamatune.ppo.maths.masked import explained_variance, masked_mean, zero_outside
from llamatune.ppo.maths.token_rewards import missing_end_penalty, token_rewards
from llamatune.ppo.maths.whitening import RunningMoments, whiten


@dataclass(frozen=True)
class Experience:
    """What the updates of an iteration learn from; (batch, time) over completion tokens, float32, zero after each
    end.

    `mask`: real tokens. `trained`: those that the losses are made of. `reward`: (batch,) the combined score before
    whitening, `scores` by reward function. `kl`: the terms that the rewards were made with.
    """

    rollouts: list[Rollout]
    mask: torch.Tensor
    trained: torch.Tensor
    logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    values: torch.Tensor
    kl: torch.Tensor
    rewards: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    reward: torch.Tensor
    scores: dict[str, torch.Tensor]
    figures: dict[str, float]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything but texts and figures, for a checkpoint."""
        found = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if torch.is_tensor(getattr(self, field.name))
        }
        found |= {f"scores.{name}": score for name, score in self.scores.items()}
        for name in ("prompt", "completion"):
            ids = [getattr(rollout, name) for rollout in self.rollouts]
            found[f"rollouts.{name}"] = torch.tensor([token for one in ids for token in one])
            found[f"rollouts.{name}_lengths"] = torch.tensor([len(one) for one in ids])
        found["rollouts.row"] = torch.tensor([rollout.row for rollout in self.rollouts])
        found["rollouts.ended"] = torch.tensor([rollout.ended for rollout in self.rollouts])
        return found

    @staticmethod
    def of(tensors: Mapping[str, torch.Tensor], figures: Mapping[str, float]) -> Experience:
        """What `tensors` gave."""
        prompts, completions = (
            [
                part.tolist()
                for part in torch.split(
                    tensors[f"rollouts.{name}"], tensors[f"rollouts.{name}_lengths"].tolist()
                )
            ]
            for name in ("prompt", "completion")
        )
        rows, ended = tensors["rollouts.row"].tolist(), tensors["rollouts.ended"].tolist()
        rollouts = [Rollout(*one) for one in zip(rows, prompts, completions, ended, strict=True)]
        scores = {
            name.removeprefix("scores."): score
            for name, score in tensors.items()
            if name.startswith("scores.")
        }
        rest = {name: tensor for name, tensor in tensors.items() if "." not in name}
        return Experience(rollouts=rollouts, scores=scores, figures=dict(figures), **rest)


def experience(
    rollouts: Sequence[Rollout],
    *,
    logprobs: torch.Tensor,
    ref_logprobs: torch.Tensor,
    entropies: torch.Tensor,
    values: torch.Tensor,
    next_values: torch.Tensor,
    scores: Mapping[str, torch.Tensor],
    reward: torch.Tensor,
    kl_coef: float,
    moments: RunningMoments,
    args: PPOConfig,
) -> Experience:
    """Rewards, advantages and returns of an iteration.

    Args:
        logprobs, ref_logprobs, entropies, values: (batch, time).
        next_values: (batch,), the value after the last token, for completions that were cut off.
        reward: (batch,), combined.
        moments: of all rewards so far, for `whiten_scores: running`; updated.
    """
    mask = mask_of([len(rollout.completion) for rollout in rollouts])
    ended = torch.tensor([rollout.ended for rollout in rollouts])
    # The others are not in any mean, either.
    counted = ended if args.truncation == "mask" else torch.ones_like(ended)
    trained = mask & counted[:, None]
    scalar = missing_end_penalty(reward, ended, args.missing_eos_penalty)
    if args.whiten_scores == "batch":
        scalar = whiten(scalar, counted)
    elif args.whiten_scores == "running":
        moments.update(scalar, counted)
        scalar = moments.whiten(scalar)

    kl = zero_outside(kl_terms(logprobs, ref_logprobs, args.kl_estimator), mask)
    rewards = token_rewards(scores=scalar, kl=kl, mask=mask, kl_coef=kl_coef)
    if args.whiten_rewards:
        rewards = whiten(rewards, trained, shift_mean=False)

    values = zero_outside(values, mask)
    bootstrap = torch.where(ended, 0.0, next_values) if args.truncation == "bootstrap" else None
    advantages, returns = gae(
        rewards=rewards, values=values, mask=mask, gamma=args.gamma, lam=args.lam, next_values=bootstrap
    )
    explained = explained_variance(values, returns, trained)
    if args.whiten_advantages:
        advantages = whiten(advantages, trained)

    figures: dict[str, Any] = {
        "reward": reward.mean(),
        "reward_std": reward.std(correction=0),
        **{f"reward/{name}": score.mean() for name, score in scores.items()},
        "kl": kl.sum(1).mean(),
        "kl_coef": kl_coef,
        "entropy": masked_mean(entropies, mask),
        "explained_variance": explained,
        "value": masked_mean(values, mask),
        "length": mask.sum(1).float().mean(),
        "ended_share": ended.float().mean(),
    }
    return Experience(
        rollouts=list(rollouts),
        mask=mask,
        trained=trained,
        logprobs=zero_outside(logprobs, mask),
        ref_logprobs=zero_outside(ref_logprobs, mask),
        values=values,
        kl=kl,
        rewards=rewards,
        advantages=advantages,
        returns=returns,
        reward=reward,
        scores=dict(scores),
        figures={name: float(figure) for name, figure in figures.items()},
    )
