"""What a whole data file is like for a stage and a tokenizer: how long its rows are, and which cannot be used.

`llamatune init` writes a recipe from these figures, so that the first `run` does not fail because of something that a
look at the file would have shown.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from llamatune.data.digests import SeenDigests, row_digests
from llamatune.data.read.sources import OpenSource
from llamatune.data.rows import Encoder, Reason, RowRejected
from llamatune.errors import DataError, LlamatuneError, ModelError

_SHOWN = 3


@dataclass
class Measured:
    """A file's rows, one by one. `lengths`: the tokens of those that can be used, as `max_length` counts them,
    sorted."""

    rows: int = 0
    lengths: list[int] = field(default_factory=list)
    left_out: Counter[Reason] = field(default_factory=Counter)
    bad: int = 0
    """Rows that cannot be read or encoded."""
    first_bad: list[str] = field(default_factory=list)
    first_hint: str | None = None
    """How the first of them can be mended."""
    duplicates: int = 0
    cut: int = 0
    """Rows that are used in part, since they are too long."""
    prompts: array[int] = field(default_factory=lambda: array("Q"))
    """Of each row that can be used, the first half of the digest of its prompt, by which rows are held out."""
    context: int = 1 << 20
    """The longest row that the base can read."""

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def longest(self) -> int:
        return self.lengths[-1] if self.lengths else 0

    def longer_than(self, length: int) -> int:
        return sum(one > length for one in self.lengths)


def measure(
    source: OpenSource, encoder: Encoder, *, tick: Callable[[int], None] = lambda rows: None
) -> Measured:
    """Read and encode every row.

    Args:
        encoder: with `too_long: error`, long rows are not cut, and their lengths are those that they have.
        tick: called with the rows so far, for a progress bar.

    Raises:
        DataError: the file itself cannot be read; bad rows are counted instead.
    """
    with TemporaryDirectory() as folder, SeenDigests(Path(folder)) as seen:
        return _measure(source, encoder, tick, seen)


def _measure(
    source: OpenSource, encoder: Encoder, tick: Callable[[int], None], seen: SeenDigests
) -> Measured:
    found = Measured()

    def bad(error: LlamatuneError) -> None:
        found.bad += 1
        found.first_hint = found.first_hint or error.problems[0].hint
        if len(found.first_bad) < _SHOWN:
            problem = error.problems[0]
            found.first_bad.append(f"{problem.place}: {problem.what} [{problem.code}]")

    for place, raw in source.rows(bad):
        found.rows += 1
        tick(found.rows)
        try:
            row = source.canonical(raw, place)
            digest, prompt = row_digests(row)
            if not seen.is_new(digest):
                found.duplicates += 1
                continue
            encoded = list(encoder.encode(row))
        except RowRejected as rejected:
            found.left_out[rejected.reason] += 1
        except (DataError, ModelError) as error:
            bad(error)
        else:
            found.lengths += [one.length for one in encoded]
            found.cut += any(one.truncated for one in encoded)
            found.prompts.append(int.from_bytes(prompt[:8], "big"))
    found.lengths.sort()
    return found


def shares(lengths: Sequence[int]) -> str:
    """For a comment: the middle and the end of a list of lengths."""
    half, most = lengths[len(lengths) // 2], lengths[int(len(lengths) * 0.99)]
    return f"half of the rows have at most {half:,} tokens, 99% at most {most:,}, the longest has {lengths[-1]:,}"
