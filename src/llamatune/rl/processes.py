"""Several processes: who does what, and what they tell each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from llamatune.training.batches import share

Item = TypeVar("Item")


def own_share(lengths: Sequence[int], accelerator: Accelerator) -> list[int]:
    """Which rows this process works on: about the same number of tokens in each."""
    shares = share(lengths, accelerator.num_processes)
    mine: list[int] = shares[accelerator.process_index]
    return mine


def gathered(own: Sequence[int], found: Sequence[Item], rows: int, accelerator: Accelerator) -> list[Item]:
    """What every process found for its rows, in the order of the rows, in all processes."""
    pairs = list(zip(own, found, strict=True))
    if accelerator.num_processes > 1:
        pairs = gather_object(pairs)
    by_row = dict(pairs)
    return [by_row[row] for row in range(rows)]


def sum_gradients(weights: Iterable[torch.nn.Parameter], accelerator: Accelerator) -> None:
    """Add up the gradients of all processes, whichever weights each has gradients for.

    Not left to DistributedDataParallel: policy and critic are separate passes, and it would wait for the gradients of
    the role that is not acting.
    """
    if accelerator.num_processes == 1:
        return
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        torch.distributed.all_reduce(weight.grad)


def summed(figures: dict[str, float], accelerator: Accelerator) -> dict[str, float]:
    """Sums over all processes."""
    if accelerator.num_processes == 1:
        return figures
    values = torch.tensor(list(figures.values()), dtype=torch.float64, device="cpu")
    every: list[Any] = gather_object([values.tolist()])
    return dict(zip(figures, (sum(column) for column in zip(*every, strict=True)), strict=True))


def most(value: float, accelerator: Accelerator) -> float:
    """The largest over all processes."""
    return value if accelerator.num_processes == 1 else max(gather_object([value]))
