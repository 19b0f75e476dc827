"""Values and turns of raw rows, checked one by one.

E122  a column is missing
E123  a value has the wrong type
E124  an unknown or unsupported role
E125  roles in the wrong order
E126  empty content
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from llamatune.data.formats.recognise import Raw, missing_column
from llamatune.data.rows import Message, Role
from llamatune.errors import DataError

ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
SHAREGPT_ROLES: dict[str, Role] = {
    **ROLES,
    "human": "user",
    **dict.fromkeys(("gpt", "chatgpt", "bard", "bing", "claude", "model"), "assistant"),
}
_TOOL_ROLES = {
    *("tool", "tool_call", "tool_calls", "tool_response"),
    *("function", "function_call", "observation", "ipython"),
}

# ---- values -----------------------------------------------------------------------------------------------


def value_of(raw: Raw, column: str, place: str, format: str) -> Any:
    """A column's value. Raises DataError (E122)."""
    try:
        return raw[column]
    except KeyError:
        raise missing_column(column, tuple(raw), place, f"format `{format}`") from None


def text_of(raw: Raw, column: str, place: str, format: str) -> str:
    """A column's string; null is an error like any other type. Raises DataError (E122, E123)."""
    value = value_of(raw, column, place, format)
    if not isinstance(value, str):
        raise wrong_type(f"column {column!r}", value, place)
    return value


def optional_text(raw: Raw, column: str | None, place: str) -> str | None:
    """A column's string; None without the column, and where it is null or blank. Raises DataError (E123)."""
    value = raw.get(column) if column else None
    if value is not None and not isinstance(value, str):
        raise wrong_type(f"column {column!r}", value, place)
    return value if value and value.strip() else None


def wrong_type(what: str, value: Any, place: str, expected: str = "text") -> DataError:
    names = {type(None): "null", dict: "an object", list: "a list", bool: "a boolean"}
    found = names.get(
        type(value), f"a number ({value!r})" if isinstance(value, (int, float)) else type(value).__name__
    )
    hint = "write plain text; lists of messages belong in a column `messages`" if expected == "text" else None
    return DataError("E123", f"{what} must be {expected}, found {found}", place=place, hint=hint)


# ---- turns ------------------------------------------------------------------------------------------------


def checked_turns(value: Any, column: str, place: str) -> list[Raw]:
    """The value as a list of objects. Raises DataError (E123)."""
    if not isinstance(value, list):
        raise wrong_type(f"column {column!r}", value, place, "a list of turns")
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise wrong_type(f"turn {number} of {column!r}", turn, place, "an object")
    return value


def role_content(turns: list[Raw], place: str) -> list[Message]:
    """Messages of turns {role, content, train?}. Raises DataError (E122 to E126)."""
    return [
        _message(turn, number, "role", "content", ROLES, place, turns) for number, turn in enumerate(turns, 1)
    ]


def from_value(turns: list[Raw], place: str) -> list[Message]:
    """Messages of turns {from, value}, as ShareGPT has them. Raises DataError (E122 to E126)."""
    return [
        _message(turn, number, "from", "value", SHAREGPT_ROLES, place, turns)
        for number, turn in enumerate(turns, 1)
    ]


def _message(
    turn: Raw,
    number: int,
    role_key: str,
    content_key: str,
    roles: Mapping[str, Role],
    place: str,
    turns: list[Raw],
) -> Message:
    """One checked turn; `turns` are all of them, for the error's text."""
    name = turn.get(role_key)
    role = roles.get(name) if isinstance(name, str) else None
    if role is None:
        raise _bad_role(name, number, role_key, roles, place, [turn.get(role_key) for turn in turns])
    if turn.get("tool_calls") or turn.get("function_call"):
        raise _bad_role("tool_calls", number, role_key, roles, place, [turn.get(role_key) for turn in turns])
    content = turn.get(content_key)
    if not isinstance(content, str):
        if content_key not in turn:
            raise missing_column(content_key, tuple(turn), place, f"turn {number}")
        raise wrong_type(f"{content_key!r} of turn {number} ({name})", content, place)
    if role != "system" and not content.strip():
        sequence = " ".join(str(turn.get(role_key)) for turn in turns)
        what = f"turn {number} ({name}) is empty; roles: {sequence}"
        raise DataError("E126", what, place=place, hint="remove or complete the turn")
    train = turn.get("train")
    if train is not None and not isinstance(train, bool):
        raise wrong_type(f"'train' of turn {number}", train, place, "true or false")
    return Message(role, content, train)


def _bad_role(
    name: Any, number: int, key: str, roles: Mapping[str, Role], place: str, sequence: Sequence[Any]
) -> DataError:
    known = [role if isinstance(role, str) and role in roles else ascii(role)[:30] for role in sequence]
    shown = " ".join(known)
    if isinstance(name, str) and name in _TOOL_ROLES:
        what = f"turn {number} uses tools ({name!r}), which llamatune does not train; roles: {shown}"
        return DataError(
            "E124", what, place=place, hint="remove such rows, or rewrite tool turns as plain text"
        )
    near = difflib.get_close_matches(str(name).lower(), roles, n=1)
    what = f"turn {number} has the unknown {key} {name!r}; roles: {shown}"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return DataError("E124", what, place=place, hint=f"{hint}known: {', '.join(roles)}")


def with_system(raw: Raw, column: str | None, turns: list[Message], place: str) -> list[Message]:
    """The system column in front of the turns; an empty system message is none. Raises DataError (E123, E125)."""
    if turns and turns[0].role == "system" and not turns[0].content.strip():
        turns = turns[1:]
    system = optional_text(raw, column, place)
    if system is None:
        return turns
    if turns and turns[0].role == "system":
        what = f"two system messages: column {column!r} and the first turn"
        raise DataError("E125", what, place=place, hint="keep one of them")
    return [Message("system", system), *turns]


def check_order(turns: Sequence[Message], place: str, of: str = "") -> None:
    """An optional system message, then user and assistant in turn. `of` says whose turns they are.

    Raises:
        DataError: E125.
    """
    expected: Role = "user"
    for number, turn in enumerate(turns, 1):
        if turn.role == "system" and number == 1:
            continue
        if turn.role != expected:
            raise _wrong_order(turns, number, expected, place, of)
        expected = "assistant" if expected == "user" else "user"


def _wrong_order(turns: Sequence[Message], number: int, expected: Role, place: str, of: str) -> DataError:
    role = turns[number - 1].role
    sequence = " ".join(turn.role for turn in turns)
    if role == "system":
        what, hint = f"turn {number} is a system message", "a system message stands first"
    elif role == "assistant":
        what, hint = (
            f"turn {number} is from the assistant where the user should speak",
            "begin with the user's turn",
        )
        if number > 1 and turns[number - 2].role == role:
            what, hint = (
                f"turns {number - 1} and {number} are both from the assistant",
                "join them into one turn",
            )
    else:
        what, hint = f"turns {number - 1} and {number} are both from the user", "join them into one turn"
    what = f"{of}: {what}" if of else what
    return DataError("E125", f"{what}, expected the {expected}; roles: {sequence}", place=place, hint=hint)
