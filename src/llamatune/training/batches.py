"""The global batch, and how it is cut into micro-batches.

Which rows form a global batch depends only on the seed and the epoch. How they are cut is a matter of speed and
memory, never of the result: the loss is divided by the trained tokens of the whole global batch, so the
gradients of the pieces add up to the same sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Sampler

from llamatune.data.mix import permutation
from llamatune.data.rows import EncodedRow

if TYPE_CHECKING:
    from datasets import Dataset


class GlobalBatchSampler(Sampler[list[int]]):
    """Row numbers of each global batch: a permutation by seed + epoch, as the plain Trainer draws it."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = permutation(self.rows, self.seed + self.epoch)
        for start in range(0, self.rows, self.batch_size):
            yield order[start : start + self.batch_size]


class GlobalBatchLoader(DataLoader[Any]):
    """Yields each global batch as {"rows": [...]}, the same in every process."""

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, *, workers: int = 0) -> None:
        sampler = GlobalBatchSampler(len(dataset), batch_size, seed)
        # A generator of its own: iterating must not draw from the global random state, which a resume restores.
        super().__init__(
            dataset,
            batch_sampler=sampler,
            collate_fn=_as_rows,
            num_workers=workers,
            generator=torch.Generator().manual_seed(seed),
        )
        self.global_sampler = sampler

    def set_epoch(self, epoch: int) -> None:
        self.global_sampler.set_epoch(epoch)


def _as_rows(rows: list[EncodedRow]) -> dict[str, list[EncodedRow]]:
    return {"rows": rows}
