"""Values of raw rows, checked one by one.

E122  a column is missing
E123  a value has the wrong type
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from llamatune.data.characters import check_characters
from llamatune.data.formats.record import Adjusted, Raw
from llamatune.data.rows import Adjustment
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns

TEXT_PARTS = ("text", "input_text", "output_text")
"""Kinds of message parts that hold text."""

_TURNS = re.compile(r"""\s*\[\s*\{\s*(['"])(role|from|content|value)\1\s*:""")
"""How a list of turns that was written into a text begins, as JSON or as Python prints it."""


def missing_column(name: str, found: Sequence[str], place: str, wanted_by: str) -> DataError:
    near = difflib.get_close_matches(name, found, n=1)
    return DataError(
        "E122",
        f"column {name!r} of {wanted_by} is missing; found {', '.join(map(repr, found)) or 'none'}",
        place=place,
        hint=f"did you mean {near[0]!r}?" if near else "name the right one under `columns`",
    )


def wrong_type(
    what: str, value: Any, place: str, expected: str = "text", *, hint: str | None = None
) -> DataError:
    names = {type(None): "null", dict: "an object", list: "a list", bool: "a boolean"}
    found = names.get(
        type(value), f"a number ({value!r})" if isinstance(value, (int, float)) else type(value).__name__
    )
    if hint is None and expected == "text":
        hint = "write plain text; lists of messages belong in a column `messages`"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            hint = "write the number as text, with the digits that the model should read and write"
    return DataError("E123", f"{what} must be {expected}, found {found}", place=place, hint=hint)


def value_of(raw: Raw, column: str, place: str, wanted_by: str) -> Any:
    """A column's value. Raises DataError (E122)."""
    try:
        return raw[column]
    except KeyError:
        raise missing_column(column, tuple(raw), place, wanted_by) from None


def column_text(raw: Raw, column: str, place: str, wanted_by: str) -> str:
    """A column's string; null is an error like any other type. Raises DataError (E122, E123)."""
    return checked_text(value_of(raw, column, place, wanted_by), f"column {column!r}", place)


def checked_text(value: Any, what: str, place: str) -> str:
    """A string, or the text of message parts {type: text, text}, joined. Raises DataError (E123)."""
    if is_parts(value):
        return "".join(_part(part, what, place) for part in value)
    if not isinstance(value, str):
        raise wrong_type(what, value, place)
    return value


def is_parts(value: Any) -> bool:
    """Whether a value is a list of the parts of one message, as multimodal chat data has them."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(part, dict) and "type" in part and "role" not in part for part in value)
    )


def _part(part: Raw, what: str, place: str) -> str:
    kind, text = part["type"], part.get("text")
    if kind not in TEXT_PARTS:
        raise DataError(
            "E123",
            f"{what} has a part of type {kind!r}: llamatune trains on text only",
            place=place,
            hint="remove the row, or leave such rows out with `data.on_bad_row: drop`",
        )
    if not isinstance(text, str):
        raise wrong_type(f"'text' of a part of {what}", text, place)
    return text


def optional_text(raw: Raw, column: str | None, place: str) -> str | None:
    """A column's string; None without the column, and if it is null or blank. Raises DataError (E123)."""
    value = raw.get(column) if column else None
    if value is None:
        return None
    if not isinstance(value, str):
        hint = f"write plain text, or leave the column out with `ignore: [{column}]`"
        raise wrong_type(f"column {column!r}", value, place, hint=hint)
    return value if value.strip() else None


# ---- lists that were written into a text -------------------------------------------------------------------


def unfolded(raw: Raw, columns: Columns, place: str, adjusted: Adjusted = None) -> Raw:
    """The row with its lists of turns read out of texts, as exports to CSV write them.

    Raises:
        DataError: E123, a text that is such a list and cannot be read; E103, one that escapes what is no character.
    """
    names = columns.names
    lists = {names[field] for field in ("messages", "history", "replies") if field in names}
    read = {
        column: _list_in(value, place, column)
        for column in names.values()
        if isinstance(value := raw.get(column), str)
        and (_TURNS.match(value) or (column in lists and value.lstrip().startswith("[")))
    }
    changed = {column: value for column, value in read.items() if value is not None}
    check_characters(list(changed.values()), place)
    if changed and adjusted is not None:
        adjusted[Adjustment.UNFOLDED] += len(changed)
    return raw | changed if changed else raw


def unfolded_for_a_look(raw: Raw) -> Raw:
    """The row with all lists of turns that can be read out of texts: for telling its format."""
    texts = {name: value for name, value in raw.items() if isinstance(value, str) and _TURNS.match(value)}
    read = {name: found for name, value in texts.items() if (found := _parsed(value, dict)) is not None}
    return raw | read if read else raw


Pairs = list[tuple[Any, Any]]
"""The keys and values of an object, as `json` hands them to a hook."""


class RepeatedKeyError(ValueError):
    """An object has a key twice. Its argument is the key."""


def each_key_once(pairs: Pairs) -> dict[Any, Any]:
    """The object of these keys and values, as a hook for `json`. Raises RepeatedKeyError: one would be lost in
    silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKeyError(next(key for key in found if keys.count(key) > 1))
    return found


def repeated_key(error: RepeatedKeyError, place: str) -> DataError:
    """The error for a row with such an object."""
    return DataError(
        "E106",
        f"the key {ascii(error.args[0])[:60]} is in one object twice",
        place=place,
        why="Only one of the two would be read",
        hint="remove one of the two: which one counts is not for llamatune to choose",
    )


def _list_in(text: str, place: str, column: str) -> list[Any] | None:
    """The list; None if the text only begins like one, and goes on as a text."""
    try:
        found = _parsed(text)
    except RepeatedKeyError as error:
        raise repeated_key(error, f"{place}, column {column!r}") from None
    if found is None and text.rstrip().endswith("]"):
        raise DataError(
            "E123",
            f"column {column!r} holds a list of turns as text that is neither JSON nor Python",
            place=place,
            why="Trained on it as it is, the model would learn brackets and quotes",
            hint="write the rows again as JSONL, for example with `DataFrame.to_json(lines=True, orient='records')`",
        )
    return found


def _parsed(text: str, made: Callable[[Pairs], dict[Any, Any]] = each_key_once) -> list[Any] | None:
    """The list that is written in a text as JSON or Python; None if there is none. `made` is called for each object."""
    for parse in (_json, _python):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = parse(text.strip(), made)
        except RepeatedKeyError:
            raise
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return None


def _json(text: str, made: Callable[[Pairs], dict[Any, Any]]) -> Any:
    return json.loads(text, object_pairs_hook=made)


def _python(text: str, made: Callable[[Pairs], dict[Any, Any]]) -> Any:
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            made([(key.value, None) for key in node.keys if isinstance(key, ast.Constant)])
    return ast.literal_eval(tree)
