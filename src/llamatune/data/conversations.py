"""Raw rows of a recognised format become conversations or documents, checked turn by turn.

E122  a column is missing
E123  a value has the wrong type
E124  an unknown or unsupported role
E125  roles in the wrong order
E126  empty content
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, get_args

from llamatune.data.formats import Raw, missing_column
from llamatune.data.rows import Conversation, Document, Message, Reason, Role, RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns, RowFormat


class Adjustment(StrEnum):
    """What was taken off a conversation before training; counted, printed and stored."""

    TRAILING_USER = "unanswered user turns dropped at the end"
    LEADING_ASSISTANT = "assistant turns dropped at the start"


def document(raw: Raw, columns: Columns, place: str) -> Document:
    """The plain text of a row.

    Raises:
        DataError: E122, E123, E126.
    """
    text = _text(raw, columns.text or "text", place, "text")
    if not text.strip():
        raise DataError(
            "E126", f"column {columns.text or 'text'!r} is empty", place=place, hint="remove the row"
        )
    return Document(text, place)


def conversation(
    raw: Raw, format: RowFormat, columns: Columns, place: str, adjusted: Counter[Adjustment] | None = None
) -> Conversation:
    """The conversation of a row. Turns that cannot be used (see `Adjustment`) are taken off and counted.

    An empty system message counts as none.

    Raises:
        DataError: E122 to E126.
        RowRejected: the row has no reply, so there is nothing to train.
    """
    if format in ("messages", "sharegpt"):
        turns = _TURNS[format](raw, columns.messages or "messages", place)
        if format == "sharegpt":
            turns = _drop_leading_assistant(turns, adjusted)
    else:
        turns = _single_turn(raw, format, columns, place)
    turns = _with_system(raw, columns.system, turns, place)
    turns = _drop_trailing_user(turns, adjusted)
    _check_order(turns, place)
    return Conversation(tuple(turns), place)


def _text(raw: Raw, column: str, place: str, format: str) -> str:
    """A column's string; None where the cell is null is an error like any other type."""
    try:
        value = raw[column]
    except KeyError:
        raise missing_column(column, tuple(raw), place, f"format `{format}`") from None
    if not isinstance(value, str):
        raise _wrong_type(f"column {column!r}", value, place)
    return value


def _wrong_type(what: str, value: Any, place: str, expected: str = "text") -> DataError:
    names = {type(None): "null", dict: "an object", list: "a list", bool: "a boolean"}
    found = names.get(
        type(value), f"a number ({value!r})" if isinstance(value, (int, float)) else type(value).__name__
    )
    hint = "write plain text; lists of messages belong in a column `messages`" if expected == "text" else None
    return DataError("E123", f"{what} must be {expected}, found {found}", place=place, hint=hint)


def _single_turn(raw: Raw, format: RowFormat, columns: Columns, place: str) -> list[Message]:
    prompt = _text(raw, columns.prompt or "prompt", place, format)
    reply = _text(raw, columns.completion or "completion", place, format)
    second = _optional_text(raw, columns.input, place)
    if not prompt.strip():
        raise DataError(
            "E126", f"column {columns.prompt!r} is empty", place=place, hint="remove or complete the row"
        )
    if not reply.strip():
        raise RowRejected(Reason.NO_REPLY, 0)
    return [Message("user", prompt, input=second), Message("assistant", reply)]


def _optional_text(raw: Raw, column: str | None, place: str) -> str | None:
    value = raw.get(column) if column else None
    if value is not None and not isinstance(value, str):
        raise _wrong_type(f"column {column!r}", value, place)
    return value if value and value.strip() else None


def _turns(raw: Raw, column: str, place: str, format: str) -> list[Raw]:
    try:
        turns = raw[column]
    except KeyError:
        raise missing_column(column, tuple(raw), place, f"format `{format}`") from None
    if not isinstance(turns, list):
        raise _wrong_type(f"column {column!r}", turns, place, "a list of turns")
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            raise _wrong_type(f"turn {number} of {column!r}", turn, place, "an object")
    return turns


def _messages(raw: Raw, column: str, place: str) -> list[Message]:
    turns = _turns(raw, column, place, "messages")
    return [
        _message(turn, number, "role", "content", _ROLES, place, turns)
        for number, turn in enumerate(turns, 1)
    ]


def _sharegpt(raw: Raw, column: str, place: str) -> list[Message]:
    turns = _turns(raw, column, place, "sharegpt")
    return [
        _message(turn, number, "from", "value", _SHAREGPT_ROLES, place, turns)
        for number, turn in enumerate(turns, 1)
    ]


_TURNS: dict[str, Callable[[Raw, str, str], list[Message]]] = {"messages": _messages, "sharegpt": _sharegpt}
_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_SHAREGPT_ROLES: dict[str, Role] = {
    **_ROLES,
    "human": "user",
    **dict.fromkeys(("gpt", "chatgpt", "bard", "bing", "claude", "model"), "assistant"),
}
_TOOL_ROLES = {
    *("tool", "tool_call", "tool_calls", "tool_response"),
    *("function", "function_call", "observation", "ipython"),
}


def _message(
    turn: Raw,
    number: int,
    role_key: str,
    content_key: str,
    roles: dict[str, Role],
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
        raise _wrong_type(f"{content_key!r} of turn {number} ({name})", content, place)
    if role != "system" and not content.strip():
        sequence = " ".join(str(turn.get(role_key)) for turn in turns)
        what = f"turn {number} ({name}) is empty; roles: {sequence}"
        raise DataError("E126", what, place=place, hint="remove or complete the turn")
    train = turn.get("train")
    if train is not None and not isinstance(train, bool):
        raise _wrong_type(f"'train' of turn {number}", train, place, "true or false")
    return Message(role, content, train)


def _bad_role(
    name: Any, number: int, key: str, roles: dict[str, Role], place: str, sequence: Sequence[Any]
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


def _with_system(raw: Raw, column: str | None, turns: list[Message], place: str) -> list[Message]:
    """The system column in front of the turns; an empty system message is none."""
    if turns and turns[0].role == "system" and not turns[0].content.strip():
        turns = turns[1:]
    system = _optional_text(raw, column, place)
    if system is None:
        return turns
    if turns and turns[0].role == "system":
        what = f"two system messages: column {column!r} and the first turn"
        raise DataError("E125", what, place=place, hint="keep one of them")
    return [Message("system", system), *turns]


def _drop_leading_assistant(turns: list[Message], adjusted: Counter[Adjustment] | None) -> list[Message]:
    """ShareGPT exports may begin in the middle of a chat: a reply to nothing teaches nothing."""
    start = 1 if turns and turns[0].role == "system" else 0
    end = start
    while end < len(turns) and turns[end].role == "assistant":
        end += 1
    if end == start:
        return turns
    if adjusted is not None:
        adjusted[Adjustment.LEADING_ASSISTANT] += end - start
    return turns[:start] + turns[end:]


def _drop_trailing_user(turns: list[Message], adjusted: Counter[Adjustment] | None) -> list[Message]:
    """A question without an answer has nothing to train on."""
    if not any(turn.role == "assistant" for turn in turns):
        raise RowRejected(Reason.NO_REPLY, 0)
    if turns[-1].role != "user":
        return turns
    if adjusted is not None:
        adjusted[Adjustment.TRAILING_USER] += 1
    return turns[:-1]


def _check_order(turns: list[Message], place: str) -> None:
    """An optional system message, then user and assistant in turn."""
    expected: Role = "user"
    for number, turn in enumerate(turns, 1):
        if turn.role == "system" and number == 1:
            continue
        if turn.role != expected:
            raise _wrong_order(turns, number, expected, place)
        expected = "assistant" if expected == "user" else "user"


def _wrong_order(turns: list[Message], number: int, expected: Role, place: str) -> DataError:
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
    return DataError("E125", f"{what}, expected the {expected}; roles: {sequence}", place=place, hint=hint)
