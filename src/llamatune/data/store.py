"""One source, encoded: an Arrow file of token ids and labels, and a table of numbers about each sequence.

A shard is in the cache under the hash of everything that made it: the file's bytes, format and columns, the
encoder, the policies and DATA_VERSION. Both files are memory-mapped, rows go through in batches, and
duplicates are found by 16-byte digests, so memory stays flat however large the source is.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llamatune.data.cache import cache_key, stored
from llamatune.data.clean.near import SeenNearly
from llamatune.data.digests import SeenDigests, row_digests
from llamatune.data.read.sources import OpenSource
from llamatune.data.rows import (
    BAD_ROW,
    Adjustment,
    Document,
    Encoded,
    Encoder,
    Pair,
    Reason,
    Row,
    RowRejected,
)
from llamatune.errors import DataError, ModelError, Problem
from llamatune.recipe.blocks import Kind

if TYPE_CHECKING:
    import datasets

DATA_VERSION = 7
"""Part of every cache key: raise it when the same row would be stored differently."""

_ENCODED_BY = ("transformers", "tokenizers")
"""Libraries, another version of which may make other tokens of a text."""
BATCH_TOKENS = 1 << 18
MAX_BAD_ROWS = 3
"""How many bad rows are shown at once."""

_BAD_ROWS = {
    "E103": "not valid Unicode",
    "E106": "broken JSON",
    "E107": "not an object of columns",
    "E108": "a wrong number of cells",
    "E122": "a column is missing",
    "E123": "a value of a wrong type",
    "E124": "an unknown role, or tools",
    "E125": "roles in the wrong order",
    "E126": "empty content",
    "E128": "an unknown label",
    "E129": "replies to different prompts",
    "E211": "control tokens",
    "E212": "refused by the chat template",
    "E213": "no trained token",
    "E214": "rewritten by the chat template",
}
"""What is counted of rows that are left out under `on_bad_row: drop`."""

SEQUENCE = np.dtype(
    [
        ("row", "u4"),
        ("digest", "S16"),
        ("prompt", "S16"),
        ("tokens", "u4"),
        ("trained", "u4"),
        ("escaped", "u4"),
        ("altered", "u4"),
        ("default_system", "?"),
        ("truncated", "?"),
    ]
)
"""What is known about each sequence: its row in the source, the digests of the whole row and of the part up
to the last reply, and its counts. A pair is one sequence: prompt, chosen and rejected reply."""


@dataclass(frozen=True)
class Shard:
    """An encoded source in the cache. `info` holds its counts: read, dropped and adjusted by reason, and the first rows
    that were too long or bad."""

    name: str
    folder: Path
    info: dict[str, Any]

    @property
    def count(self) -> int:
        """How many sequences it has: rows of `dataset`."""
        return self._table.stat().st_size // SEQUENCE.itemsize

    def known(self, name: str, indices: np.ndarray) -> np.ndarray:
        """A field of the `SEQUENCE` records of some rows of `dataset`."""
        if not len(indices):
            return np.zeros(0, SEQUENCE[name])
        # Mapped anew each time: pages once read would stay, and be the whole file in the end.
        return np.asarray(np.memmap(self._table, SEQUENCE, "r")[name][indices])

    @property
    def _table(self) -> Path:
        return self.folder / "sequences.bin"

    @cached_property
    def dataset(self) -> datasets.Dataset:
        import datasets

        rows = datasets.Dataset.from_file(str(self.folder / "rows.arrow"))
        # Not by the file's path and time, as it comes: what is packed of these rows is found again by it.
        rows._fingerprint = self.folder.name
        return rows

    def view(self, indices: np.ndarray) -> datasets.Dataset:
        """Some rows of `dataset`, in this order. What `Dataset.select` gives, without its list of Python numbers on the
        way, which takes forty bytes a row."""
        import datasets
        import pyarrow as pa
        from datasets.table import InMemoryTable

        rows = self.dataset
        if not len(indices) or np.array_equal(indices, np.arange(indices[0], indices[0] + len(indices))):
            first = int(indices[0]) if len(indices) else 0
            return rows.select(range(first, first + len(indices)))
        return datasets.Dataset(
            rows.data,
            info=rows.info.copy(),
            split=rows.split,
            indices_table=InMemoryTable(pa.table({"indices": pa.array(indices, pa.uint64())})),
            fingerprint=hashlib.sha256(self.folder.name.encode() + indices.tobytes()).hexdigest()[:16],
        )

    @cached_property
    def pairs(self) -> np.ndarray:
        """(sequences, 6): a `Pair` for each row of `dataset`; (sequences, 0) if the rows are not pairs."""
        if "pair" not in self.dataset.column_names:
            return np.zeros((self.count, 0), dtype=np.int32)
        column = self.dataset.data.column("pair")
        flat = [chunk.flatten().to_numpy() for chunk in column.chunks]
        return np.concatenate(flat or [np.zeros(0, dtype=np.int32)]).reshape(-1, len(Pair._fields))


def encode_source(
    source: OpenSource,
    encoder: Encoder,
    *,
    kind: Kind,
    deduplicate: bool,
    max_length: int,
    drop_bad_rows: bool = False,
    drop_near: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Shard:
    """The source's shard, from the cache or newly encoded. Bad rows are left out and counted where the recipe says so.

    Args:
        drop_near: leave out documents that are nearly the same as an earlier one.
        say: is told about a shard that is damaged and made again.

    Raises:
        DataError: broken files and rows; up to three bad rows are reported together.
        DiskError: the cache cannot be written.
    """
    # Named where it is asked for only: all other shards stay what they were.
    near = [metadata.version("datasketch")] if drop_near else []
    key = cache_key(
        DATA_VERSION,
        source.fingerprint,
        source.name,
        encoder.fingerprint,
        kind,
        deduplicate,
        max_length,
        drop_bad_rows,
        # Looked up in files: all that `environment` knows would take a third of the time of a small source.
        [metadata.version(name) for name in _ENCODED_BY],
        *near,
    )

    def build(folder: Path) -> dict[str, Any]:
        built = _Build(source, encoder, kind, deduplicate, max_length, drop_bad_rows)
        if not drop_near:
            return built.write(folder)
        with SeenNearly(folder) as built.nearly:
            return built.write(folder)

    folder, info = stored("tokens", key, build, say)
    return Shard(source.name, folder, info)


class _Build:
    """Encodes one source. The counts grow while `write` runs."""

    def __init__(
        self,
        source: OpenSource,
        encoder: Encoder,
        kind: Kind,
        deduplicate: bool,
        max_length: int,
        drop_bad_rows: bool,
    ) -> None:
        self.source = source
        self.encoder = encoder
        self.kind = kind
        self.deduplicate = deduplicate
        self.max_length = max_length
        self.drop_bad_rows = drop_bad_rows
        self.nearly: SeenNearly | None = None
        """Tells documents that are nearly the same, where they are left out."""
        self.read = 0
        self.dropped: Counter[str] = Counter()
        self.adjusted: Counter[Adjustment] = Counter()
        self.too_long_places: list[str] = []
        self.longest_dropped = 0
        self.bad_rows: list[str] = []

    def write(self, folder: Path) -> dict[str, Any]:
        with _Writer(folder, self.source.name, self.kind) as writer, SeenDigests(folder) as seen:
            for number, row, digests in self._rows(seen):
                try:
                    sequences = list(self.encoder.encode(row))
                    self._check_length(sequences)
                except RowRejected as rejected:
                    self._drop(rejected, row.place)
                    continue
                except (DataError, ModelError) as error:
                    if not self.drop_bad_rows:
                        raise
                    self._drop_bad(error)
                    continue
                for sequence in sequences:
                    writer.add(number, row.place, digests, sequence)
        return {
            "read": self.read,
            "dropped": dict(self.dropped),
            "adjusted": {adjustment.value: count for adjustment, count in self.adjusted.items()},
            "too_long_places": self.too_long_places,
            "longest_dropped": self.longest_dropped,
            "bad_rows": self.bad_rows,
        }

    def _rows(self, seen: SeenDigests) -> Iterator[tuple[int, Row, tuple[bytes, bytes]]]:
        """Canonical rows that are not duplicates, with their numbers and digests."""
        problems: list[Problem] = []
        skip = self._skip if self.drop_bad_rows else None
        for number, (place, raw) in enumerate(self.source.rows(skip)):
            self.read += 1
            try:
                row = self.source.canonical(raw, place, self.adjusted)
                digests = row_digests(row)
            except RowRejected as rejected:
                self._drop(rejected, place)
                continue
            except DataError as error:
                if self.drop_bad_rows:
                    self._drop_bad(error)
                    continue
                problems += error.problems
                if len(problems) >= MAX_BAD_ROWS:
                    break
                continue
            if self.deduplicate and not seen.is_new(digests[0]):
                self.dropped[Reason.DUPLICATE.value] += 1
                continue
            if self.nearly is not None and isinstance(row, Document) and not self.nearly.is_new(row.text):
                self.dropped[Reason.NEAR_DUPLICATE.value] += 1
                continue
            if not problems:  # a run that will be refused needs no tokens
                yield number, row, digests
        if problems:
            raise DataError.of(problems)

    def _check_length(self, sequences: list[Encoded]) -> None:
        longest = max((sequence.length for sequence in sequences), default=0)
        # Under `too_long: error`, encoders leave it to `prepare`, which counts them all.
        if longest > self.max_length:
            raise RowRejected(Reason.TOO_LONG, longest)

    def _drop(self, rejected: RowRejected, place: str) -> None:
        self.dropped[rejected.reason.value] += 1
        if rejected.reason is Reason.TOO_LONG:
            self.longest_dropped = max(self.longest_dropped, rejected.tokens)
            if len(self.too_long_places) < 3:
                self.too_long_places.append(place)

    def _skip(self, error: DataError) -> None:
        """A line that is not a row counts as one that was read."""
        self.read += 1
        self._drop_bad(error)

    def _drop_bad(self, error: DataError | ModelError) -> None:
        problem = error.problems[0]
        self.dropped[f"{BAD_ROW}{_BAD_ROWS.get(problem.code, problem.code)}"] += 1
        if len(self.bad_rows) < MAX_BAD_ROWS:
            self.bad_rows.append(f"{problem.place}: {problem.what} ({problem.code})")


class _Writer:
    """Writes `rows.arrow` and `sequences.bin` in batches of about BATCH_TOKENS tokens. Some kinds have further
    columns, which are fields of `Encoded`: preferences their `Pair`, scored and labelled rows their score, prompts
    their messages."""

    def __init__(self, folder: Path, source: str, kind: Kind) -> None:
        import pyarrow as pa

        tokens = pa.list_(pa.int32())
        fields = [
            ("input_ids", tokens),
            ("labels", tokens),
            ("source", pa.string()),
            ("row", pa.int64()),
            ("place", pa.string()),
        ]
        messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
        more: dict[Kind, list[tuple[str, pa.DataType]]] = {
            "preferences": [("pair", tokens)],
            "scores": [("score", pa.float32())],
            "labels": [("score", pa.float32())],
            "prompts": [
                ("prompt", messages),
                ("is_safety", pa.bool_()),
                ("category", pa.string()),
                ("attack", pa.string()),
                ("reference", pa.string()),
            ],
        }
        self._schema = pa.schema([*fields, *more.get(kind, [])])
        self._more = [name for name, _ in more.get(kind, [])]
        self._source = source
        self._table = (folder / "sequences.bin").open("wb")
        self._file = (folder / "rows.arrow").open("wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        self._clear()

    def _clear(self) -> None:
        self._input_ids, self._labels = array("i"), array("i")
        self._offsets = [0]
        self._rows: list[int] = []
        self._places: list[str] = []
        self._known: dict[str, list[Any]] = {name: [] for name in self._more}
        self._sequences: list[tuple[Any, ...]] = []

    def add(self, number: int, place: str, digests: tuple[bytes, bytes], encoded: Encoded) -> None:
        length = len(encoded.input_ids)
        assert length == len(encoded.labels) > 0, f"{place}: {length} tokens, {len(encoded.labels)} labels"
        self._input_ids.extend(encoded.input_ids)
        self._labels.extend(encoded.labels)
        self._offsets.append(len(self._input_ids))
        self._rows.append(number)
        self._places.append(place)
        for name, known in self._known.items():
            known.append(getattr(encoded, name))
        self._sequences.append(
            (
                number,
                *digests,
                length,
                encoded.trained,
                encoded.escaped,
                encoded.altered,
                encoded.default_system,
                encoded.truncated,
            )
        )
        if len(self._input_ids) >= BATCH_TOKENS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._rows:
            return
        offsets = pa.array(self._offsets, pa.int32())

        def lists(values: array[int]) -> Any:
            return pa.ListArray.from_arrays(offsets, pa.array(np.frombuffer(values, dtype=np.int32)))

        columns = [
            lists(self._input_ids),
            lists(self._labels),
            pa.array([self._source] * len(self._rows)),
            pa.array(self._rows, pa.int64()),
            pa.array(self._places, pa.string()),
        ]
        columns += [pa.array(known, self._schema.field(name).type) for name, known in self._known.items()]
        self._stream.write_batch(pa.record_batch(columns, schema=self._schema))
        self._table.write(np.array(self._sequences, dtype=SEQUENCE).tobytes())
        self._clear()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._stream.close()
        self._file.close()
        self._table.close()
