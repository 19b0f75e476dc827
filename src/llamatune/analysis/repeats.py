"""Which documents repeat another one, from the signatures of all of them.

The signatures are kept in a file of numbers that is mapped into memory; the groups need about 60 bytes of memory a
document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llamatune.data.clean.near import COLUMNS, NOTHING


@dataclass(frozen=True)
class Repeated:
    """Documents that repeat another one.

    `copies`: how many are not the first of their group. `groups`: how many groups of more than one there are; `sizes`:
    how many groups there are of each size. `first`: of some of the largest groups, the numbers of two documents.
    """

    copies: int
    groups: int
    sizes: dict[int, int]
    first: list[tuple[int, int]]


_SHOWN = 5


def write_signatures(signatures: Iterable[list[int]], number: int, file: Path) -> np.ndarray:
    """(COLUMNS, documents), mapped from a file."""
    table = np.memmap(file, np.uint64, "w+", shape=(COLUMNS, max(number, 1)))
    table[:] = NOTHING
    for block_start, block in _blocks(signatures):
        table[:, block_start : block_start + len(block)] = np.array(block, np.uint64).T
    return table[:, :number]


def _blocks(signatures: Iterable[list[int]], size: int = 4096) -> Iterator[tuple[int, list[list[int]]]]:
    start, block = 0, []
    for signature in signatures:
        block.append(signature)
        if len(block) == size:
            yield start, block
            start, block = start + size, []
    if block:
        yield start, block


def repeated(columns: np.ndarray) -> Repeated:
    """The groups of documents that agree in at least one of these columns, directly or through others."""
    number = columns.shape[1]
    label = np.arange(number)
    changed = True
    while changed:
        changed = False
        for column in columns:
            changed |= _join(np.asarray(column), label)
    _, first, sizes = np.unique(label, return_index=True, return_counts=True)
    large = np.flatnonzero(sizes > 1)
    largest = large[np.argsort(-sizes[large], kind="stable")][:_SHOWN]
    pairs = [tuple(np.flatnonzero(label == label[first[group]])[:2].tolist()) for group in largest]
    return Repeated(
        copies=int((sizes[large] - 1).sum()),
        groups=len(large),
        sizes=dict(sorted(Counter(sizes[large].tolist()).items())),
        first=[(one, other) for one, other in pairs],
    )


def _join(values: np.ndarray, label: np.ndarray) -> bool:
    """Give documents of one value the smallest label among them; returns whether a label changed."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.ones(len(ordered), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]) | (ordered[1:] == NOTHING)
    if begins.all():
        return False
    at = np.flatnonzero(begins)
    smallest = np.minimum.reduceat(label[order], at)
    new = np.empty_like(label)
    new[order] = smallest[np.cumsum(begins) - 1]
    changed = bool((new != label).any())
    label[:] = new
    return changed


def agreement_of(judgements: np.ndarray) -> tuple[int, int]:
    """Of pairs that were judged several times: how many pairs of judgements there are, and how many of them agree.

    Args:
        judgements: a number for each judgement, even or odd by which reply was preferred, and otherwise the same for
            the same two replies to the same prompt; NOTHING for none.
    """
    known = np.sort(judgements[judgements != NOTHING])
    if not len(known):
        return 0, 0
    _, at, times = np.unique(known >> np.uint64(1), return_index=True, return_counts=True)
    second = np.add.reduceat((known & np.uint64(1)).astype(np.int64), at)
    first = times - second
    agreeing = first * (first - 1) // 2 + second * (second - 1) // 2
    return int((times * (times - 1) // 2).sum()), int(agreeing.sum())
