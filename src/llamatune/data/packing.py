"""Several documents in one sequence, so that little of it is padding. No document sees or predicts another:
`seq_lengths` tells the collator where positions begin again, and the first label of each document is ignored.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llamatune.data.cache import cache_key, stored
from llamatune.data.rows import IGNORED
from llamatune.wording import counted

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

PACKING_VERSION = 2
WINDOW = 512
"""A window of documents that are packed together holds this many sequences' worth of tokens."""


def pack(
    dataset: datasets.Dataset, max_length: int, seed: int, report: Callable[[str], None] = print
) -> datasets.Dataset:
    """Rows `{input_ids, labels, seq_lengths, places}` of at most `max_length` tokens, from rows `{input_ids,
    labels, place}`.

    Documents are shuffled by the seed, then packed window by window: longest first, each into the fullest
    sequence that still has room (best-fit decreasing). The result is kept in the cache and is memory-mapped.

    Raises:
        DiskError: the cache cannot be written.
    """
    import datasets

    def build(folder: Path) -> dict[str, Any]:
        return _write(dataset, max_length, seed, folder / "rows.arrow")

    key = cache_key(PACKING_VERSION, dataset._fingerprint, max_length, seed)
    folder, info = stored("packed", key, build, report)
    fill = info["tokens"] / (info["sequences"] * max_length)
    report(
        f"packed {counted(info['documents'], 'document')} into {counted(info['sequences'], 'sequence')} "
        f"of {counted(max_length, 'token')}, {fill:.1%} full"
    )
    return datasets.Dataset.from_file(str(folder / "rows.arrow"))


def best_fit_decreasing(lengths: np.ndarray, room: int) -> list[list[int]]:
    """Bins of positions in `lengths`, none with a sum above `room`; no length may be above `room`."""
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, bin), ascending
    for position in np.argsort(-lengths, kind="stable"):
        length = int(lengths[position])
        at = bisect_left(free, (length, -1))
        if at == len(free):
            bins.append([])
            left, number = room, len(bins) - 1
        else:
            left, number = free.pop(at)
        bins[number].append(int(position))
        if left > length:
            insort(free, (left - length, number))
    return bins


def _write(dataset: datasets.Dataset, max_length: int, seed: int, path: Path) -> dict[str, Any]:
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    table = dataset.select_columns(["input_ids", "labels", "place"]).with_format("arrow")
    lengths = _lengths(table)
    assert lengths.size and lengths.max() <= max_length, (
        "documents are split or refused before they are packed"
    )
    tokens = pa.list_(pa.int32())
    schema = pa.schema(
        [
            ("input_ids", tokens),
            ("labels", tokens),
            ("seq_lengths", tokens),
            ("places", pa.list_(pa.string())),
        ]
    )
    sequences = 0
    with path.open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for window in _windows(rng.permutation(len(lengths)), lengths, WINDOW * max_length):
            bins = best_fit_decreasing(lengths[window], max_length)
            rng.shuffle(bins)
            stream.write_batch(_packed(table[window], bins, schema))
            sequences += len(bins)
    return {"documents": len(lengths), "sequences": sequences, "tokens": int(lengths.sum())}


def _lengths(table: datasets.Dataset) -> np.ndarray:
    import pyarrow.compute as pc

    batches = table.select_columns(["input_ids"]).iter(batch_size=1000)
    return np.concatenate([pc.list_value_length(batch["input_ids"]).to_numpy() for batch in batches])


def _windows(order: np.ndarray, lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Consecutive parts of `order` that hold about so many tokens each."""
    ends = np.cumsum(lengths[order], dtype=np.int64)
    cuts = np.searchsorted(ends, np.arange(tokens, int(ends[-1]), tokens)) + 1
    yield from (part for part in np.split(order, cuts) if part.size)


def _packed(documents: pa.Table, bins: list[list[int]], schema: pa.Schema) -> pa.RecordBatch:
    """One Arrow batch whose rows are the bins."""
    import pyarrow as pa

    order = np.array([position for one in bins for position in one])
    taken = documents.take(order).combine_chunks()
    input_ids, labels = (taken[name].chunk(0) for name in ("input_ids", "labels"))
    lengths = np.diff(input_ids.offsets.to_numpy())
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    trained = labels.flatten().to_numpy().copy()
    trained[starts] = IGNORED  # a document's first token would be predicted from the document before it
    counts = [len(one) for one in bins]
    bounds = np.concatenate([[0], np.cumsum(counts)])
    token_bounds = pa.array(np.concatenate([[0], np.cumsum(lengths)])[bounds].astype(np.int32))
    columns = [
        pa.ListArray.from_arrays(token_bounds, input_ids.flatten()),
        pa.ListArray.from_arrays(token_bounds, pa.array(trained)),
        pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), pa.array(lengths.astype(np.int32))),
        pa.ListArray.from_arrays(pa.array(bounds.astype(np.int32)), taken["place"].chunk(0)),
    ]
    return pa.record_batch(columns, schema=schema)
