"""The gradients of an optimizer step: the losses of policy and critic over a mini-batch (paper, section 3.2.3), and
the groups of weights that the optimizer moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from llamatune.forward import processes
from llamatune.forward.rollouts import Rollout, padded
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.experience import Experience
from llamatune.ppo.maths.losses import policy_loss, token_weights, value_loss
from llamatune.ppo.ptx import PretrainingMix
from llamatune.ppo.roles.base import TRAINED, RoleName, Roles
from llamatune.ppo.roles.passes import Passes
from llamatune.training.guards import norm_of

if TYPE_CHECKING:
    from accelerate import Accelerator

_SUMS = ("policy_loss", "value_loss", "ratio", "clipped", "value_clipped", "approx_kl", "ratio_max")


class Updates:
    """Gradients of mini-batches, in each process those of the whole; with `ptx`, also those of its rows."""

    def __init__(
        self, passes: Passes, args: PPOConfig, accelerator: Accelerator, ptx: PretrainingMix | None
    ) -> None:
        self.passes = passes
        self.roles = passes.roles
        self.args = args
        self.accelerator = accelerator
        self.ptx = ptx

    def gradients(self, found: Experience, chosen: Sequence[int], step: int) -> dict[str, float]:
        """Add up the gradients of the chosen rollouts; returns figures of the update.

        Args:
            chosen: numbers of rollouts that have a trained token.
            step: the optimizer steps so far; decides which rows of `ptx` are mixed in.
        """
        tokens, sequences = int(found.trained[chosen].sum()), len(chosen)
        lengths = [found.rollouts[number].length for number in chosen]
        own = [chosen[n] for n in processes.own_share(lengths, self.accelerator)]
        with self.passes.together():
            sums = self._own_gradients(found, own, tokens, sequences)
            if self.ptx is not None:
                again = partial(self._own_gradients, found, own, tokens, sequences)
                sums["ptx_loss"] = self.ptx.add_gradients(step, self.passes, self.args.ptx_coef, again)
                sums["loss"] += self.args.ptx_coef * sums["ptx_loss"]
        largest = processes.most(sums.pop("ratio_max", 0.0), self.accelerator)
        sums = processes.summed(sums, self.accelerator)
        # FSDP has summed them.
        if not self.roles.sharded:
            processes.sum_gradients((weight for _, weight in self.roles.trained_weights()), self.accelerator)
        count = max(tokens, 1)
        figures = {
            "loss": sums["loss"],
            "policy_loss": sums["policy_loss"],
            "value_loss": sums["value_loss"],
            "ratio": sums["ratio"] / count,
            "ratio_max": largest,
            "clip_share": sums["clipped"] / count,
            "value_clip_share": sums["value_clipped"] / count,
            "approx_kl": sums["approx_kl"] / count,
            "policy_grad_norm": self._policy_norm(),
        }
        return figures | ({"ptx_loss": sums["ptx_loss"]} if self.ptx is not None else {})

    def _policy_norm(self) -> float:
        return norm_of(
            weight for name, weight in self.roles.trained_weights() if not self.roles.is_critic(name)
        )

    def _own_gradients(
        self, found: Experience, own: Sequence[int], tokens: int, sequences: int
    ) -> dict[str, float]:
        """Backward passes over this process's part of a mini-batch, role by role; sums of figures over it.

        One role's passes end before the other's begin: this takes less memory, and on one base it is the only order in
        which backward passes see the adapter of their forward pass.
        """
        sums = dict.fromkeys(_SUMS, 0.0)
        rollouts = [found.rollouts[number] for number in own]
        for role in TRAINED:

            def backward(
                batch: Sequence[Rollout], numbers: Sequence[int], role: RoleName = role
            ) -> dict[str, float]:
                return self._backward(role, found, [own[number] for number in numbers], tokens, sequences)

            drop = partial(self.roles.drop_gradients, role)
            for statistics in self.passes.over(role, rollouts, backward, again=drop):
                for name, value in statistics.items():
                    sums[name] = max(sums[name], value) if name == "ratio_max" else sums[name] + value
        sums["loss"] = sums["policy_loss"] + self.args.vf_coef * sums["value_loss"]
        return sums

    def _backward(
        self, role: RoleName, found: Experience, rows: Sequence[int], tokens: int, sequences: int
    ) -> dict[str, float]:
        """One forward and backward pass; sums of figures over its tokens."""
        device = self.args.device
        rollouts = [found.rollouts[row] for row in rows]
        lengths = [len(rollout.completion) for rollout in rollouts]
        time = slice(0, max(lengths))

        def of(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[rows, time].to(device)

        mask = of(found.trained)
        weights = token_weights(
            mask=mask, aggregation=self.args.aggregation, tokens=tokens, sequences=sequences
        )
        with self.passes.acting(role):
            first, second = self.passes.outputs(role, rollouts)
            if role == "value":
                loss, statistics = value_loss(
                    values=padded(first, lengths),
                    old_values=of(found.values),
                    returns=of(found.returns),
                    mask=mask,
                    cliprange=self.args.cliprange_value,
                    weights=weights,
                )
                total = self.args.vf_coef * loss
            else:
                loss, statistics = policy_loss(
                    logprobs=padded(first, lengths),
                    old_logprobs=of(found.logprobs),
                    advantages=of(found.advantages),
                    mask=mask,
                    cliprange=self.args.cliprange,
                    weights=weights,
                )
                total = loss
                if self.args.entropy_coef:
                    total = loss - self.args.entropy_coef * (weights * padded(second, lengths)).sum()
            self.passes.backward(total)
        figures = {name: float(value) for name, value in statistics.items() if name in _SUMS}
        return figures | {f"{role}_loss": float(loss.detach())}


def optimizer_groups(
    model: torch.nn.Module, roles: Roles, decaying: Collection[str], args: PPOConfig
) -> list[dict[str, Any]]:
    """Every trained weight in one group: policy and critic, with and without weight decay.

    Args:
        model: the roles, as they are given to the optimizer.
        decaying: names of weights that decay.
    """
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            groups[roles.is_critic(name), name in decaying].append(weight)
    rates = (args.learning_rate, args.critic_learning_rate or args.learning_rate)
    return [
        {"params": weights, "lr": rates[critic], "weight_decay": args.weight_decay if decays else 0.0}
        for (critic, decays), weights in groups.items()
    ]
