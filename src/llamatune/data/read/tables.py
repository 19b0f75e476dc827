"""Rows of Parquet files, and of the Arrow files that the hub's library keeps."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from llamatune.data.formats.values import repeated_key
from llamatune.data.read.json_array import excerpt
from llamatune.data.read.limits import check_expansion, check_rows
from llamatune.errors import DataError, gate
from llamatune.outside import RepeatedKeyError, parse_json, there_twice

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Iterator[tuple[str, dict[str, Any]]]

_BATCH = 128
"""Rows that are in memory at a time."""

_ONE_IS_READ = "Only one of the two would be read"


def parquet_rows(handle: IO[bytes], name: str, skip: Callable[[DataError], None] | None = None) -> Rows:
    """`(name#number, row)` for each row.

    Raises:
        DataError: E103 text that is not UTF-8; E109 broken; E110 it expands beyond any use.
    """
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as plain, _broken("Parquet", name):
        if not handle.seekable():  # Parquet is read from its end: decompress the whole
            shutil.copyfileobj(handle, plain)
            handle = plain
        handle.seek(0, os.SEEK_END)
        file = pq.ParquetFile(handle)
        yield from _rows(file.schema_arrow, file.iter_batches(batch_size=_BATCH), name, handle.tell())


def arrow_rows(file: Path, name: str) -> Rows:
    """`(name#number, row)` for each row of an Arrow stream, which is memory-mapped. Raises what `parquet_rows` does."""
    import pyarrow as pa

    with _broken("Arrow", name), pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
        yield from _rows(reader.schema, reader, name, file.stat().st_size)


def _broken(kind: str, name: str) -> Any:
    hint = "copy or download the file again, or write it again as .jsonl"
    return gate(DataError, "E109", f"cannot read the {kind} file", place=name, hint=hint)


def _rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch], name: str, size: int) -> Rows:
    _check_names([*schema], name)
    number = plain = 0
    for batch in batches:
        plain += batch.nbytes
        check_expansion(name, size, plain)
        check_rows(name, size, number)
        try:
            rows = batch.to_pylist(maps_as_pydicts="strict")
        except UnicodeDecodeError as error:
            raise DataError(
                "E103",
                f"text that is not UTF-8: {excerpt(error.object[error.start :])}",
                place=f"{name} after #{number}",
                hint="write the file again from text that is valid Unicode",
            ) from None
        except KeyError:
            raise DataError(
                "E109",
                "a map has a key twice",
                place=f"{name} after #{number}",
                why=_ONE_IS_READ,
                hint="write the file again with each key once, or the map as a list of turns",
            ) from None
        written = {field.name: decode for field in batch.schema if (decode := _decoder(field.type))}
        for row in rows:
            number += 1
            try:
                row |= {column: decode(row[column]) for column, decode in written.items()}
            except RepeatedKeyError as error:
                raise repeated_key(error, f"{name}#{number}") from None
            yield f"{name}#{number}", without_nan(row)


def _decoder(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """Reads values of this type that hold JSON texts, as the hub's library writes objects whose keys are not always the
    same (a turn with `train`, a turn without); None where there are none."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.json":
        return lambda value: None if value is None else parse_json(value)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _decoder(kind.value_type)
        return inner and (lambda values: values and [inner(one) for one in values])
    if not pa.types.is_struct(kind):
        return None
    parts = {field.name: decode for field in kind.fields if (decode := _decoder(field.type))}
    return (
        (lambda value: value and {**value, **{name: decode(value[name]) for name, decode in parts.items()}})
        if parts
        else None
    )


def _check_names(fields: Sequence[pa.Field], place: str) -> None:
    """Raise DataError (E109) where two columns, or two fields of one, have the same name, whatever they are in."""
    if (twice := there_twice([field.name for field in fields])) is not None:
        raise DataError(
            "E109",
            f"two columns are called {twice!r}",
            place=place,
            why=_ONE_IS_READ,
            hint="write the file again without one of them, or under another name",
        )
    for field in fields:
        inner = [field.type.field(number) for number in range(field.type.num_fields)]
        _check_names(inner, f"{place}, column {field.name!r}")


def without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """The row with null for each cell that is NaN, which is how data frames write empty cells."""
    if not any(isinstance(value, float) and value != value for value in row.values()):
        return row
    return {
        name: None if isinstance(value, float) and value != value else value for name, value in row.items()
    }
