"""How a row of each chat format and each prompt format becomes turns, and a row of text a document.

E126  empty content
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llamatune.data.characters import check_characters
from llamatune.data.formats.beside import reply_turns, untrained, with_reply_beside
from llamatune.data.formats.record import Adjusted, Raw, Turns
from llamatune.data.formats.turns import (
    asked_in,
    exchange_keys,
    hh_turns,
    is_hh,
    is_turn,
    read_turns,
    turn_list,
)
from llamatune.data.formats.values import (
    checked_text,
    column_text,
    is_parts,
    list_of_texts,
    optional_text,
    value_of,
    wrong_type,
)
from llamatune.data.rows import Adjustment, Message
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns

# ---- formats ------------------------------------------------------------------------------------------------


def text(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> str:
    """A document."""
    column = columns.text or "text"
    found = column_text(raw, column, place, "format `text`")
    if not found.strip():
        raise DataError("E126", f"column {column!r} is empty", place=place, hint="remove the row")
    return found


def turns(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """A list of turns, {role, content} or {from, value}; or a text of "Human:" and "Assistant:" turns. The last reply
    may be in a column of its own."""
    column = columns.messages or "messages"
    value = value_of(raw, column, place, "a chat format")
    if is_hh(value):
        if adjusted is not None:
            adjusted[Adjustment.SPLIT] += 1
        found = hh_turns(value, adjusted)
    else:
        found = read_turns(value, column, place, open_end=True)
    return with_reply_beside(found, raw, columns.completion, place)


def alternating(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """A list of texts: the user's, the assistant's, and so on, as UltraChat and LIMA have them. The last reply may
    be in a column of its own."""
    column = columns.messages or "data"
    found = value_of(raw, column, place, "format `alternating`")
    if not isinstance(found, list):
        raise wrong_type(f"column {column!r}", found, place, "a list of texts")
    said = [checked_text(one, f"turn {number} of {column!r}", place) for number, one in enumerate(found, 1)]
    for number, one in enumerate(said, 1):
        if not one.strip():
            raise DataError(
                "E126", f"turn {number} of {column!r} is empty", place=place, hint="remove the row"
            )
    found = [Message("assistant" if number % 2 else "user", one) for number, one in enumerate(said)]
    return with_reply_beside(found, raw, columns.completion, place)


def exchanges(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """A list of exchanges {user, assistant}, as xtuner and MOSS have them; the first may have a system message."""
    column = columns.messages or "conversation"
    found: Turns = []
    for number, one in enumerate(
        turn_list(value_of(raw, column, place, "format `exchanges`"), column, place)
    ):
        keys = exchange_keys(one)
        if keys is None:
            expected = "an object with a question and an answer"
            raise wrong_type(f"exchange {number + 1} of {column!r}", one, place, expected)
        asked, answered = (checked_text(one[key], f"{key!r} of exchange {number + 1}", place) for key in keys)
        system = optional_text(one, "system", place)
        if system is not None:
            found.append(Message("system", system))
        # A chat that the assistant opened has a first exchange without a question.
        if number or asked.strip():
            found.append(_user(asked, f"{column}[{number}].{keys[0]}", None, place))
        found.append(Message("assistant", answered))
    return found


def question_and_answer(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """A prompt and a reply, each a text or a list of turns. Replies that are part of the prompt are not trained."""
    asked = question(raw, columns, place, adjusted)
    column = columns.completion or "completion"
    reply = value_of(raw, column, place, "a format with a prompt and a reply")
    answer = reply_turns(reply, column, place)
    whole = raw.get(columns.prompt or "prompt")
    if isinstance(reply, str) and is_hh(whole) and is_hh(f"{whole}{reply}"):
        # The reply may go on with turns of its own.
        return asked + (hh_turns(f"{whole}{reply}")[len(asked) :] or answer)
    return asked + answer


def prompt_only(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """A text, or a list of turns."""
    return question(raw, columns, place, adjusted)


def questions(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """The first of a list of questions, as MT-Bench has them: each later one needs an answer to the one before."""
    column = columns.prompt or "turns"
    value = value_of(raw, column, place, "format `questions`")
    found = value if isinstance(value, list) else list_of_texts(value)
    if not found:
        raise wrong_type(f"column {column!r}", value, place, "a list of questions")
    check_characters(found, place)
    if len(found) > 1 and adjusted is not None:
        adjusted[Adjustment.LATER_QUESTIONS] += len(found) - 1
    return [_user(checked_text(found[0], f"question 1 of {column!r}", place), column, None, place)]


def best_branch(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """The branch of the best ranks in a tree of messages {text, role, rank, replies}, as OpenAssistant has them."""
    column = columns.prompt or "prompt"
    node = value_of(raw, column, place, "format `oasst`")
    branch = []
    while node is not None:
        if not isinstance(node, dict):
            raise wrong_type(f"a message of the tree in {column!r}", node, place, "an object")
        branch.append({"role": node.get("role"), "content": node.get("text")})
        node = _best_reply(node, column, place)
    return read_turns(branch, column, place)


def _best_reply(node: Raw, column: str, place: str) -> Raw | None:
    """The reply of the lowest rank, or the first if they have no ranks. Deleted ones do not count."""
    replies = node.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
        raise wrong_type(f"'replies' in {column!r}", replies, place, "a list of objects")
    left = [reply for reply in replies if not reply.get("deleted")]
    return min(left, key=_rank, default=None)


def _rank(reply: Raw) -> float:
    rank = reply.get("rank")
    return float(rank) if isinstance(rank, (int, float)) else float("inf")


# ---- the user's part ----------------------------------------------------------------------------------------


def question(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Turns:
    """What a prompt column asks: turns up to the user's last one. Replies in it are not trained."""
    column = columns.prompt or "prompt"
    value = value_of(raw, column, place, "a format with a prompt")
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value = value["messages"]
    value = [value] if is_turn(value) else value
    before = _history(raw, columns.history, place)
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value) and not is_parts(value):
        asked = asked_in(read_turns(value, column, place, open_end=True))
    elif isinstance(value, str) and is_hh(value):
        if adjusted is not None:
            adjusted[Adjustment.SPLIT] += 1
        asked = asked_in(hh_turns(value, adjusted))
    else:
        written = checked_text(value, f"column {column!r}", place)
        return [*before, _user(written, column, columns.input, place, raw)]
    asked = list(map(untrained, asked))
    second = optional_text(raw, columns.input, place)
    if second is not None and asked and asked[-1].role == "user":
        asked[-1] = replace(asked[-1], input=second)
    return before + asked


def _user(written: str, column: str, second: str | None, place: str, raw: Raw | None = None) -> Message:
    """The user's message. Where the instruction is empty, its input is all that was asked."""
    below = optional_text(raw or {}, second, place)
    if not written.strip() and below is not None and below.strip():
        return Message("user", below)
    if not written.strip():
        raise DataError("E126", f"column {column!r} is empty", place=place, hint="remove or complete the row")
    return Message("user", written, input=below)


def _history(raw: Raw, column: str | None, place: str) -> Turns:
    """Exchanges before the question: a list of [question, answer], or of turns."""
    value: Any = raw.get(column) if column else None
    if not value:
        return []
    if isinstance(value, list) and all(map(is_turn, value)):
        return read_turns(value, column or "history", place)
    if isinstance(value, list) and all(exchange_keys(one) is not None for one in value):
        return exchanges(raw, Columns(messages=column), place, None)
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 2 for one in value):
        hint = f"write [[question, answer], ...], or leave the column out with `ignore: [{column}]`"
        raise wrong_type(f"column {column!r}", value, place, "a list of exchanges", hint=hint)
    # A chat that the assistant opened has a first exchange without a question.
    said = [
        ("assistant" if number else "user", checked_text(one, f"a text in {column!r}", place))
        for first, exchange in enumerate(value)
        for number, one in enumerate(exchange)
        if first or number or one
    ]
    return [Message("assistant" if who == "assistant" else "user", one) for who, one in said]
