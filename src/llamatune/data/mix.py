"""Which encoded sequences are trained on, evaluated on, how often and in which order: choices of numbers, never copies
of rows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llamatune.data.store import Shard
from llamatune.errors import DataError
from llamatune.wording import counted

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Pool:
    """Some sequences of a shard. `indices` are positions in the shard, ascending until weights repeat
    them."""

    shard: Shard
    indices: np.ndarray

    @classmethod
    def of(cls, shard: Shard) -> Pool:
        return cls(shard, np.arange(len(shard.sequences)))

    @property
    def rows(self) -> int:
        """Distinct rows of the source; a long document has several sequences."""
        return len(np.unique(self.column("row")))

    def column(self, name: str) -> np.ndarray:
        return np.asarray(self.shard.sequences[name][self.indices])

    def where(self, mask: np.ndarray) -> Pool:
        return Pool(self.shard, self.indices[mask])

    def dataset(self) -> datasets.Dataset:
        """The sequences, as a view of the memory-mapped shard."""
        return self.shard.dataset.select(self.indices)


def without_shared(pools: Sequence[Pool]) -> tuple[list[Pool], list[int]]:
    """The pools without the rows that an earlier pool has, too, and how many rows each of them lost."""
    kept: list[Pool] = []
    lost: list[int] = []
    for pool in pools:
        mask = np.ones(len(pool.indices), dtype=bool)
        for earlier in kept:
            mask &= ~np.isin(pool.column("digest"), earlier.column("digest"))
        kept.append(pool.where(mask))
        lost.append(pool.rows - kept[-1].rows)
    return kept, lost


def hold_out(pools: Sequence[Pool], fraction: float) -> tuple[list[Pool], list[Pool]]:
    """(training, held-out) pools. A row's side depends only on its prompt's content, so it does not move when rows are
    added, and equal prompts are never on both sides. Even of few rows, at least one is held out.

    Raises:
        DataError: E134, no row falls on one of the sides.
    """
    halves = [_first_half(pool.column("prompt")) for pool in pools]
    smallest = min((half.min() for half in halves if len(half)), default=np.uint64(0))
    limit = max(np.uint64(int(fraction * 2**64)), smallest)
    masks = [half <= limit for half in halves]
    train = [pool.where(~mask) for pool, mask in zip(pools, masks, strict=True)]
    held_out = [pool.where(mask) for pool, mask in zip(pools, masks, strict=True)]
    for side, chosen in (("held out", held_out), ("left to train on", train)):
        if not any(len(pool.indices) for pool in chosen):
            raise DataError(
                "E134",
                f"no row is {side}: `eval_fraction: {fraction}` of {counted(sum(pool.rows for pool in pools), 'row')}",
                place="data.eval_fraction",
                hint="choose another share, or name a held-out file under `data.eval`",
            )
    return train, held_out


def _first_half(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 2)[:, 0].astype(np.uint64)


def refuse_overlap(train: Sequence[Pool], evaluation: Sequence[Pool]) -> None:
    """Raise DataError (E133) if a prompt (for a document: its text) is in both."""
    seen = [pool.column("prompt") for pool in evaluation]
    if not seen:
        return
    places: list[str] = []
    count = 0
    for pool in train:
        shared = pool.where(np.isin(pool.column("prompt"), np.concatenate(seen)))
        count += shared.rows
        places += [pool.shard.dataset[int(index)]["place"] for index in shared.indices[:3]]
    if count:
        raise DataError(
            "E133",
            f"{count:,} training rows have a prompt that is also in the evaluation data: "
            f"{', '.join(places[:3])}",
            place="data.eval",
            why="The evaluation would measure memory",
            hint="remove them from one of the two, or hold rows out with `eval_fraction`",
        )


def weighted(pool: Pool, weight: float, seed: int) -> Pool:
    """Each sequence floor(weight) times, and a seeded choice of them once more for the rest of the weight.

    The choice is the same in every epoch; of a pool that is not empty, at least one sequence is left.
    """
    whole = int(weight)
    extra = round((weight - whole) * len(pool.indices))
    if whole == 0:
        extra = min(max(extra, 1), len(pool.indices))
    return Pool(pool.shard, np.concatenate([pool.indices] * whole + [_some(pool, extra, seed)]))


def by_share(pool: Pool, share: float, every: Sequence[tuple[Pool, float]], seed: int) -> Pool:
    """A seeded choice of a pool's sequences, the same in every epoch, so that they are this share of all.

    `every` holds each pool of the epoch with its share. The pool with the fewest sequences for its share
    determines how large the epoch is: that one is used whole, some sequences of the others are left out, and none is
    repeated.

    Raises:
        DataError: E132, a pool is empty.
    """
    if any(not len(one.indices) for one, _ in every):
        name = next(one.shard.name for one, _ in every if not len(one.indices))
        raise DataError("E132", "no row is left, so no epoch can have its share of them", place=name)
    size = min(len(one.indices) / its_share for one, its_share in every)
    wanted = min(max(round(size * share), 1), len(pool.indices))
    return Pool(pool.shard, _some(pool, wanted, seed))


def _some(pool: Pool, number: int, seed: int) -> np.ndarray:
    """A seeded choice of so many of the pool's indices, in their order."""
    dice = np.random.default_rng([seed, zlib.crc32(pool.shard.name.encode())])
    return np.asarray(pool.indices[np.sort(dice.permutation(len(pool.indices))[:number])])


def permutation(size: int, seed: int) -> list[int]:
    """The numbers below `size` in an order that the seed alone decides; the global random state is not touched."""
    import torch

    order: list[int] = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


def concatenated(pools: Sequence[Pool]) -> datasets.Dataset:
    """One data set over all pools."""
    import datasets

    parts: list[Any] = [pool.dataset() for pool in pools if len(pool.indices)]
    return datasets.concatenate_datasets(parts)
