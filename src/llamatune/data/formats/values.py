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
from llamatune.data.formats.record import TURN_COLUMNS, Adjusted, Raw
from llamatune.data.formats.written import without_end, written_turns
from llamatune.data.rows import Adjustment
from llamatune.errors import DataError
from llamatune.outside import Pairs, RepeatedKeyError, each_key_once
from llamatune.recipe.blocks import Columns

TEXT_PARTS = ("text", "input_text", "output_text")
"""Kinds of message parts that hold text."""

THOUGHTS = ("thinking", "redacted_thinking", "reasoning")
"""Kinds of message parts that are not read, as keys of a turn with thoughts are not."""

PARTS = (*TEXT_PARTS, *THOUGHTS, "image", "image_url", "audio", "input_audio", "video")
"""Kinds of message parts."""

_TURNS = re.compile(r"""\s*\[\s*\{\s*(['"])(role|from|content|value)\1\s*:""")
"""How a list of turns that was written into a text begins, as JSON or as Python prints it."""

_OBJECTS = re.compile(r"""\s*(?:\[\s*)?\{\s*(['"])\w+\1\s*:""")
"""How objects begin that were written into a text. They are turns only if each says who speaks, and what."""

_LISTS = frozenset((*TURN_COLUMNS, "data", "history", "turns", "completions", "summaries"))
"""Names of columns that hold lists."""

_PROMPTS = frozenset(("prompt", "instruction", "question", "query", "input"))
_MAY_BE_WRITTEN = _LISTS | _PROMPTS | {"text"}
_SIDES = ("chosen", "rejected", "first", "second")


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
        return "".join(_part(part, what, place) for part in (value if isinstance(value, list) else [value]))
    if value is None or isinstance(value, list):
        hint = "write plain text, or leave such rows out: `data.on_bad_row=drop`"
        raise wrong_type(what, value, place, hint=hint)
    if not isinstance(value, str):
        raise wrong_type(what, value, place)
    return value


def is_parts(value: Any) -> bool:
    """Whether a value is a part, or a list of the parts, of one message, as multimodal chat data has them."""
    parts = value if isinstance(value, list) else [value]
    return bool(parts) and all(isinstance(part, dict) and _is_part(part) for part in parts)


def _is_part(part: Raw) -> bool:
    """A list of parts has texts among them, or says of a part what it is in words of its own."""
    known = part.get("type") in PARTS or (isinstance(part.get("type"), str) and part["type"] in part)
    return (known or part.keys() == {"text"}) and "role" not in part


def _part(part: Raw, what: str, place: str) -> str:
    kind, text = part.get("type", "text"), part.get("text")
    if kind in THOUGHTS:
        return ""
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
    """A column's string, or the text of its message parts; None without the column, and if it is null or blank. Raises
    DataError (E123)."""
    value = raw.get(column) if column else None
    if value is None:
        return None
    if is_parts(value):
        value = checked_text(value, f"column {column!r}", place)
    if not isinstance(value, str):
        hint = f"write plain text, or leave the column out with `ignore: [{column}]`"
        raise wrong_type(f"column {column!r}", value, place, hint=hint)
    return value if value.strip() else None


# ---- lists that were written into a text -------------------------------------------------------------------


def unfolded(raw: Raw, columns: Columns, place: str, adjusted: Adjusted = None) -> Raw:
    """The row with its turns read out of texts, as exports to CSV and chat templates write them. A document is text,
    whatever it holds.

    Raises:
        DataError: E123, a text that is a list of turns and cannot be read; E103, one that escapes what is no character.
    """
    names = {field: column for field, column in columns.names.items() if field != "text"}
    lists = {names[field] for field in ("messages", "history", "replies") if field in names}
    lists |= _LISTS & set(names.values())
    read = {
        column: found
        for column in names.values()
        if (found := _unfolded(raw.get(column), place, column, column in lists)) is not None
    }
    check_characters(list(read.values()), place)
    written = {
        column: turns
        for field, column in names.items()
        if column not in read and (turns := _written(field, raw.get(column), names)) is not None
    }
    read |= written
    if read and adjusted is not None:
        adjusted.update(Adjustment.UNFOLDED for column in read if not isinstance(raw[column], dict))
    if names.get("prompt") in written:
        read = _without_ends(raw, names) | read
    return raw | read if read else raw


def _written(field: str, value: Any, names: dict[str, str]) -> Any:
    """The turns of a text that a chat template has written; None for any other. What a reply quotes is no chat."""
    if not isinstance(value, str) or field not in ("messages", "prompt", *_SIDES):
        return None
    return written_turns(value, strict=field in _SIDES and not {"prompt", "messages"}.isdisjoint(names))


def _without_ends(raw: Raw, names: dict[str, str]) -> Raw:
    """Replies to a prompt that a template has written, without the end token that it wrote after them."""
    replies = {names[field]: raw.get(names[field]) for field in ("completion", *_SIDES) if field in names}
    return {column: without_end(text) for column, text in replies.items() if isinstance(text, str)}


def _unfolded(value: Any, place: str, column: str, is_list: bool) -> Any:
    """What is written in a text, or in each text of a list; None where that is no turns."""
    if isinstance(value, list) and value and all(_is_object(one) for one in value):
        objects = [_parsed(one, dict) for one in value]
        return [_parsed(one, _once_in(place, column)) for one in value] if _are_turns(objects) else None
    if isinstance(value, dict):
        return _written_by_columns(value)
    if not isinstance(value, str):
        return None
    if _TURNS.match(value) or (is_list and value.lstrip().startswith(("[", '"['))):
        found = _list_in(value, place, column)
        # A list that is no turns may be a reply in which JSON was asked for.
        return found if found is None or is_list or _are_turns(found) else None
    if _OBJECTS.match(value):
        # A text that is no turns may say what it likes.
        return _parsed(value, _once_in(place, column)) if _are_turns(_parsed(value, dict)) else None
    return None


def list_of_texts(value: Any) -> list[str | None] | None:
    """The texts of a list, or of one that is written into a text as JSON; None if it is no such list."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _parsed(value, dict, (_json,))
    is_list = isinstance(value, list) and value and all(one is None or isinstance(one, str) for one in value)
    return value if is_list else None


def _is_object(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("{") and bool(_OBJECTS.match(value))


def _written_by_columns(value: Any) -> list[Raw] | None:
    """The turns of an object of lists, as `datasets` keeps a sequence of objects; None if it is no such object."""
    if not isinstance(value, dict) or not all(isinstance(one, list) for one in value.values()):
        return None
    if len({len(one) for one in value.values()}) != 1:
        return None
    turns = [dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)]
    return turns if _are_turns(turns) else None


def _are_turns(value: Any) -> bool:
    """Whether a value is a turn, a list of them, or the parts of one message."""
    turns = value if isinstance(value, list) else [value]
    if not turns or not all(isinstance(turn, dict) for turn in turns):
        return False
    return all(map(says_who, turns)) or all(turn.get("type") in PARTS for turn in turns)


def says_who(turn: Raw) -> bool:
    """Whether an object has the keys of a turn, under their usual names."""
    return turn.keys() >= {"role", "content"} or turn.keys() >= {"from", "value"}


def unfolded_for_a_look(raw: Raw) -> Raw:
    """The row with all turns that can be read out of texts: for telling its format."""
    alone = _PROMPTS.isdisjoint(raw)
    read = {
        name: found
        for name, value in raw.items()
        if (found := _looked_into(value, name.casefold(), alone)) is not None
    }
    return raw | read if read else raw


def _looked_into(value: Any, name: str, alone: bool) -> Any:
    """The turns in a column; `alone`: the row has no prompt beside it."""
    if isinstance(value, list):
        found = [_parsed(one, dict) for one in value] if value and all(map(_is_object, value)) else None
        return found if found and _are_turns(found) else None
    if isinstance(value, dict):
        return _written_by_columns(value)
    if not isinstance(value, str):
        return None
    if not (_OBJECTS.match(value) or (name in (*_LISTS, "answers") and "[" in value[:2])):
        strict = name not in _MAY_BE_WRITTEN and not (alone and name in _SIDES)
        return written_turns(value, strict=strict)
    found = _parsed(value, dict)
    return found if (name in _LISTS and isinstance(found, list)) or _are_turns(found) else None


_Parser = Callable[[str, Callable[[Pairs], dict[Any, Any]]], Any]


def repeated_key(error: RepeatedKeyError, place: str) -> DataError:
    """The error for a row with such an object."""
    return DataError(
        "E106",
        str(error),
        place=place,
        why="Only one of the two would be read",
        hint="remove one of the two: which one counts is not for llamatune to choose",
    )


def _once_in(place: str, column: str) -> Callable[[Pairs], dict[Any, Any]]:
    """`each_key_once`, whose error names the place."""

    def made(pairs: Pairs) -> dict[Any, Any]:
        try:
            return each_key_once(pairs)
        except RepeatedKeyError as error:
            raise repeated_key(error, f"{place}, column {column!r}") from None

    return made


def _list_in(text: str, place: str, column: str) -> list[Any] | None:
    """The list; None if the text only begins like one, and goes on as a text."""
    found = _parsed(text, _once_in(place, column))
    if found is None and text.rstrip().endswith(("]", ']"')):
        raise not_a_list(column, place)
    return found if isinstance(found, list) else None


def not_a_list(column: str, place: str) -> DataError:
    """The error for a text that looks like turns and cannot be read."""
    return DataError(
        "E123",
        f"column {column!r} holds a list of turns as text that is neither JSON nor Python",
        place=place,
        why="Trained on it as it is, the model would learn brackets and quotes",
        hint="write the rows again as JSONL, for example with `DataFrame.to_json(lines=True, orient='records')`",
    )


def _parsed(
    text: str,
    made: Callable[[Pairs], dict[Any, Any]] = each_key_once,
    parsers: Sequence[_Parser] | None = None,
) -> Any:
    """The list or object that is written in a text as JSON (once, or twice) or Python; None if there is none. `made` is
    called for each object."""
    for parse in parsers or (_json, _python):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = parse(text.strip(), made)
                found = parse(found.strip(), made) if isinstance(found, str) else found
        except RepeatedKeyError:
            raise
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, (list, dict)):
            return found
    return None


def _json(text: str, made: Callable[[Pairs], dict[Any, Any]]) -> Any:
    return json.loads(text, object_pairs_hook=made, parse_constant=lambda name: None)


def _python(text: str, made: Callable[[Pairs], dict[Any, Any]]) -> Any:
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            made([(key.value, None) for key in node.keys if isinstance(key, ast.Constant)])
    return ast.literal_eval(tree)
