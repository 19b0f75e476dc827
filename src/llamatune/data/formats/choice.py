"""The formats that fit a file's columns, and which columns are which part of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llamatune.data.formats.beside import last_speaker
from llamatune.data.formats.known import FORMATS, formats_of
from llamatune.data.formats.labels import (
    SAY_BAD,
    SAY_GOOD,
    are_clear,
    are_labels,
    are_ratings,
    may_judge,
)
from llamatune.data.formats.record import Format, Names, Raw, column_called
from llamatune.data.formats.turns import exchange_keys
from llamatune.data.formats.values import is_parts, missing_column
from llamatune.data.rows import RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns, Kind, RowFormat

Choice = tuple[RowFormat, Names]
"""A format, and which columns are which part of its rows."""


def candidates(rows: Sequence[Raw], found: Sequence[str], given: Names, kind: Kind | None) -> list[Choice]:
    """The formats that fit among those that the kind takes; if none of these does, among all."""
    for formats in (formats_of(kind), formats_of(None)):
        fitting = [choice for one in formats for choice in _fitting(one, rows, found, given)]
        names = {name for name, _ in fitting}
        chosen = [choice for choice in fitting if not FORMATS[choice[0]].yields_to & names]
        # A column `text` beside others often says all of them again, as a template writes it.
        from_text = [one for one in chosen if one[1].get("messages", "").strip().casefold() == "text"]
        if chosen:
            return [one for one in chosen if one not in from_text] or from_text
    return []


def _fitting(format: Format, rows: Sequence[Raw], found: Sequence[str], given: Names) -> list[Choice]:
    """The columns of a format, for each way in which it fits; all that the recipe names must be among them."""
    if not given.keys() <= {*format.needs, *format.optional, "score", "label"}:
        return []
    fitting: list[Choice] = []
    for needed in format.namings(found, given):
        names = _with_optional(format, needed, rows, found, given)
        choice = (format.name, names)
        if choice not in fitting and format.fits(names, rows, given):
            fitting.append(choice)
    return fitting[:1] if format.first_of_usual else fitting


def read_the_same(choices: Sequence[Choice], rows: Sequence[Raw]) -> bool:
    """Whether several formats make the same of all rows: data sets give one chat in several forms (as Magpie does)."""
    return all(len({_as_read(choice, row) for choice in choices}) == 1 for row in rows)


def _as_read(choice: Choice, row: Raw) -> str:
    """What a format reads out of a row, to be compared; unlike any other if that is no conversation."""
    format, names = choice
    try:
        read = FORMATS[format].read(row, Columns(**names), "", None)
    except (DataError, RowRejected):
        return str(choice)
    if not isinstance(read, list):
        return str(choice)
    return str(
        [(turn.role, turn.content.strip(), turn.input) for turn in read] + [row.get(names.get("system", ""))]
    )


def _with_optional(
    format: Format, needed: Names, rows: Sequence[Raw], found: Sequence[str], given: Names
) -> Names:
    names = format.with_optional(needed, found, given, lambda field, column: _may_be(field, column, rows))
    if format.kind != "preferences":
        return names
    if "prompt" in names and "messages" not in given:
        # A prompt says what both replies answer; turns beside it say it again.
        names.pop("messages", None)
    return _without_labels(names, found, given)


def _may_be(field: str, column: str, rows: Sequence[Raw]) -> bool:
    """Whether the values of a column may be what its name says: data sets use the names of texts and labels for lists
    and objects, too (the passages of HotpotQA, the two grades of distilabel's pairs)."""
    if field == "messages":
        # Turns that end with a reply are not what two replies answer: they may be one of the two chats once more.
        chats = [value for row in rows if (value := row.get(column)) is not None]
        return not chats or any(
            last_speaker(value) != "assistant" and not _are_exchanges(value) for value in chats
        )
    if field not in ("input", *_LABELS):
        return True
    values = [value for row in rows if (value := row.get(column)) not in (None, "")]
    if field == "rating" and not are_ratings(values):
        return False
    return not values or not all(_is_structure(value, field in _LABELS) for value in values)


def _are_exchanges(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and exchange_keys(value[-1]) is not None


def _is_structure(value: Any, is_label: bool) -> bool:
    if isinstance(value, str):
        return is_label and value.startswith(("[", "{"))
    return isinstance(value, (list, dict)) and not is_parts(value)


_LABELS = ("rating", "safety", "chosen_safe", "rejected_safe", "first_safe", "second_safe")
FIELDS_OF_REPLIES = {"chosen", "rejected", "first", "second", "replies"}


def _without_labels(names: Names, found: Sequence[str], given: Names) -> Names:
    """Ratings and safety labels count if they are named, or if no reply is named. A label for each reply says more
    than a bin for both."""
    single = {"chosen_safe", "rejected_safe"} & set(found)
    if given.keys() & (FIELDS_OF_REPLIES | set(_LABELS)):
        dropped = set(_LABELS) - given.keys()
    else:
        dropped = {"safety"} if single else set()
    return {field: column for field, column in names.items() if field not in dropped}


def columns_as_told(
    format: Format, rows: Sequence[Raw], found: Sequence[str], given: Names, place: str
) -> Names:
    """The columns of the recipe's format: those that the recipe names, or else those that the format usually has."""
    namings = list(format.namings(found, given))
    if not namings:
        names = format.usual[0] | {field: name for field, name in given.items() if field in format.needs}
        missing = next(name for name in names.values() if name not in found)
        raise missing_column(missing, found, place, f"format `{format.name}`")
    needed = next((one for one in namings if format.fits(one, rows, given)), namings[0])
    extra = {field: name for field, name in given.items() if field not in ("score", "label")}
    return _with_optional(format, needed, rows, found, given) | extra


def columns_of_grades(
    kind: Kind,
    rows: Sequence[Raw],
    found: Sequence[str],
    names: Names,
    given: Names,
    label: bool | None,
    place: str,
) -> Names:
    """The column that says how good a reply is, if the kind needs one or the recipe asks for a label.

    Args:
        names: the columns that hold the row itself.
    """
    own = _column_of_labels_in_words(rows, found, names)
    if kind in ("scores", "labels"):
        field = "score" if kind == "scores" else "label"
        name = given.get(field) or _column_of_grades(field, rows, found)
        if field == "label" and name not in found and own is not None:
            name = own
        if name not in found:
            raise missing_column(name, found, place, f"`loss.objective: {kind}`")
        return {field: name}
    if label is None and kind not in ("conversations", "ptx"):
        return {}
    if says_label(rows, found, given):
        own = None
    name = given.get("label") or own or _column_of_grades("label", rows, found)
    if label is not None and name not in found:
        raise missing_column(name, found, place, f"`label: {str(label).lower()}`")
    is_label = label is not None or says_label(rows, found, given)
    return {"label": name} if is_label or (own is not None and not given.keys() & _OF_A_ROW) else {}


_OF_A_ROW = {"messages", "prompt", "completion"}


def _column_of_labels_in_words(rows: Sequence[Raw], found: Sequence[str], names: Names) -> str | None:
    """The column, whatever it is called, whose words say which replies are good, such as approved and rejected. What a
    used column says too is taught, and no label."""
    used = list(names.values())
    for column in found:
        if column in used or not may_judge(column, used, rows):
            continue
        values = [row.get(column) for row in rows]
        is_label = column.strip().casefold() == "labels" and are_labels(values)
        if is_label or are_clear(values):
            return column
    return None


def _column_of_grades(field: str, rows: Sequence[Raw], found: Sequence[str]) -> str:
    """The column of scores or labels; the name that it should have, if it is not there."""
    known = (
        column_called(name, found)
        for name in ((*SAY_GOOD, *sorted(SAY_BAD)) if field == "label" else (field,))
    )
    there = [name for name in known if name is not None]
    if field == "label":
        there = [name for name in there if are_labels(row.get(name) for row in rows)] or there
    return there[0] if there else field


def says_label(rows: Sequence[Raw], found: Sequence[str], given: Names) -> bool:
    """Whether rows have one reply and a true-or-false label for it (KTO); if the recipe names other columns and not
    this one, it means something else."""
    if "label" in given:
        return True
    named = given.keys() & _OF_A_ROW
    name = _column_of_grades("label", rows, found)
    return not named and name in found and are_labels(row.get(name) for row in rows)


def are_pairs(found: Sequence[str]) -> bool:
    """Whether there is a column for a chosen reply and one for a rejected one."""
    return all(column_called(name, found) for name in ("chosen", "rejected"))
