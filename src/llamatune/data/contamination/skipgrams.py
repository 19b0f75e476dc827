"""Which tokens of some rows are in training data, too: skip-grams, as in appendix A.6 of the paper. Pure.

    seen = Skipgrams(rows)              # token ids of each row of a benchmark
    for tokens in documents:            # token ids of each text that was trained on, in any order
        seen.read(tokens)
    seen.shares(longer_than=10)         # of each row, the share of its tokens that are contaminated

A token is contaminated if it is in a stretch of more than `longer_than` tokens that the row and a text have in common.
The two may differ in four places of a stretch, but not in its first ten tokens, nor in its last one. A token that
differs is not contaminated itself (the paper does not say).

The index is over the rows, which are few, and the training data only streams by: any amount of it, in the memory of one
text. Longer stretches are known as soon as shorter ones are, so that all of the paper's lengths (10 to 50) cost one
reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

FIRST = 10
"""Tokens that have to agree before any may differ."""
BUDGET = 4
"""How many tokens of a stretch may differ."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_APART = -1
"""Between two rows; no token of a text."""
_AHEAD = 64
"""Tokens that are compared at first; four times as many where all of them are in the stretch."""


class Skipgrams:
    """Rows, and what of them has been seen.

    Args:
        rows: token ids, none below 0.
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.sizes = [len(row) for row in rows]
        # All rows end to end, each followed by a mark that agrees with nothing.
        self._ids = np.array([token for row in rows for token in (*row, _APART)], dtype=np.int64)
        self._longest = np.zeros(len(self._ids), dtype=np.int64)
        self._reach = np.zeros(len(self._ids), dtype=np.int64)
        ends = np.cumsum([size + 1 for size in self.sizes]) - 1 if self.sizes else np.zeros(0, np.int64)
        self._ends = np.repeat(ends, [size + 1 for size in self.sizes]) if self.sizes else ends
        hashes = _hashes(self._ids)
        whole = np.ones(len(hashes), dtype=bool)
        for after in range(FIRST):
            whole &= self._ids[after : after + len(hashes)] != _APART
        starts = np.flatnonzero(whole)
        order = np.argsort(hashes[starts], kind="stable")
        self._starts, self._hashes = starts[order], hashes[starts][order]

    def read(self, tokens: Sequence[int]) -> None:
        """Compare the rows with a text that was trained on."""
        text = np.asarray(tokens, dtype=np.int64)
        for start, at in self._common(text):
            # What begins here is known to go on to the row's end already.
            if start + self._reach[start] < self._ends[start]:
                self._mark(start, text[at:])

    def shares(self, *, longer_than: int = FIRST) -> list[float]:
        """Of each row, the share of its tokens in stretches longer than this; 0 of an empty row."""
        dirty = self._longest > longer_than
        found, at = [], 0
        for size in self.sizes:
            found.append(float(dirty[at : at + size].mean()) if size else 0.0)
            at += size + 1
        return found

    def found(self) -> dict[int, int]:
        """What has been seen so far: positions in the rows laid end to end, and the longest stretch at each."""
        there = np.flatnonzero(self._longest)
        return dict(zip(there.tolist(), self._longest[there].tolist(), strict=True))

    def add(self, found: Mapping[int, int]) -> None:
        """What was seen of other texts, by other `Skipgrams` of the same rows."""
        there = np.fromiter(found.keys(), np.int64, len(found))
        self._longest[there] = np.maximum(
            self._longest[there], np.fromiter(found.values(), np.int64, len(found))
        )

    def _common(self, text: np.ndarray) -> Iterator[tuple[int, int]]:
        """Where `FIRST` tokens of a row and of the text agree, and those before them do not: (in the rows, in the
        text)."""
        hashes = _hashes(text)
        if not len(hashes) or not len(self._hashes):
            return
        first = np.searchsorted(self._hashes, hashes, side="left")
        last = np.searchsorted(self._hashes, hashes, side="right")
        for at in np.flatnonzero(first < last):
            for start in self._starts[first[at] : last[at]]:
                goes_on = at > 0 and start > 0 and self._ids[start - 1] == text[at - 1]
                if goes_on and np.array_equal(
                    self._ids[start - 1 : start - 1 + FIRST], text[at - 1 : at - 1 + FIRST]
                ):
                    continue
                if np.array_equal(self._ids[start : start + FIRST], text[at : at + FIRST]):
                    yield int(start), int(at)

    def _mark(self, start: int, text: np.ndarray) -> None:
        """Note the longest stretch that begins here."""
        most = min(int(self._ends[start]) - start, len(text))
        ahead = _AHEAD
        while True:
            size = min(ahead, most)
            same = self._ids[start : start + size] == text[:size]
            wrong = np.flatnonzero(~same)
            if len(wrong) > BUDGET or size == most:
                break
            ahead *= 4
        end = int(wrong[BUDGET]) if len(wrong) > BUDGET else size
        end = int(np.flatnonzero(same[:end])[-1]) + 1
        self._reach[start] = max(self._reach[start], end)
        there = np.flatnonzero(same[:end]) + start
        self._longest[there] = np.maximum(self._longest[there], end)


def _hashes(ids: np.ndarray) -> np.ndarray:
    """(tokens - FIRST + 1,) uint64: of each `FIRST` tokens in a row. What is equal has equal ones."""
    number = max(len(ids) - FIRST + 1, 0)
    found = np.zeros(number, dtype=np.uint64)
    tokens = ids.astype(np.uint64)
    with np.errstate(over="ignore"):
        for after in range(FIRST):
            found = found * _BASE + (tokens[after : after + number] + np.uint64(1))
    return found
