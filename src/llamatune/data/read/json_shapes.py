"""JSON files whose rows are all inside one object: a list under a key, or a table written column by column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llamatune.errors import DataError

ROW_KEYS = (
    "data",
    "rows",
    "train",
    "examples",
    "items",
    "instances",
    "samples",
    "records",
    "dataset",
    "entries",
)
"""Keys under which exports put their rows."""


def rows_in(place: str, whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`(place, row)` of the rows in an object that is all that a file holds; or the object itself, if it is a row.

    Raises:
        DataError: E107, rows of several keys, or columns of different lengths.
    """
    lists = [key for key, value in whole.items() if _is_rows(value) and key.lower() in ROW_KEYS]
    if len(lists) > 1:
        what = f"rows under several keys: {', '.join(map(repr, lists))}"
        raise DataError("E107", what, place=place, hint="write each of these lists to a file of its own")
    if lists:
        rows = whole[lists[0]]
    elif (table := _split_table(whole)) is not None:
        rows = table
    elif (columns := _columns(whole)) is not None:
        rows = [dict(zip(whole, row, strict=True)) for row in zip(*columns, strict=True)]
    else:
        yield place, whole
        return
    file = place.rpartition(":")[0]
    for number, row in enumerate(rows, 1):
        yield f"{file}#{number}", row


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _split_table(whole: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a table whose names and cells are apart, as data frames write with `orient="split"`."""
    names, cells = whole.get("columns"), whole.get("data")
    if not (
        whole.keys() <= {"columns", "index", "data"} and isinstance(names, list) and isinstance(cells, list)
    ):
        return None
    if not all(isinstance(name, str) for name in names):
        return None
    if not cells or not all(isinstance(row, list) and len(row) == len(names) for row in cells):
        return None
    return [dict(zip(names, row, strict=True)) for row in cells]


def _columns(whole: dict[str, Any]) -> list[list[Any]] | None:
    """The columns of a table that is written column by column: {name: {"0": value, ...}, ...}, as data frames are by
    default, or {name: [value, ...], ...}; None if it is not such a table."""
    values = list(whole.values())
    if values and all(
        isinstance(value, dict) and value and all(key.isdigit() for key in value) for value in values
    ):
        numbers = list(values[0])
        if all(list(value) == numbers for value in values):
            return [list(value.values()) for value in values]
    if len(values) > 1 and all(isinstance(value, list) for value in values):
        lengths = {len(value) for value in values}
        scalar = not any(isinstance(one, dict) for value in values for one in value)
        if len(lengths) == 1 and lengths != {0} and scalar:
            return values
    return None
