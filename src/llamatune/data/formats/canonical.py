"""A raw row of any format becomes a canonical one."""

from __future__ import annotations

from dataclasses import replace

from llamatune.data.formats.known import FORMATS
from llamatune.data.formats.labels import label_of, score_of
from llamatune.data.formats.pairs import preference
from llamatune.data.formats.recognise import Recognised
from llamatune.data.formats.record import Adjusted, Raw, Sides, Turns
from llamatune.data.formats.turns import asked_in, check_order, drop_leading_assistant, with_system
from llamatune.data.formats.values import unfolded
from llamatune.data.rows import (
    Adjustment,
    Conversation,
    Document,
    Message,
    Prompt,
    Reason,
    Row,
    RowRejected,
)
from llamatune.errors import DataError


def canonical(
    raw: Raw,
    recognised: Recognised,
    place: str,
    adjusted: Adjusted = None,
    *,
    is_safety: bool = False,
    label: bool | None = None,
) -> Row:
    """The conversation, document, preference or prompt of a row; what was changed in it is counted in `adjusted`.

    Args:
        is_safety: the tag of prompts.
        label: of labelled rows, take only those with this label.

    Raises:
        DataError: E122 to E129.
        RowRejected: a row that cannot be used, for a reason that is counted.
    """
    columns = recognised.columns
    raw = unfolded(raw, columns, place, adjusted)
    if label is not None and label_of(raw, columns.label or "label", place) is not label:
        raise RowRejected(Reason.OTHER_LABEL, 0)
    read = FORMATS[recognised.format].read(raw, columns, place, adjusted)
    if isinstance(read, str):
        return Document(read, place)
    if isinstance(read, Sides):
        return preference(raw, read, columns, place, adjusted)
    turns = with_system(raw, columns.system, drop_leading_assistant(read, adjusted), place)
    if recognised.kind == "prompts":
        return _prompt(turns, recognised, place, is_safety, raw)
    found = _conversation(turns, place, adjusted, graded=recognised.kind in ("scores", "labels"))
    if recognised.kind == "scores":
        return replace(found, score=score_of(raw, columns.score or "score", place))
    if recognised.kind == "labels":
        return replace(found, score=float(label_of(raw, columns.label or "label", place)))
    return found


def _conversation(turns: Turns, place: str, adjusted: Adjusted, *, graded: bool) -> Conversation:
    """Turns up to the last reply. A question without an answer has nothing to train on, and an empty reply is none.

    Args:
        graded: whether the row says how good its last reply is: then that must be there, and no earlier one stands in.
    """
    said = asked_in(turns)
    if not any(turn.role == "assistant" for turn in said) or (graded and said is not turns):
        raise RowRejected(Reason.NO_REPLY, 0)
    if said is not turns and not any(turn.role == "assistant" and turn.train is not False for turn in said):
        raise RowRejected(Reason.NO_REPLY, 0)
    if said[-1].role == "user":
        said = said[:-1]
        if adjusted is not None:
            adjusted[Adjustment.TRAILING_USER] += 1
    check_order(said, place)
    return Conversation(tuple(said), place)


def _named(raw: Raw, column: str | None) -> str:
    """A name or a number; anything else in that column says nothing."""
    value = raw.get(column) if column else None
    return str(value) if isinstance(value, (str, int)) else ""


def _prompt(turns: Turns, recognised: Recognised, place: str, is_safety: bool, raw: Raw) -> Prompt:
    """What a policy is asked: turns without the reply at their end. An unanswered question is asked as it is."""
    check_order(turns, place)
    reference = ""
    if turns and turns[-1].role == "assistant":
        if FORMATS[recognised.format].kind == "prompts":
            raise DataError(
                "E125",
                "the prompt ends with the assistant's turn, expected the user's",
                place=place,
                hint="end with a user message, or use `format: messages`",
            )
        reference, turns = turns[-1].content, turns[:-1]
    if not turns or turns[-1].role != "user":
        raise RowRejected(Reason.NO_PROMPT, 0)
    messages = tuple(Message(turn.role, turn.content, input=turn.input) for turn in turns)
    columns = recognised.columns
    category, attack = _named(raw, columns.category), _named(raw, columns.attack)
    return Prompt(messages, place, is_safety, category, attack, reference)
