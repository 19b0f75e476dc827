"""Raw rows of a recognised format become conversations, prompts or documents, checked turn by turn (see `turns`).

E126  empty content
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from llamatune.data.formats.recognise import Raw
from llamatune.data.formats.turns import (
    check_order,
    checked_turns,
    from_value,
    optional_text,
    role_content,
    text_of,
    value_of,
    with_system,
)
from llamatune.data.rows import Conversation, Document, Message, Prompt, Reason, RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns, RowFormat


class Adjustment(StrEnum):
    """What was changed in a conversation before training; counted, printed and stored."""

    TRAILING_USER = "unanswered user turns dropped at the end"
    LEADING_ASSISTANT = "assistant turns dropped at the start"
    JOINED = "turns joined to the one before, of the same speaker"


def document(raw: Raw, columns: Columns, place: str) -> Document:
    """The plain text of a row.

    Raises:
        DataError: E122, E123, E126.
    """
    text = text_of(raw, columns.text or "text", place, "text")
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
        turns = _turns(raw, format, columns.messages or "messages", place)
        if format == "sharegpt":
            turns = drop_leading_assistant(turns, adjusted)
    else:
        turns = _single_turn(raw, format, columns, place)
    turns = with_system(raw, columns.system, turns, place)
    turns = _drop_trailing_user(turns, adjusted)
    check_order(turns, place)
    return Conversation(tuple(turns), place)


def prompt(
    raw: Raw,
    format: RowFormat,
    columns: Columns,
    place: str,
    adjusted: Counter[Adjustment] | None = None,
    *,
    is_safety: bool = False,
) -> Prompt:
    """What a policy is asked: a row of `prompt_only`, or a conversation without the reply at its end. An unanswered
    question at the end of a conversation is asked as it stands.

    Raises:
        DataError: E122 to E126.
        RowRejected: nobody asks anything.
    """
    if format in ("messages", "sharegpt"):
        turns = _turns(raw, format, columns.messages or "messages", place)
        if format == "sharegpt":
            turns = drop_leading_assistant(turns, adjusted)
    elif format == "prompt_only" and isinstance(raw.get(columns.prompt or "prompt"), list):
        turns = _prompt_turns(raw, columns.prompt or "prompt", place)
    else:
        turns = [_question(raw, format, columns, place)]
    turns = with_system(raw, columns.system, turns, place)
    check_order(turns, place)
    if turns and turns[-1].role == "assistant":
        if format == "prompt_only":
            what = "the prompt ends with the assistant's turn, expected the user's"
            raise DataError(
                "E125", what, place=place, hint="end with a user message, or use `format: messages`"
            )
        turns = turns[:-1]
    if not turns or turns[-1].role != "user":
        raise RowRejected(Reason.NO_PROMPT, 0)
    return Prompt(
        tuple(Message(turn.role, turn.content, input=turn.input) for turn in turns), place, is_safety
    )


def _prompt_turns(raw: Raw, column: str, place: str) -> list[Message]:
    """Turns {role, content} or {from, value} of a column."""
    turns = checked_turns(raw[column], column, place)
    return from_value(turns, place) if turns and "from" in turns[0] else role_content(turns, place)


def _turns(raw: Raw, format: RowFormat, column: str, place: str) -> list[Message]:
    turns = checked_turns(value_of(raw, column, place, format), column, place)
    return role_content(turns, place) if format == "messages" else from_value(turns, place)


def _single_turn(raw: Raw, format: RowFormat, columns: Columns, place: str) -> list[Message]:
    question = _question(raw, format, columns, place)
    reply = text_of(raw, columns.completion or "completion", place, format)
    if not reply.strip():
        raise RowRejected(Reason.NO_REPLY, 0)
    return [question, Message("assistant", reply)]


def _question(raw: Raw, format: RowFormat, columns: Columns, place: str) -> Message:
    """The user's message that a column of text holds."""
    text = text_of(raw, columns.prompt or "prompt", place, format)
    second = optional_text(raw, columns.input, place)
    if not text.strip():
        raise DataError(
            "E126", f"column {columns.prompt!r} is empty", place=place, hint="remove or complete the row"
        )
    return Message("user", text, input=second)


def drop_leading_assistant(turns: list[Message], adjusted: Counter[Adjustment] | None) -> list[Message]:
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
