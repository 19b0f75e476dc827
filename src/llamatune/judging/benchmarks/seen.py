"""Rows of benchmarks in what a model was trained on, and the figures of clean and dirty rows (paper, A.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llamatune.data.contamination.skipgrams import Skipgrams
from llamatune.data.contamination.subsets import CLEAN, DIRTY, LENGTHS, is_affected, subsets
from llamatune.data.contamination.training import trained_on
from llamatune.judging.benchmarks.measure import BenchmarkResult


def seen_in_training(
    run: Path, measured: Sequence[BenchmarkResult], ids: Callable[[str], list[int]]
) -> Iterator[dict[str, Any]]:
    """Of each benchmark, how many of its rows are clean and dirty, and its figure in the four subsets, for each length
    of the stretches.

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
        figures = found.values.get(found.benchmark.figure)
        by_length = []
        for length in LENGTHS:
            shares = one.shares(longer_than=length)
            said: dict[str, Any] = {
                "longer_than": length,
                "clean": sum(share < CLEAN for share in shares),
                "dirty": sum(share >= DIRTY for share in shares),
            }
            if figures is not None and len(figures) == len(shares):
                said["subsets"] = subsets(shares, figures)
            by_length.append(said)
        yield {
            "benchmark": found.title,
            "rows": len(found.texts),
            "files": len(behind.files),
            "missing": len(behind.missing),
            "lengths": by_length,
            "affected": any("subsets" in said and is_affected(said["subsets"]) for said in by_length),
        }
