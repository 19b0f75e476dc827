"""Forward and backward passes of roles: what shares one, and what happens when memory runs out or weights are
sharded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import torch
from accelerate.utils import send_to_device

from llamatune.forward import processes
from llamatune.forward.cutting import cut
from llamatune.forward.memory import free_memory, one_row_too_many, within_memory
from llamatune.forward.outputs import logprobs_and_entropies
from llamatune.forward.rollouts import Rollout, collate, padded
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.roles.base import RoleName, Roles
from llamatune.runs.status import busy

if TYPE_CHECKING:
    from accelerate import Accelerator

_Found = TypeVar("_Found")


class Passes:
    """Passes of roles over rollouts.

    Args:
        pad_id: fills rows up, where they do not lie end to end.
        autocast: gives the context of a forward pass, its precision.
        memory_ran_out: is told, in words, whenever passes have become smaller.

    Attributes:
        most_tokens: the most tokens in a pass; None where the number of rollouts is limited instead
            (`per_device_train_batch_size`).
    """

    def __init__(
        self,
        roles: Roles,
        args: PPOConfig,
        accelerator: Accelerator,
        *,
        pad_id: int,
        autocast: Callable[[], AbstractContextManager[None]],
        memory_ran_out: Callable[[str], None],
    ) -> None:
        self.roles = roles
        self.args = args
        self.accelerator = accelerator
        self.pad_id = pad_id
        self.most_tokens = args.micro_batch_tokens
        self._autocast = autocast
        self._memory_ran_out = memory_ran_out

    @contextmanager
    def acting(self, role: RoleName) -> Iterator[None]:
        """For a role's passes: it acts, in the precision of passes."""
        with self._autocast(), self.roles.acting(role):
            yield

    def outputs(self, role: RoleName, rollouts: Sequence[Rollout]) -> tuple[torch.Tensor, torch.Tensor]:
        """(tokens,) log-probabilities and entropies; or (tokens,) values and (rows,) those after the last tokens."""
        batch = collate(rollouts, padding_free=self.roles.padding_free, pad_id=self.pad_id)
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
        self.accelerator.backward(loss * self.accelerator.num_processes if self.roles.sharded else loss)

    def over(
        self,
        role: RoleName,
        rollouts: Sequence[Rollout],
        run: Callable[[Sequence[Rollout], Sequence[int]], _Found],
        again: Callable[[], None] = lambda: None,
    ) -> list[_Found]:
        """What `run` returns for each pass over some rollouts; it is given those of a pass, and their numbers.

        When memory runs out, passes are made smaller and all of them repeated, after `again`; not where the role is
        sharded, since the other processes wait in the pass that failed.

        Raises:
            OutOfMemoryError: memory does not hold a single rollout.
        """
        if self.roles.sharded:
            return self._sharded(role, rollouts, run)
        while True:
            results = []
            for numbers in self._cut(rollouts):
                with busy(f"in a pass of the {role} model"):
                    result = within_memory(run, [rollouts[number] for number in numbers], numbers)
                if result is None:
                    break
                results.append(result)
            else:
                return results
            again()
            self._cut_smaller(rollouts)

    def _sharded(
        self,
        role: RoleName,
        rollouts: Sequence[Rollout],
        run: Callable[[Sequence[Rollout], Sequence[int]], _Found],
    ) -> list[_Found]:
        """Each pass exchanges weights: a process with fewer passes than others makes idle ones."""
        cuts = self._cut(rollouts)
        idle = int(processes.most(len(cuts), self.accelerator)) - len(cuts)
        results = []
        for numbers in cuts:
            with busy(f"in a pass of the {role} model"):
                results.append(run([rollouts[number] for number in numbers], numbers))
        for _ in range(idle):
            with busy(f"in an idle pass of the {role} model"), self.acting(role):
                first, _second = self.outputs(role, [Rollout(0, [0], [0], ended=True)])
                if torch.is_grad_enabled():
                    self.backward(0.0 * first.sum())
        return results

    def read(self, rollouts: Sequence[Rollout]) -> dict[str, torch.Tensor]:
        """What policy, reference and critic say of rollouts: (batch, time) each, and `next_values` (batch,).

        The policy's log-probabilities are recomputed here, whatever the generator thinks they are: the ratio of the
        first update must be 1.
        """
        own = processes.own_share([rollout.length for rollout in rollouts], self.accelerator)
        mine = [rollouts[n] for n in own]
        with torch.no_grad(), self.together():
            policy = self._each("policy", mine)
            reference = self._each("reference", mine)
            values = self._each("value", mine)
        found = {
            "logprobs": [one[0] for one in policy],
            "entropies": [one[1] for one in policy],
            "ref_logprobs": [one[0] for one in reference],
            "values": [one[0] for one in values],
        }
        lengths = [len(rollout.completion) for rollout in rollouts]
        read = {
            name: padded(torch.cat(processes.gathered(own, parts, len(rollouts), self.accelerator)), lengths)
            for name, parts in found.items()
        }
        last = processes.gathered(own, [one[1] for one in values], len(rollouts), self.accelerator)
        return read | {"next_values": torch.stack(last)}

    def _each(self, role: RoleName, rollouts: Sequence[Rollout]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each rollout: (log-probabilities, entropies) of its tokens, or (values, the value after the last)."""
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for part in self.over(
            role,
            rollouts,
            lambda batch, numbers: dict(zip(numbers, self._read_pass(role, batch), strict=True)),
        ):
            found.update(part)
        return [found[number] for number in range(len(rollouts))]

    def _read_pass(
        self, role: RoleName, rollouts: Sequence[Rollout]
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        with self.acting(role):
            first, second = self.outputs(role, rollouts)
        lengths = [len(rollout.completion) for rollout in rollouts]
        seconds = second.cpu() if role == "value" else torch.split(second.cpu(), lengths)
        return list(zip(torch.split(first.cpu(), lengths), seconds, strict=True))

    def together(self) -> AbstractContextManager[object]:
        """For passes; those of sharded roles are exchanges, and the launcher ends processes that wait in one."""
        return nullcontext() if self.roles.sharded else processes.together(self.accelerator)

    def _cut(self, rollouts: Sequence[Rollout]) -> list[list[int]]:
        """Which rollouts share a forward pass: those of about the same length."""
        lengths = [rollout.length for rollout in rollouts]
        if self.most_tokens is not None:
            return cut(lengths, self.most_tokens, padded=not self.roles.padding_free)
        order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
        size = self.args.per_device_train_batch_size
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _cut_smaller(self, rollouts: Sequence[Rollout]) -> None:
        largest = max(sum(rollouts[number].length for number in numbers) for numbers in self._cut(rollouts))
        longest = max(rollout.length for rollout in rollouts)
        if largest <= longest:
            raise one_row_too_many(longest)
        self.most_tokens = max(largest // 2, 1)
        free_memory()
        self._memory_ran_out(
            f"memory ran out: at most {self.most_tokens:,} tokens in a forward pass from here on"
        )
