"""Which encoded sequences are trained on, evaluated on, how often and in which order.

All are choices of numbers, never copies of rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from llamatune.data.store import Shard
from llamatune.errors import DataError
from llamatune.wording import counted, with_word

if TYPE_CHECKING:
    import datasets

_Item = TypeVar("_Item")
_AT_ONCE = 1 << 18
"""About how many sequences are looked at, or digests compared, at a time."""


@dataclass(frozen=True)
class Pool:
    """Some sequences of a shard. `indices` are positions in the shard, ascending until weights repeat
    them."""

    shard: Shard
    indices: np.ndarray

    @classmethod
    def of(cls, shard: Shard) -> Pool:
        count = shard.count
        # Half of what numpy would take, where there are millions of rows.
        return cls(shard, np.arange(count, dtype=np.uint32 if count < 2**32 else np.uint64))

    @property
    def rows(self) -> int:
        """Distinct rows of the source; a long document has several sequences."""
        rows = self.column("row")
        seen = np.zeros(int(rows.max(initial=0)) + 1, dtype=bool)
        seen[rows] = True
        return int(seen.sum()) if len(rows) else 0

    def column(self, name: str) -> np.ndarray:
        """Of small numbers; digests are most of what is known about a sequence, and are looked at in `parts`."""
        parts = [*self.parts(name)]
        return np.concatenate(parts) if parts else self.shard.known(name, self.indices)

    def parts(self, name: str) -> Iterator[np.ndarray]:
        """A column in parts of at most `_AT_ONCE`."""
        for start in range(0, len(self.indices), _AT_ONCE):
            yield self.shard.known(name, self.indices[start : start + _AT_ONCE])

    def where(self, mask: np.ndarray) -> Pool:
        return Pool(self.shard, self.indices[mask])

    def dataset(self) -> datasets.Dataset:
        """The sequences, as a view of the memory-mapped shard."""
        return self.shard.view(self.indices)


def evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of some items, from their whole length, in their order."""
    number = min(most, len(items))
    return [items[at * len(items) // number] for at in range(number)]


def without_shared(pools: Sequence[Pool]) -> tuple[list[Pool], list[int]]:
    """The pools without the rows that an earlier pool has, too, and how many rows each of them lost."""
    masks = [np.ones(len(pool.indices), dtype=bool) for pool in pools]
    parts = -(-sum(map(len, masks)) // _AT_ONCE) if len(pools) > 1 else 0
    for part in range(parts):
        _mark_shared(pools, masks, part, parts)
    kept = [pool if mask.all() else pool.where(mask) for pool, mask in zip(pools, masks, strict=True)]
    return kept, [pool.rows - left.rows for pool, left in zip(pools, kept, strict=True)]


def _mark_shared(pools: Sequence[Pool], masks: Sequence[np.ndarray], part: int, parts: int) -> None:
    """Clear each mask where an earlier pool has the same digest, of the digests that fall into one of so many parts."""
    found = []
    for number, pool in enumerate(pools):
        for block_number, block in enumerate(pool.parts("digest")):
            here = np.flatnonzero(_first_half(block) % np.uint64(parts) == part)
            found.append((block[here], np.full(len(here), number), here + block_number * _AT_ONCE))
    every, owner, place = (np.concatenate(column) for column in zip(*found, strict=True))
    # A stable order keeps the first owner of a digest first.
    order = np.argsort(every, kind="stable")
    every, owner, place = every[order], owner[order], place[order]
    begins = np.ones(len(every), dtype=bool)
    begins[1:] = every[1:] != every[:-1]
    first = owner[begins][np.cumsum(begins) - 1]
    for shared in np.flatnonzero(owner != first):
        masks[owner[shared]][place[shared]] = False


def hold_out(
    pools: Sequence[Pool], fraction: float, report: Callable[[str], None] = lambda text: None
) -> tuple[list[Pool], list[Pool]]:
    """(training, held-out) pools. A row's side depends only on its prompt's content, so it does not move when rows are
    added, and equal prompts are never on both sides. Even of few rows, at least one is held out.

    Args:
        report: is told if far more rows are held out than the fraction says, since they have few prompts.

    Raises:
        DataError: E134, no row falls on one of the sides, or most of them are held out for want of prompts.
    """
    halves = (_first_half(part) for pool in pools for part in pool.parts("prompt"))
    smallest = min((half.min() for half in halves), default=np.uint64(0))
    limit = _limit(fraction, smallest)
    masks = [_mask(_first_half(part) <= limit for part in pool.parts("prompt")) for pool in pools]
    train = [pool.where(~mask) for pool, mask in zip(pools, masks, strict=True)]
    held_out = [pool.where(mask) for pool, mask in zip(pools, masks, strict=True)]
    for side, chosen in (("held out", held_out), ("left to train on", train)):
        if not any(len(pool.indices) for pool in chosen):
            raise DataError(
                "E134",
                f"no row is {side}: `eval_fraction: {fraction}` of {counted(sum(pool.rows for pool in pools), 'row')}",
                place="data.eval_fraction",
                hint=_OTHER_WAYS,
            )
    _check_held_out(held_out, sum(pool.rows for pool in pools), fraction, report)
    return train, held_out


_OTHER_WAYS = (
    "hold none out with `data.eval_fraction=0`, or name a held-out file under `data.eval` in place of it"
)


def _check_held_out(
    held_out: Sequence[Pool], rows: int, fraction: float, report: Callable[[str], None]
) -> None:
    """What is held out is about the fraction, unless many rows have one prompt."""
    held = sum(pool.rows for pool in held_out)
    if held <= _FAR * fraction * rows:
        return
    prompts = len(
        np.unique(np.concatenate([_first_half(p) for pool in held_out for p in pool.parts("prompt")]))
    )
    if prompts == held:
        return
    asked = f"`eval_fraction: {fraction}` asks for {fraction * rows:.0f}"
    what = f"{held:,} of {counted(rows, 'row')} are held out, where {asked}"
    why = f"rows with equal prompts stay together, and these have {counted(prompts, 'prompt')}"
    if held > max(fraction, 0.5) * rows:
        raise DataError("E134", what, place="data.eval_fraction", why=why.capitalize(), hint=_OTHER_WAYS)
    report(f"warning: {what}: {why}")


_FAR = 2
"""How many times the fraction may be held out without a word: chance makes it differ, too."""


def _limit(fraction: float, smallest: np.uint64) -> np.uint64:
    """Prompts whose digest is not above this are held out."""
    return max(np.uint64(int(fraction * 2**64)), smallest)


def held_out_rows(prompts: np.ndarray, fraction: float) -> int:
    """How many rows `hold_out` holds out. `prompts`: the first half of each row's digest of its prompt."""
    if not len(prompts):
        return 0
    return int((prompts <= _limit(fraction, prompts.min())).sum())


def _mask(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


def _first_half(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 2)[:, 0].astype(np.uint64)


def refuse_overlap(train: Sequence[Pool], evaluation: Sequence[Pool]) -> None:
    """Raise DataError (E133) if a prompt (for a document: its text) is in both."""
    blocks = [block for pool in evaluation for block in pool.parts("prompt")]
    if not blocks:
        return
    seen = np.unique(np.concatenate(blocks))
    places: list[str] = []
    count = 0
    for pool in train:
        shared = pool.where(_mask(_is_in(block, seen) for block in pool.parts("prompt")))
        count += shared.rows
        places += [pool.shard.dataset[int(index)]["place"] for index in shared.indices[: 3 - len(places)]]
    if count:
        raise DataError(
            "E133",
            f"{counted(count, 'training row has', 'training rows have')} a prompt that is also in the evaluation data: "
            f"{', '.join(places[:3])}",
            place="data.eval",
            why="The evaluation would measure memory",
            hint="remove them from one of the two, or hold rows out with `eval_fraction`",
        )


def _is_in(digests: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Which of the digests are among those that are in ascending order."""
    at = np.searchsorted(ascending, digests)
    return np.asarray(ascending[np.minimum(at, len(ascending) - 1)] == digests)


def weighted(pool: Pool, weight: float, seed: int) -> Pool:
    """Each sequence floor(weight) times, and a seeded choice of them once more for the rest of the weight.

    The choice is the same in every epoch; of a pool that is not empty, at least one sequence is left.
    """
    whole = int(weight)
    extra = round((weight - whole) * len(pool.indices))
    if whole == 0:
        extra = min(max(extra, 1), len(pool.indices))
    if (whole, extra) == (1, 0):
        return pool
    return Pool(pool.shard, np.concatenate([pool.indices] * whole + [_some(pool, extra, seed)]))


def epoch_size(every: Sequence[tuple[Pool, float]]) -> float:
    """How many sequences an epoch has in which each pool has its share.

    The pool with the fewest for its share is used whole, some of the others' are left out, and none is repeated.

    Raises:
        DataError: E132, a pool is empty.
    """
    empty = next((pool for pool, _ in every if not len(pool.indices)), None)
    if empty is not None:
        raise DataError(
            "E132", "no row is left, so no epoch can have its share of them", place=empty.shard.name
        )
    return min(len(pool.indices) / share for pool, share in every)


def by_share(pool: Pool, share: float, size: float, seed: int) -> Pool:
    """A seeded choice of a pool's sequences, the same in every epoch, so that they are this share of so many."""
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


def concatenated(pools: Sequence[Pool], say: Callable[[str], None] = lambda text: None) -> datasets.Dataset:
    """One data set over all pools. `say` is told how far it is, where there are many."""
    import datasets

    used = [pool for pool in pools if len(pool.indices)]
    parts: list[Any] = [pool.dataset() for pool in with_word(used, "source", "joined", say)]
    return datasets.concatenate_datasets(parts)
