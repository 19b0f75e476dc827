"""A reply in a column beside the turns that it answers, as logs of chats keep it, is joined to them.

In one file, some rows may be like this and others whole, so each row says itself where its reply is.

E125  a reply beside turns that have another one
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from llamatune.data.formats.record import Raw, Turns, column_called
from llamatune.data.formats.turns import asked_in, is_open, is_turn, read_turns, role_of
from llamatune.data.formats.values import checked_text, is_parts, wrong_type
from llamatune.data.rows import Message, Role
from llamatune.errors import DataError

REPLY_COLUMNS = ("completion", "response", "output", "answer", "reply", "assistant")
"""What a column is called that holds the reply to turns in another one."""


def last_speaker(value: Any) -> Role | None:
    """Who has the last word in a list of turns, or of texts that take turns; None if it is no such list. An empty turn
    of the assistant's is a place for a reply, and no word."""
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(one, str) for one in value):
        return "user" if len(value) % 2 else "assistant"
    turns = [one for one in value[-2:] if isinstance(one, dict)]
    if turns and is_open(turns[-1]):
        turns.pop()
    return role_of(turns[-1]) if turns else None


def replied_beside(row: Raw, turns: str, reply: str) -> bool:
    """Whether the turns in one column end with the user's, and another column has something for a reply."""
    return last_speaker(row.get(turns)) == "user" and says(row.get(reply))


def replies_beside(rows: Sequence[Raw], turns: str) -> bool:
    """Whether a column of a known name has the reply to some of the turns."""
    found = tuple(dict.fromkeys(name for row in rows for name in row))
    known = [column for name in REPLY_COLUMNS if (column := column_called(name, found)) is not None]
    return any(replied_beside(row, turns, column) for row in rows for column in known)


def endings(row: Raw) -> Iterator[str]:
    """For each list of turns in a row: whose the last one is, and which columns have a reply beside it."""
    beside = [
        name for name in REPLY_COLUMNS if (column := column_called(name, tuple(row))) and says(row[column])
    ]
    for name, value in row.items():
        if (who := last_speaker(value)) is not None:
            yield f"{name} ends with {who}, beside {beside}"


def says(value: Any) -> bool:
    """Whether a cell holds something: a text that is not blank, or any other value that is not empty."""
    return bool(value.strip()) if isinstance(value, str) else bool(value)


def with_reply_beside(turns: Turns, raw: Raw, column: str | None, place: str) -> Turns:
    """The turns with the reply of the column, if they end with the user's. Replies among them are part of the prompt
    then, and are not trained.

    Raises:
        DataError: E125, they have another reply at their end; E122 to E126, the reply cannot be read.
    """
    value = raw.get(column) if column else None
    if column is None or not turns or not says(value):
        return turns
    reply = reply_turns(value, column, place)
    turns = asked_in(turns)
    if turns and turns[-1].role == "user":
        return [*map(untrained, turns), *reply]
    if _contents(turns[-len(reply) :]) == _contents(reply):
        return turns
    if turns and turns[-1].role == "assistant":
        raise DataError(
            "E125",
            f"two replies: column {column!r}, and the last turn, which says something else",
            place=place,
            why="Which of them is to be trained is not for llamatune to choose",
            hint=f"keep one of the two in the row; if the column holds no replies, set `ignore: [{column}]`, and "
            "name it nowhere under `columns`",
        )
    return turns


def reply_turns(value: Any, column: str, place: str) -> Turns:
    """A reply, which is a text, a turn, or a list of turns. No reply at all is like an empty one, which is left out and
    counted.

    Raises:
        DataError: E122 to E126.
    """
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        hint = (
            "give each reply a row of its own; two of which one is better are a pair, `chosen` and `rejected`"
        )
        raise wrong_type(f"column {column!r}", value, place, "one reply", hint=hint)
    if isinstance(value, (dict, list)) and not is_parts(value):
        turns = [value] if isinstance(value, dict) else value
        if not any(isinstance(turn, dict) and (is_turn(turn) or "role" in turn) for turn in turns):
            hint = "write it as the text that is to be learnt, for example with `json.dumps`"
            raise wrong_type(f"column {column!r}", value, place, "a text", hint=hint)
        answer = read_turns(turns, column, place)
        return answer or [Message("assistant", "")]
    written = "" if value is None else checked_text(value, f"column {column!r}", place)
    return [Message("assistant", written)]


def untrained(turn: Message) -> Message:
    """The turn as part of a prompt."""
    return replace(turn, train=False) if turn.role == "assistant" else turn


def _contents(turns: Turns) -> list[tuple[str, str]]:
    return [(turn.role, turn.content.strip()) for turn in turns]
