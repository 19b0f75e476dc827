"""Raw rows of the pair formats become preferences: one prompt, a chosen and a rejected reply.

Every format gives two whole conversations; what they have in common at the beginning, up to and with a user
message, is the prompt. So a prompt that stands in a column of its own, in front of both replies, or inside both
texts gives the same row.

E129  the two replies do not belong to one prompt
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llamatune.data.formats.conversations import Adjustment, drop_leading_assistant
from llamatune.data.formats.pair_formats import HH_TURN, is_hh
from llamatune.data.formats.ratings import CHOICES, known_value, rating_of, safety_of
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
    wrong_type,
)
from llamatune.data.rows import Message, Preference, Reason, Role, RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns, RowFormat

Adjusted = Counter[Adjustment] | None
Turns = list[Message]


class _Sides(NamedTuple):
    """The two conversations of a row. `prompt` is what a column of its own says that both begin with; where a
    side begins with the assistant's turn, it goes on behind that prompt."""

    prompt: Turns
    chosen: Turns
    rejected: Turns


def preference(
    raw: Raw, format: RowFormat, columns: Columns, place: str, adjusted: Adjusted = None
) -> Preference:
    """The pair of a row.

    Raises:
        DataError: E122 to E126, E128, E129.
        RowRejected: a side without a reply, equal sides, or a chosen reply that is unsafe beside a safe one.
    """
    sides = _READERS[format](raw, columns, place, adjusted)
    chosen, rejected = (
        _whole(raw, columns, sides, side, name, place)
        for side, name in ((sides.chosen, "chosen"), (sides.rejected, "rejected"))
    )
    prompt = _shared(chosen, rejected, place)
    rating = rating_of(raw, columns, place)
    chosen_safe, rejected_safe = safety_of(raw, columns, place)
    if chosen == rejected:
        raise RowRejected(Reason.IDENTICAL, 0)
    if chosen_safe is False and rejected_safe is True:
        raise RowRejected(Reason.CHOSEN_UNSAFE, 0)
    return Preference(
        tuple(chosen[:prompt]),
        tuple(chosen[prompt:]),
        tuple(rejected[prompt:]),
        place,
        rating,
        chosen_safe,
        rejected_safe,
    )


def _whole(raw: Raw, columns: Columns, sides: _Sides, side: Turns, name: str, place: str) -> Turns:
    """One side from its first message to its last reply, in the right order."""
    if side and side[0].role == "assistant":
        side = sides.prompt + side
    elif sides.prompt and side[: len(sides.prompt)] != sides.prompt and not _said(side, sides.prompt):
        raise DataError(
            "E129",
            f"the prompt column and the first turns of `{name}` differ",
            place=place,
            hint="leave the prompt out of the replies, or write it as it stands in them",
        )
    turns = with_system(raw, columns.system, side, place)
    if not turns or turns[-1].role != "assistant" or not turns[-1].content.strip():
        raise RowRejected(Reason.NO_REPLY, 0)
    check_order(turns, place, f"`{name}` with its prompt")
    return turns


def _said(side: Turns, prompt: Turns) -> bool:
    """Whether a prompt of one message is one of the user's messages in the side."""
    return len(prompt) == 1 and prompt[0].content in [turn.content for turn in side if turn.role == "user"]


def _shared(chosen: Turns, rejected: Turns, place: str) -> int:
    """How many messages both sides begin with, up to and with one of the user's."""
    count = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        count += 1
    while count and chosen[count - 1].role != "user":
        count -= 1
    if not count:
        raise DataError(
            "E129",
            "`chosen` and `rejected` do not begin with the same prompt",
            place=place,
            why="Only replies to one prompt can be compared",
            hint="remove the row, or write the same prompt in front of both replies",
        )
    return count


# ---- formats ----------------------------------------------------------------------------------------------


def _preference(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> _Sides:
    """Text behind a prompt, or turns {role, content} with or without one."""
    prompt: Turns = []
    if columns.prompt:
        value = value_of(raw, columns.prompt, place, "preference")
        if isinstance(value, list):
            prompt = _plain(role_content(checked_turns(value, columns.prompt, place), place))
        elif value is not None or isinstance(raw.get(columns.chosen or "chosen"), str):
            prompt = [_asked(raw, columns.prompt, columns.input, place)]
    chosen, rejected = (
        _replies(raw, column, "preference", role_content, place)
        for column in (columns.chosen or "chosen", columns.rejected or "rejected")
    )
    return _Sides(prompt, chosen, rejected)


def _sharegpt_preference(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> _Sides:
    """Turns {from, value}: a conversation, and two replies to it."""
    prompt: Turns = []
    if columns.messages:
        value = value_of(raw, columns.messages, place, "sharegpt_preference")
        prompt = _plain(from_value(checked_turns(value, columns.messages, place), place))
        prompt = drop_leading_assistant(prompt, adjusted)
    chosen, rejected = (
        _replies(raw, column, "sharegpt_preference", from_value, place)
        for column in (columns.chosen or "chosen", columns.rejected or "rejected")
    )
    return _Sides(prompt, chosen, rejected)


def _hh(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> _Sides:
    """Text with "Human:" and "Assistant:" turns; with a prompt column, each side is the rest of its text."""
    prompt = text_of(raw, columns.prompt, place, "hh") if columns.prompt else ""
    joined = [Counter[Adjustment](), Counter[Adjustment]()]
    chosen, rejected = (
        _hh_side(prompt, text_of(raw, column, place, "hh"), column, place, counts)
        for column, counts in zip(
            (columns.chosen or "chosen", columns.rejected or "rejected"), joined, strict=True
        )
    )
    if adjusted is not None:
        adjusted.update(joined[0] | joined[1])  # what was joined in the prompt stands in both
    return _Sides([], chosen, rejected)


def _hh_side(prompt: str, text: str, column: str, place: str, adjusted: Adjusted) -> Turns:
    if prompt and not text.startswith(prompt):
        text = prompt + text
    if not is_hh(text):
        what = f'column {column!r} is not text with "\\n\\nHuman:" and "\\n\\nAssistant:" turns'
        raise DataError("E129", what, place=place, hint="a row of `hh` begins with a Human: turn")
    return hh_turns(text, adjusted)


def hh_turns(text: str, adjusted: Adjusted = None) -> Turns:
    """The messages of a text of Anthropic's HH data, without the white space around each.

    Some turns there have a second marker of the same speaker inside; such turns are joined by a blank line.

    Raises:
        RowRejected: an empty turn that is not the last one.
    """
    _, *pieces = HH_TURN.split(text)
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


def _shp(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> _Sides:
    """A post, two answers, and which of them is better: label 1 is the first."""
    prompt = _asked(raw, columns.prompt or "history", None, place)
    replies = [
        _reply(text_of(raw, column, place, "shp"))
        for column in (columns.first or "human_ref_A", columns.second or "human_ref_B")
    ]
    column = columns.better or "labels"
    label = known_value(CHOICES, value_of(raw, column, place, "shp"), column, place)
    return _Sides([prompt], replies[1 - label], replies[label])


def _summarize(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> _Sides:
    """A post, two summaries, and which of them is better: choice 0 is the first."""
    column = columns.replies or "summaries"
    summaries = checked_turns(value_of(raw, column, place, "summarize"), column, place)
    if len(summaries) != 2:
        raise DataError("E129", f"column {column!r} has {len(summaries)} summaries, not two", place=place)
    replies = [_reply(text_of(summary, "text", place, column)) for summary in summaries]
    column = columns.better or "choice"
    choice = known_value(CHOICES, value_of(raw, column, place, "summarize"), column, place)
    prompt = Message("user", _post(raw, columns.prompt or "info", place))
    return _Sides([prompt], replies[choice], replies[1 - choice])


def _post(raw: Raw, column: str, place: str) -> str:
    """A post with its title, as the flat form of this data shows it to a model."""
    info = value_of(raw, column, place, "summarize")
    if not isinstance(info, dict):
        raise wrong_type(f"column {column!r}", info, place, "an object")
    body = optional_text(info, "post", place) or optional_text(info, "article", place)
    if body is None:
        raise DataError("E126", f"column {column!r} has neither a post nor an article", place=place)
    heads = (("SUBREDDIT: r/", "subreddit"), ("TITLE: ", "title"))
    lines = [f"{head}{text}" for head, key in heads if (text := optional_text(info, key, place))]
    return "\n".join([*lines, f"POST: {body}" if lines else body, "TL;DR:"])


_READERS: dict[str, Callable[[Raw, Columns, str, Adjusted], _Sides]] = {
    "preference": _preference,
    "hh": _hh,
    "sharegpt_preference": _sharegpt_preference,
    "shp": _shp,
    "summarize": _summarize,
}


def _asked(raw: Raw, column: str, second: str | None, place: str) -> Message:
    """The user's message that a column of text holds."""
    text = text_of(raw, column, place, "preference")
    if not text.strip():
        raise DataError("E126", f"column {column!r} is empty", place=place, hint="remove or complete the row")
    return Message("user", text, input=optional_text(raw, second, place))


def _reply(text: str) -> Turns:
    return [Message("assistant", text)]


def _replies(
    raw: Raw, column: str, format: str, read: Callable[[list[Raw], str], Turns], place: str
) -> Turns:
    """One side's turns: from text, a turn, or a list of turns. An empty last turn is a side without a reply."""
    value = value_of(raw, column, place, format)
    if isinstance(value, str):
        return _reply(value)
    turns = [value] if isinstance(value, dict) else value
    if isinstance(turns, list):
        turns = checked_turns(turns, column, place)
        if not turns or any(turns[-1].get(key) == "" for key in ("content", "value")):
            raise RowRejected(Reason.NO_REPLY, 0)
        return _plain(read(turns, place))
    raise wrong_type(f"column {column!r}", value, place, "text, a turn or a list of turns")


def _plain(turns: Sequence[Message]) -> Turns:
    """Without `train` flags, which mean nothing where replies are compared."""
    return [Message(turn.role, turn.content) for turn in turns]
