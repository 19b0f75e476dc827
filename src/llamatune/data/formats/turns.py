"""Turns of raw rows, checked one by one.

E123  a value has the wrong type
E124  an unknown or unsupported role
E125  roles in the wrong order
E126  empty content
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from llamatune.data.formats.record import Adjusted, Raw, Turns
from llamatune.data.formats.values import (
    THOUGHTS,
    checked_text,
    is_parts,
    missing_column,
    optional_text,
    wrong_type,
)
from llamatune.data.rows import Adjustment, Message, Reason, Role, RowRejected
from llamatune.errors import DataError

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "bot", "ai", "bard", "bing", "claude", "model", "chatbot", "llm"),
        "assistant",
    ),
    **dict.fromkeys(("gpt-4", "gpt4", "gpt-3.5"), "assistant"),
}
ROLE_KEYS = ("role", "from", "speaker", "author", "sender")
CONTENT_KEYS = ("content", "value", "text", "parts", "message", "utterance")
"""The first of these that is not null counts: Parquet files give all turns all keys."""
ASKED_KEYS = ("user", "human", "input", "prompt", "question", "instruction", "query")
ANSWERED_KEYS = ("assistant", "bot", "gpt", "output", "response", "answer", "completion")
"""What an exchange calls its two halves."""
_TOOL_ROLES = {
    *("tool", "tool_call", "tool_calls", "tool_response"),
    *("function", "function_call", "observation", "ipython"),
}
_TOOL_KEYS = ("tool_calls", "function_call")
# Whether the key, when true, says "train" or "do not train".
_TRAIN_KEYS = {
    **dict.fromkeys(("train", "training", "trainable", "loss", "weight", "loss_weight"), True),
    **dict.fromkeys(("loss_mask", "compute_loss", "train_on_turn", "is_trained", "learn"), True),
    **dict.fromkeys(("mask", "masked", "ignore", "ignored", "skip", "no_loss", "ignore_loss"), False),
}
_PARTLY = ("train_detail", "training_detail")
"""Keys that say which characters of a turn are trained."""
_WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}

_HH_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_HH_LINE = re.compile(r"(?:\A\s*|\n)(Human|Assistant):")
"""What begins a turn in a text of Anthropic's HH data: blank lines, or where there are none, a new line."""


def unused_keys(turn: Raw) -> list[str]:
    """Keys of a turn that have a value and are not understood, or are beside one that is read in their place."""
    if exchange := exchange_keys(turn):
        return [key for key, value in turn.items() if key not in (*exchange, "system") and value]
    read = {_key(turn, ROLE_KEYS), _key(turn, CONTENT_KEYS)}
    spare = set(CONTENT_KEYS[2:]) | set(ROLE_KEYS[2:])
    known = {*ROLE_KEYS, *CONTENT_KEYS, *_TOOL_KEYS, *_TRAIN_KEYS, *_PARTLY} - spare | read
    unused = [key for key, value in turn.items() if key not in known and value not in (None, "", [], {})]
    content = turn.get(_key(turn, CONTENT_KEYS) or "")
    parts = (
        {one.get("type") for one in content if isinstance(one, dict)} if isinstance(content, list) else set()
    )
    return unused + [f"content.{kind}" for kind in THOUGHTS if kind in parts]


def exchange_keys(value: Any) -> tuple[str, str] | None:
    """The keys under which an object holds a question and its answer, if it is such an exchange and no turn."""
    if not isinstance(value, dict) or is_turn(value):
        return None
    asked, answered = _key(value, ASKED_KEYS), _key(value, ANSWERED_KEYS)
    return (asked, answered) if asked and answered else None


def is_turn(value: Any) -> bool:
    """Whether a value is one turn: it says who speaks, and what."""
    return isinstance(value, dict) and bool(_key(value, ROLE_KEYS) and _key(value, CONTENT_KEYS))


def turns_in(value: Any) -> list[Raw]:
    """Turns and exchanges in a column; other objects have keys of their own."""
    turns = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [
        turn
        for turn in turns
        if isinstance(turn, dict) and (set(ROLE_KEYS) & turn.keys() or exchange_keys(turn))
    ]


def role_of(turn: Raw) -> Role | None:
    """Who speaks, if the turn says so in a known word."""
    name = _first(turn, ROLE_KEYS)
    return ROLES.get(name.strip().rstrip(":").lower()) if isinstance(name, str) else None


def turn_list(value: Any, column: str, place: str) -> list[Raw]:
    """The value as a list of objects. Raises DataError (E123)."""
    if not isinstance(value, list):
        raise wrong_type(f"column {column!r}", value, place, "a list of turns")
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise wrong_type(f"turn {number} of {column!r}", turn, place, "an object")
    return value


def read_turns(value: Any, column: str, place: str, *, open_end: bool = False) -> Turns:
    """Messages of a list of turns {role, content} or {from, value}, or a mixture of the two.

    Args:
        open_end: whether the last turn may be the assistant's, with nothing said yet.

    Raises:
        DataError: E122 to E126.
    """
    turns = turn_list(value, column, place)
    last = [Message("assistant", "")] if open_end and turns and is_open(turns[-1]) else []
    said = turns[: len(turns) - len(last)]
    return [_message(turn, number, place, turns) for number, turn in enumerate(said, 1)] + last


def asked_in(turns: Turns) -> Turns:
    """The turns without an empty one at their end, in which a reply is to be."""
    return turns[:-1] if turns and not turns[-1].content.strip() else turns


def is_open(turn: Raw) -> bool:
    """Whether a turn is the assistant's, and says nothing: a place for a reply. Calls of tools say something."""
    said = _first(turn, CONTENT_KEYS)
    nothing = said is None or (isinstance(said, str) and not said.strip())
    return nothing and role_of(turn) == "assistant" and not any(turn.get(key) for key in _TOOL_KEYS)


def _message(turn: Raw, number: int, place: str, turns: list[Raw]) -> Message:
    """One checked turn; `turns` are all of them, for the error's text."""
    name = _first(turn, ROLE_KEYS)
    role = role_of(turn)
    if role is None:
        raise _bad_role(name, number, turns, place)
    if called := next((key for key in _TOOL_KEYS if turn.get(key)), None):
        raise _bad_role(called, number, turns, place)
    key = _key(turn, CONTENT_KEYS)
    if key is None:
        expected = "value" if "from" in turn else "content"
        raise missing_column(expected, tuple(turn), place, f"turn {number}")
    # No system message at all is like an empty one.
    said = "" if turn[key] is None and role == "system" else turn[key]
    content = checked_text(said, f"{key!r} of turn {number} ({name})", place)
    if role != "system" and not content.strip():
        sequence = " ".join(str(_first(turn, ROLE_KEYS)) for turn in turns)
        what = f"turn {number} ({name}) is empty; roles: {sequence}"
        raise DataError("E126", what, place=place, hint="remove or complete the turn")
    return Message(role, content, _train(turn, role, number, place))


def _key(turn: Raw, keys: Iterable[str]) -> str | None:
    """The first of these keys that the turn has a value for; else the first that it has."""
    there = [key for key in keys if key in turn]
    return next((key for key in there if turn[key] is not None), there[0] if there else None)


def _first(turn: Raw, keys: Iterable[str]) -> Any:
    """The value of the first of these keys that the turn has."""
    key = _key(turn, keys)
    return None if key is None else turn[key]


def _train(turn: Raw, role: Role, number: int, place: str) -> bool | None:
    """What a turn says about being trained, in any spelling; None where it says nothing."""
    said: dict[bool, str] = {}
    if partly := next((key for key in _PARTLY if turn.get(key)), None):
        what = (
            f"{partly!r} of turn {number} says which characters are trained, and llamatune trains whole turns"
        )
        hint = "cut the turn where that changes, or leave such rows out: `data.on_bad_row=drop`"
        raise DataError("E123", what, place=place, hint=hint)
    for key, polarity in _TRAIN_KEYS.items():
        value = turn.get(key)
        if value is None or value != value:
            continue
        value = _WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value
        if not isinstance(value, (bool, int, float)) or value not in (0, 1):
            expected = "0 or 1" if "weight" in key else "true or false"
            raise wrong_type(f"{key!r} of turn {number}", value, place, expected)
        said[bool(value) is polarity] = key
    if len(said) == 2:
        what = f"turn {number} is to be trained according to {said[True]!r}, and not according to {said[False]!r}"
        raise DataError("E123", what, place=place, hint="keep one of the two")
    train = next(iter(said), None)
    # Chat data gives weights to all turns; those of a question only mean that it is not left out.
    return None if train and role != "assistant" and said[True] != "train" else train


def _bad_role(name: Any, number: int, turns: Sequence[Raw], place: str) -> DataError:
    sequence = [_first(turn, ROLE_KEYS) for turn in turns]
    known = [one if isinstance(one, str) and one.lower() in ROLES else ascii(one)[:30] for one in sequence]
    shown = " ".join(known)
    if isinstance(name, str) and name.lower() in _TOOL_ROLES:
        what = f"turn {number} uses tools ({name!r}), which llamatune does not train; roles: {shown}"
        return DataError(
            "E124", what, place=place, hint="remove such rows, or rewrite tool turns as plain text"
        )
    # A far one may be the other speaker: `answer` is nearer to `user` than to `assistant`.
    near = difflib.get_close_matches(str(name).lower(), ROLES, n=1, cutoff=0.75)
    key = next((key for key in ROLE_KEYS if key in turns[number - 1]), "role")
    what = f"turn {number} has the unknown {key} {name!r}; roles: {shown}"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return DataError("E124", what, place=place, hint=f"{hint}known: {', '.join(ROLES)}")


# ---- whole conversations ------------------------------------------------------------------------------------


def with_system(raw: Raw, column: str | None, turns: Turns, place: str) -> Turns:
    """The system column in front of the turns; an empty system message counts as none, and a turn as its text. Raises
    DataError (E123, E125)."""
    if turns and turns[0].role == "system" and not turns[0].content.strip():
        turns = turns[1:]
    said = raw.get(column) if column else None
    if isinstance(said, dict) and not is_parts(said) and (key := _key(said, CONTENT_KEYS)):
        raw, column = said, key
    system = optional_text(raw, column, place)
    if system is None:
        return turns
    if turns and turns[0].role == "system":
        if turns[0].content.strip() == system.strip():
            return turns
        what = f"two system messages: column {column!r} and the first turn"
        raise DataError("E125", what, place=place, hint="keep one of them")
    return [Message("system", system), *turns]


_OF_THE_ROW = re.compile(r"\{(\w+)\}")


def under_condition(turns: Sequence[Message], condition: str, raw: Raw, place: str) -> Turns:
    """The turns with the condition as their system message, in front of one that there is.

    Args:
        condition: in which `{name}` stands for what the row has in that column.

    Raises:
        DataError: E122, E123, the row has no text or number there.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if raw.get(name) in (None, ""):
            raise missing_column(name, list(raw), place, "`condition`")
        if not isinstance(raw[name], (str, int, float)):
            raise wrong_type(f"column {name!r}", raw[name], place, "text or a number")
        return str(raw[name])

    said = _OF_THE_ROW.sub(value, condition)
    if turns and turns[0].role == "system":
        return [Message("system", f"{said}\n\n{turns[0].content}"), *turns[1:]]
    return [Message("system", said), *turns]


def drop_leading_assistant(turns: Turns, adjusted: Adjusted) -> Turns:
    """Without a greeting or the end of an earlier chat: a reply to nothing teaches nothing."""
    start = 1 if turns and turns[0].role == "system" else 0
    end = start
    while end < len(turns) and turns[end].role == "assistant":
        end += 1
    if end > start and adjusted is not None:
        adjusted[Adjustment.LEADING_ASSISTANT] += end - start
    return turns[:start] + turns[end:]


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
        what, hint = f"turn {number} is a system message", "a system message comes first"
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


# ---- texts with "Human:" and "Assistant:" turns --------------------------------------------------------------


def is_hh(text: Any) -> bool:
    """Whether a text begins with a turn of "Human:" or "Assistant:", and has both."""
    if not isinstance(text, str) or not text.lstrip().startswith(("Human:", "Assistant:")):
        return False
    text = _lines(text)
    return {match.group(1) for match in _marks(text).finditer(text)} == {"Human", "Assistant"}


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _marks(text: str) -> re.Pattern[str]:
    """What begins its turns. Within turns that blank lines divide, a new line says nothing."""
    return _HH_TURN if len(_HH_TURN.findall(text)) > 1 else _HH_LINE


def hh_turns(text: str, adjusted: Adjusted = None) -> Turns:
    """The messages of a text of Anthropic's HH data, without the white space around each.

    Some turns there have a second marker of the same speaker inside; such turns are joined by a blank line.

    Raises:
        RowRejected: an empty turn that is not the last one.
    """
    text = _lines(text)
    _, *pieces = _marks(text).split(text)
    turns: Turns = []
    for speaker, content in zip(pieces[::2], pieces[1::2], strict=True):
        role: Role = "user" if speaker == "Human" else "assistant"
        content = content.strip()
        if turns and turns[-1].role == role:
            content = f"{turns.pop().content}\n\n{content}".strip()
            if adjusted is not None:
                adjusted[Adjustment.JOINED] += 1
        turns.append(Message(role, content))
    if not all(turn.content for turn in turns[:-1]):
        raise RowRejected(Reason.EMPTY_TURN, 0)
    return turns
