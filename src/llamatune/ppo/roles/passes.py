"""Forward and backward passes of roles: who shares one, what happens where memory runs out, or weights are sharded."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from accelerate.utils import send_to_device
from transformers import Trainer

from llamatune.forward import processes
from llamatune.forward.cutting import cut
from llamatune.forward.logprobs import logprobs_and_entropies
from llamatune.forward.memory import free_memory, one_row_too_many, ran_out_of_memory
from llamatune.forward.rollouts import Rollout, collate
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.roles import sharding
from llamatune.ppo.roles.adapters import Adapters
from llamatune.ppo.roles.base import Role
from llamatune.ppo.roles.separate import Separate

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class RolePasses(Trainer):  # type: ignore[misc]
    """A trainer whose model is the roles of PPO; `pass_tokens` are the most tokens in a forward pass, if that is how
    passes are cut."""

    args: PPOConfig
    optimizer: torch.optim.Optimizer | None
    pass_tokens: int | None = None

    @property
    def roles(self) -> Separate | Adapters:
        """The roles' module, without what wraps it for several processes."""
        if isinstance(self.model, (Separate, Adapters)):
            return self.model  # to unwrap, accelerate looks at every module: as long as a small step takes
        roles: Separate | Adapters = self.accelerator.unwrap_model(self.model)
        return roles

    @property
    def sharded(self) -> bool:
        """Whether FSDP2 has spread the roles' weights over the processes."""
        return sharding.is_sharded(self.roles)

    def outputs(self, role: Role, rollouts: Sequence[Rollout]) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens,) log-probabilities and entropies; or (tokens,) values and (rows,) those behind the last tokens."""
        batch = collate(
            rollouts, padding_free=self.roles.padding_free, pad_id=self.processing_class.pad_token_id
        )
        inputs = send_to_device(batch.inputs, self.args.device)
        positions, last, tokens = (
            one.to(self.args.device) for one in (batch.positions, batch.last, batch.tokens)
        )
        if role == "value":
            values = self.roles(role, inputs, torch.cat([positions, last]))
            return values[: len(positions)], values[len(positions) :]
        logits = self.roles(role, inputs, positions)
        return logprobs_and_entropies(logits, tokens, self.args.temperature)

    def backward(self, loss: torch.Tensor) -> None:
        """The gradients of this process's part of a loss, of which the whole is the sum over all processes."""
        # FSDP makes it their mean.
        self.accelerator.backward(loss * self.accelerator.num_processes if self.sharded else loss)

    def passes(
        self,
        role: Role,
        rollouts: Sequence[Rollout],
        run: Callable[[Sequence[Rollout], Sequence[int]], Result],
        again: Callable[[], None] = lambda: None,
    ) -> list[Result]:
        """What `run` gives for each forward pass over some rollouts.

        Where memory runs out, passes are made smaller and all of them repeated, after `again`; not where the role is
        sharded, since the others wait in the pass that failed.

        Raises:
            OutOfMemoryError: memory does not hold a single rollout.
        """
        if self.sharded:
            return self._sharded_passes(role, rollouts, run)
        while True:
            results = []
            for numbers in self._cut(rollouts):
                result = _within_memory(run, [rollouts[number] for number in numbers], numbers)
                if result is None:
                    break
                results.append(result)
            else:
                return results
            again()
            self._cut_smaller(rollouts)

    def _sharded_passes(
        self,
        role: Role,
        rollouts: Sequence[Rollout],
        run: Callable[[Sequence[Rollout], Sequence[int]], Result],
    ) -> list[Result]:
        """Each pass exchanges weights: a process with fewer of them than others goes on with idle ones."""
        cuts = self._cut(rollouts)
        idle = int(processes.most(len(cuts), self.accelerator)) - len(cuts)
        results = [run([rollouts[number] for number in numbers], numbers) for numbers in cuts]
        for _ in range(idle):
            with self.compute_loss_context_manager(), self.roles.acting(role):
                first, _second = self.outputs(role, [Rollout(0, [0], [0], ended=True)])
                if torch.is_grad_enabled():
                    self.backward(0.0 * first.sum())
        return results

    def together(self) -> AbstractContextManager[None]:
        """For passes; those of sharded roles are exchanges, and the launcher ends the processes that wait in one."""
        return nullcontext() if self.sharded else processes.together(self.accelerator)

    def _cut(self, rollouts: Sequence[Rollout]) -> list[list[int]]:
        """Which rollouts share a forward pass: those of about the same length."""
        lengths = [rollout.length for rollout in rollouts]
        if self.pass_tokens is not None:
            return cut(lengths, self.pass_tokens, padded=not self.roles.padding_free)
        order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
        size = self.args.per_device_train_batch_size
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _cut_smaller(self, rollouts: Sequence[Rollout]) -> None:
        largest = max(sum(rollouts[number].length for number in numbers) for numbers in self._cut(rollouts))
        longest = max(rollout.length for rollout in rollouts)
        if largest <= longest:
            raise one_row_too_many(longest)
        self.pass_tokens = max(largest // 2, 1)
        free_memory()
        self.say(f"memory ran out: at most {self.pass_tokens:,} tokens in a forward pass from here on")

    def drop_gradients(self, role: Role) -> None:
        for name, weight in self.trained_weights():
            if self.roles.is_critic(name) == (role == "value"):
                weight.grad = None

    def trained_weights(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return ((name, weight) for name, weight in self.roles.named_parameters() if weight.requires_grad)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Every trained weight in one group: policy and critic, with and without weight decay."""
        if self.optimizer is None:
            roles = self.model if model is None else model
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, roles)
            decaying = set(self.get_decay_parameter_names(roles))
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = defaultdict(list)
            for name, weight in roles.named_parameters():
                if weight.requires_grad:
                    groups[self.roles.is_critic(name), name in decaying].append(weight)
            rates = (self.args.learning_rate, self.args.critic_learning_rate or self.args.learning_rate)
            self.optimizer = kind(
                [
                    {
                        "params": weights,
                        "lr": rates[critic],
                        "weight_decay": self.args.weight_decay if decays else 0.0,
                    }
                    for (critic, decays), weights in groups.items()
                ],
                **settings,
            )
        return self.optimizer

    def say(self, text: str) -> None:
        """Tell the user something that is not a figure."""
        if self.accelerator.is_main_process:
            logger.warning(text)


def _within_memory(run: Callable[..., Result], *arguments: Any) -> Result | None:
    try:
        return run(*arguments)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    return None
