"""JSON files whose rows are all inside one object: a list under a key, or a table written column by column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llamatune.data.formats.record import TURN_COLUMNS
from llamatune.data.formats.values import says_who
from llamatune.data.read.json_array import excerpt
from llamatune.errors import DataError
from llamatune.outside import there_twice

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
        DataError: E107, rows of several keys, columns of different lengths or of one name.
    """
    while (inner := _wrapped(whole)) is not None:
        whole = inner
    lists = [
        key
        for key, value in whole.items()
        if _is_rows(value) and key.lower() in ROW_KEYS and not all(map(says_who, value))
    ]
    lists = lists or [key for key, value in whole.items() if _is_all_rows(key, value, whole)]
    if lists:  # other splits are rows too, whatever they are called
        columns_of = whole[lists[0]][0].keys()
        lists += [
            key
            for key, value in whole.items()
            if key not in lists and _is_rows(value) and value[0].keys() == columns_of
        ]
    if len(lists) > 1:
        what = f"rows under several keys: {', '.join(map(repr, lists))}"
        raise DataError("E107", what, place=place, hint="write each of these lists to a file of its own")
    if lists:
        rows = [_out_of_viewer(row) for row in whole[lists[0]]]
    elif (table := _split_table(whole, place)) is not None:
        rows = table
    elif (columns := _columns(whole)) is not None:
        _check_lengths(whole, columns, place)
        rows = [dict(zip(whole, row, strict=True)) for row in zip(*columns, strict=True)]
    elif _is_by_id(whole):
        rows = list(whole.values())
    elif any(value == [] and key.lower() in ROW_KEYS for key, value in whole.items()):
        return
    else:
        yield place, whole
        return
    file = place.rpartition(":")[0]
    for number, row in enumerate(rows, 1):
        yield f"{file}#{number}", row


_ABOUT = frozenset(
    ("version", "name", "description", "license", "info", "metadata", "meta", "split", "source", "language")
    + ("features", "num_rows_total", "num_rows_per_page", "partial", "count", "total", "author", "created")
)
"""Keys of an export that say something about its rows."""

_SPEAKERS = {"role", "from", "speaker", "author", "type", "user", "human", "assistant", "bot"}
_ONE_CHAT = {*TURN_COLUMNS, "turns"} - {"conversations", "items"}
"""Keys under which a list of objects is one conversation: its turns, or its exchanges."""

_OF_TURNS = {*TURN_COLUMNS, "data", "turns"}


def _wrapped(whole: dict[str, Any]) -> dict[str, Any] | None:
    """What is in an object that holds nothing but one other object with rows."""
    (inner, *others) = whole.values() if whole else (None,)
    if others or not isinstance(inner, dict) or not any(map(_is_rows, inner.values())):
        return None
    return inner


def _is_all_rows(key: str, value: Any, whole: dict[str, Any]) -> bool:
    """Whether a list of objects, under whatever key, is all that the file holds, and no conversation."""
    if not _is_rows(value):
        return False
    others = {other.lower() for other in whole if other != key}
    if key.lower() in _ONE_CHAT and not any(
        isinstance(cell, (list, dict)) for row in value for cell in row.values()
    ):
        return False
    return others <= _ABOUT and not any(_SPEAKERS & row.keys() for row in value)


def _out_of_viewer(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the hub's viewer gives it lies one level deeper."""
    inner = row.get("row")
    return inner if isinstance(inner, dict) and row.keys() <= {"row_idx", "row", "truncated_cells"} else row


def _is_by_id(whole: dict[str, Any]) -> bool:
    """Whether an object is a table of rows by their ids: several objects with the same keys."""
    rows = list(whole.values())
    if len(rows) < 2 or not all(isinstance(row, dict) and row for row in rows):
        return False
    return all(row.keys() == rows[0].keys() and not _SPEAKERS & row.keys() for row in rows)


def _check_lengths(whole: dict[str, Any], columns: list[list[Any]], place: str) -> None:
    lengths = {name: len(column) for name, column in zip(whole, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        what = f"columns of different lengths: {said}"
        raise DataError("E107", what, place=place, hint="write the table again: each row needs all its cells")


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _split_table(whole: dict[str, Any], place: str) -> list[dict[str, Any]] | None:
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
    if (twice := there_twice(names)) is not None:
        what = f"two columns are called {excerpt(twice)}"
        hint = "write the table again without one of them, or under another name"
        raise DataError("E107", what, place=place, why="Only one of the two would be read", hint=hint)
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
    if not values or not all(isinstance(value, list) and value for value in values):
        return None
    if any(isinstance(one, dict) for value in values for one in value):
        return None
    of_lists = all(isinstance(one, list) for one in values[0])
    if len(values) == 1 and not of_lists and {key.lower() for key in whole} <= _OF_TURNS:
        return None  # a list of texts is one conversation
    return values
