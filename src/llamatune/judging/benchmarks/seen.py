"""Rows of benchmarks in what a model was trained on, and the figures of clean and dirty rows (paper, A.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llamatune.data.contamination.skipgrams import Skipgrams
from llamatune.data.contamination.subsets import CLEAN, DIRTY, LENGTHS, is_affected, subsets
from llamatune.data.contamination.training import trained_on
from llamatune.judging.benchmarks.measure import BenchmarkResult
from llamatune.wording import counted


def seen_in_training(
    run: Path, measured: Sequence[BenchmarkResult], ids: Callable[[str], list[int]]
) -> Iterator[dict[str, Any]]:
    """Of each benchmark, how many of its rows are clean and dirty as far as the files could be read, and its figure in
    the four subsets, for each length of the stretches. None of these where no file could be read; whether it is
    `affected` is None, too, where what was read does not affect it and some files are missing.

    Args:
        run: the folder of the run that made the model; of one that is no run, nothing is known.
        ids: tokens of a text.
    """
    behind = trained_on([run])
    if not behind.files and not behind.missing:
        return
    rows = [Skipgrams([ids(text) for text in one.texts]) for one in measured]
    for text in behind.texts():
        tokens = ids(text)
        for one in rows:
            one.read(tokens)
    for found, one in zip(measured, rows, strict=True):
        affected = False
        figures = found.values.get(found.benchmark.figure)
        by_length = []
        for length in LENGTHS:
            shares = one.shares(longer_than=length)
            said: dict[str, Any] = {"longer_than": length, "clean": None, "dirty": None}
            if behind.files:
                said["clean"] = sum(share < CLEAN for share in shares)
                said["dirty"] = sum(share >= DIRTY for share in shares)
                if figures is not None and len(figures) == len(shares):
                    said["subsets"] = subsets(shares, figures)
                    affected |= is_affected(said["subsets"])
            by_length.append(said)
        yield {
            "benchmark": found.title,
            "rows": len(found.texts),
            "files": len(behind.files),
            "missing": len(behind.missing),
            "lengths": by_length,
            "affected": affected or (None if behind.missing or "subsets" not in by_length[0] else False),
        }


def unread(seen: Sequence[Mapping[str, Any]]) -> str:
    """In words, what nothing is known of; nothing where all files were read."""
    if not seen:
        return (
            "what it was trained on is not known, so whether rows of benchmarks were among it is not either"
        )
    files, missing = seen[0]["files"], seen[0]["missing"]
    if not missing:
        return ""
    return (
        f"{missing:,} of {counted(files + missing, 'file')} that it was trained on {'is' if missing == 1 else 'are'} "
        "gone or not what they were: rows of benchmarks that they hold are not found"
    )
