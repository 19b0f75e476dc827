"""How a row of each pair format becomes the two conversations of a preference.

Every format gives two whole conversations; what they have in common at the beginning, up to and including a user
message, is the prompt. So the row is the same whether the prompt is in a column of its own, in front of both replies,
or inside both texts.

E129  the two replies do not belong to one prompt
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from llamatune.data.characters import check_characters
from llamatune.data.formats.chats import question
from llamatune.data.formats.labels import comparable, flag_of, is_tie, known_value, read_rating, safety_of
from llamatune.data.formats.record import Adjusted, Raw, Reader, Sides, Turns
from llamatune.data.formats.turns import (
    asked_in,
    check_order,
    drop_leading_assistant,
    hh_turns,
    is_hh,
    is_open,
    read_turns,
    turn_list,
    with_system,
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
from llamatune.data.rows import Adjustment, Message, Preference, Reason, RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns
from llamatune.wording import counted


def preference(raw: Raw, sides: Sides, columns: Columns, place: str, adjusted: Adjusted = None) -> Preference:
    """The pair of two conversations, with the row's labels.

    Raises:
        DataError: E123, E125, E128, E129.
        RowRejected: a side without a reply, equal sides, or a chosen reply that is unsafe while the other one is safe.
    """
    counts = [Counter[Adjustment](), Counter[Adjustment]()]
    chosen, rejected = (
        _whole(raw, columns, sides, side, name, place, count)
        for (side, name), count in zip(
            ((sides.chosen, "chosen"), (sides.rejected, "rejected")), counts, strict=True
        )
    )
    if adjusted is not None:
        adjusted.update(counts[0] | counts[1])
    prompt = _shared(chosen, rejected, place)
    rating = read_rating(raw, columns, place)
    chosen_safe, rejected_safe = safety_of(raw, columns, place, is_second=sides.is_second)
    if len(chosen) == len(rejected) and all(map(_same, chosen, rejected)):
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


def _whole(
    raw: Raw, columns: Columns, sides: Sides, side: Turns, name: str, place: str, adjusted: Adjusted
) -> Turns:
    """One side from its first message to its last reply, in the right order."""
    if side and side[0].role == "assistant" and sides.prompt:
        side = drop_leading_assistant(sides.prompt + side, adjusted)
    elif side and side[0].role == "assistant" and any(turn.role == "user" for turn in side):
        side = drop_leading_assistant(side, adjusted)
    elif sides.prompt and not _begins_with(side, sides.prompt) and not _said(side, sides.prompt):
        raise DataError(
            "E129",
            f"the prompt column and the first turns of `{name}` differ",
            place=place,
            hint="leave the prompt out of the replies, or write it as it is in them",
        )
    turns = with_system(raw, columns.system, side, place)
    if not turns or turns[-1].role != "assistant" or not turns[-1].content.strip():
        raise RowRejected(Reason.NO_REPLY, 0)
    check_order(turns, place, f"`{name}` with its prompt")
    return turns


def _begins_with(side: Turns, prompt: Turns) -> bool:
    return len(side) >= len(prompt) and all(map(_alike, side, prompt))


def _same(one: Message, other: Message) -> bool:
    """White space around a message does not matter: files that write a prompt twice differ there."""
    return one.role == other.role and one.content.strip() == other.content.strip()


def _alike(one: Message, other: Message) -> bool:
    """Whether two copies of one prompt differ by white space (line ends of Windows) or forms of a letter at most."""
    return one.role == other.role and _plainly(one.content) == _plainly(other.content)


def _plainly(text: str) -> list[str]:
    return unicodedata.normalize("NFC", text).split()


def _said(side: Turns, prompt: Turns) -> bool:
    """Whether a prompt of one message is one of the user's messages in the side."""
    return len(prompt) == 1 and any(_alike(turn, prompt[0]) for turn in side)


def _shared(chosen: Turns, rejected: Turns, place: str) -> int:
    """How many messages both sides begin with, up to and including one of the user's."""
    count = 0
    for one, other in zip(chosen, rejected, strict=False):
        same = _same if one.role == "assistant" else _alike
        if not same(one, other) or one.input != other.input:
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


def two_replies(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Sides:
    """Two replies, each a text, a turn or a list of turns; to a prompt, to a list of turns, or with their own
    prompt."""
    prompt: Turns = []
    written = isinstance(raw.get(columns.chosen or "chosen"), str)
    if columns.prompt and (written or value_of(raw, columns.prompt, place, "preference") is not None):
        prompt = _plain(question(raw, columns, place, adjusted))
    elif columns.messages:
        value = value_of(raw, columns.messages, place, "sharegpt_preference")
        before = asked_in(read_turns(value, columns.messages, place, open_end=True))
        prompt = _plain(drop_leading_assistant(before, adjusted))
    chosen, rejected = (
        _replies(raw, column, place)
        for column in (columns.chosen or "chosen", columns.rejected or "rejected")
    )
    return Sides(prompt, chosen, rejected)


def hh(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Sides:
    """Text with "Human:" and "Assistant:" turns; with a prompt column, each side is the rest of its text."""
    prompt = optional_text(raw, columns.prompt, place) or ""
    joined = [Counter[Adjustment](), Counter[Adjustment]()]
    chosen, rejected = (
        _hh_side(prompt, column_text(raw, column, place, "format `hh`"), column, place, counts)
        for column, counts in zip(
            (columns.chosen or "chosen", columns.rejected or "rejected"), joined, strict=True
        )
    )
    if adjusted is not None:
        # What was joined in the prompt is in both sides.
        adjusted.update(joined[0] | joined[1])
    return Sides([], chosen, rejected)


def _hh_side(prompt: str, text: str, column: str, place: str, adjusted: Adjusted) -> Turns:
    prompt, text = (one.replace("\r\n", "\n") for one in (prompt, text))
    if prompt and not text.lstrip().startswith(prompt.strip()):
        whole = is_hh(text) and not is_hh(prompt) and prompt.strip() in text
        text = text if whole else prompt.rstrip(" \t") + text
    if not is_hh(text):
        what = f'column {column!r} is not text with "\\n\\nHuman:" and "\\n\\nAssistant:" turns'
        raise DataError("E129", what, place=place, hint="a row of `hh` begins with a Human: turn")
    return hh_turns(text, adjusted)


def chosen_of_two(default: tuple[str, str]) -> Reader:
    """Two columns with a reply each, and one that says which is better, in words that default to these."""
    return partial(_chosen_of_two, default)


def _chosen_of_two(
    default: tuple[str, str], raw: Raw, columns: Columns, place: str, adjusted: Adjusted
) -> Sides:
    replies = [
        _reply(column_text(raw, column, place, "a format with two replies"))
        for column in (columns.first or "first", columns.second or "second")
    ]
    prompt = _plain(question(raw, columns, place, adjusted))
    better = _better(raw, columns, default, place)
    return Sides(prompt, replies[better], replies[1 - better], bool(better))


def winner_of_two(default: tuple[str, str]) -> Reader:
    """Two chats, or two replies to a prompt, and a column that says which won, in words that default to these."""
    return partial(_winner_of_two, default)


def _winner_of_two(
    default: tuple[str, str], raw: Raw, columns: Columns, place: str, adjusted: Adjusted
) -> Sides:
    replies = (columns.first or "first", columns.second or "second")
    chats = _chats_of_lists(raw, (columns.prompt, *replies), place, adjusted) if columns.prompt else None
    if chats is not None:
        prompt, sides = [], chats
    else:
        prompt = _plain(question(raw, columns, place, adjusted)) if columns.prompt else []
        sides = [_replies(raw, column, place) for column in replies]
    better = _better(raw, columns, default, place)
    return Sides(prompt, sides[better], sides[1 - better], bool(better))


def _chats_of_lists(
    raw: Raw, columns: tuple[str, str, str], place: str, adjusted: Adjusted
) -> list[Turns] | None:
    """The two chats of a list of prompts and two lists of replies to them, as LMSYS writes chats of several turns; None
    if the three columns hold no such lists.

    Raises:
        DataError: E129, lists of different lengths; E103.
        RowRejected: a reply is missing.
    """
    lists = [found for column in columns if (found := list_of_texts(raw.get(column))) is not None]
    if len(lists) < len(columns):
        return None
    check_characters(lists, place)
    if len(set(map(len, lists))) > 1:
        said = ", ".join(f"{len(texts)} in {column!r}" for column, texts in zip(columns, lists, strict=True))
        what = f"the lists of one chat differ in length: {said}"
        raise DataError("E129", what, place=place, hint="each prompt needs a reply on both sides")
    if not all(text and text.strip() for texts in lists for text in texts):
        raise RowRejected(Reason.NO_REPLY, 0)
    if adjusted is not None and isinstance(raw[columns[0]], str):
        adjusted[Adjustment.UNFOLDED] += 1
    asked, *answered = lists
    return [_taking_turns(asked, replies) for replies in answered]


def _taking_turns(asked: Sequence[str | None], answered: Sequence[str | None]) -> Turns:
    turns: Turns = []
    for prompt, reply in zip(asked, answered, strict=True):
        turns += [Message("user", prompt or ""), Message("assistant", reply or "")]
    return turns


def chosen_of_a_list(default: tuple[str, str]) -> Reader:
    """A list of two texts, and a column that says which is better, in words that default to these."""
    return partial(_chosen_of_a_list, default)


def _chosen_of_a_list(
    default: tuple[str, str], raw: Raw, columns: Columns, place: str, adjusted: Adjusted
) -> Sides:
    column = columns.replies or "summaries"
    summaries = turn_list(value_of(raw, column, place, "format `summarize`"), column, place)
    if len(summaries) != 2:
        raise DataError(
            "E129",
            f"column {column!r} has {counted(len(summaries), 'summary', 'summaries')}, not two",
            place=place,
        )
    replies = [_reply(column_text(summary, "text", place, f"format `{column}`")) for summary in summaries]
    better = _better(raw, columns, default, place)
    prompt = Message("user", _post(raw, columns.prompt or "info", place))
    return Sides([prompt], replies[better], replies[1 - better])


def _better(raw: Raw, columns: Columns, default: tuple[str, str], place: str) -> int:
    """0 if the first reply is better, 1 if the second is.

    Raises:
        DataError: E128, an unknown word.
        RowRejected: neither is.
    """
    column = columns.better or "better"
    if columns.better_second is not None:
        return _flagged(raw, column, columns.better_second, columns.tie, place)
    first, second = comparable(columns.better_is or default)
    if is_tie(raw.get(column)):
        raise RowRejected(Reason.TIE, 0)
    if {first, second} == {"-1", "1"} and (side := _sign(raw.get(column))) is not None:
        # A strength: how far from 0 does not matter here.
        if not side:
            raise RowRejected(Reason.TIE, 0)
        return 0 if (side < 0) == (first == "-1") else 1
    known = dict(sorted({first: 0, second: 1}.items()))
    hint = (
        "say what it holds where the first reply is better, and where the second is, with `columns: {better_is: [..., "
        "...]}`; a tie is called tie, both or neither"
    )
    return known_value(known, value_of(raw, column, place, "a pair"), column, place, hint)


def _sign(value: Any) -> float | None:
    """-1, 0 or 1, or more of it: a number, or one that is written as a text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _flagged(raw: Raw, first: str, second: str, tie: str | None, place: str) -> int:
    """The reply whose flag is set. Raises what `_better` raises."""
    flags = [flag_of(raw, column, place) for column in (first, second)]
    neither = tie is not None and flag_of(raw, tie, place)
    if sum(flags) + neither > 1:
        what = (
            f"more than one of the columns {', '.join(map(repr, filter(None, (first, second, tie))))} is set"
        )
        raise DataError("E128", what, place=place, hint="set the one that is true, and 0 in the others")
    if not any(flags):
        raise RowRejected(Reason.TIE, 0)
    return flags.index(True)


def _post(raw: Raw, column: str, place: str) -> str:
    """A post with its title, as the flat form of this data shows it to a model."""
    info = value_of(raw, column, place, "format `summarize`")
    if not isinstance(info, dict):
        raise wrong_type(f"column {column!r}", info, place, "an object")
    body = optional_text(info, "post", place) or optional_text(info, "article", place)
    if body is None:
        raise DataError("E126", f"column {column!r} has neither a post nor an article", place=place)
    heads = (("SUBREDDIT: r/", "subreddit"), ("TITLE: ", "title"))
    lines = [f"{head}{text}" for head, key in heads if (text := optional_text(info, key, place))]
    return "\n".join([*lines, f"POST: {body}" if lines else body, "TL;DR:"])


def best_and_worst(raw: Raw, columns: Columns, place: str, adjusted: Adjusted) -> Sides:
    """The best and the worst of several replies with scores or ranks, as UltraFeedback and Nectar have them, or with a
    list of these beside them.

    Raises:
        RowRejected: fewer than two scored replies, or all with the same score.
    """
    column = columns.replies or "completions"
    value = value_of(raw, column, place, "format `ultrafeedback`")
    if (
        columns.score is not None
        and isinstance(value, list)
        and not any(isinstance(one, dict) for one in value)
    ):
        scored = _with_grades(value, raw, columns.score, column, place)
    else:
        scored = [
            (score, column_text(one, _reply_key(one), place, column))
            for one in turn_list(value, column, place)
            if (score := _score(one)) is not None
        ]
    if len(scored) < 2:
        raise RowRejected(Reason.NO_REPLY, 0)
    # Of equal scores, the first one counts.
    best, worst = max(scored, key=lambda one: one[0]), min(scored, key=lambda one: one[0])
    if best[0] == worst[0]:
        raise RowRejected(Reason.TIE, 0)
    return Sides(_plain(question(raw, columns, place, adjusted)), _reply(best[1]), _reply(worst[1]))


def _with_grades(
    replies: Sequence[Any], raw: Raw, grades: str, column: str, place: str
) -> list[tuple[float, str]]:
    """Texts and the list of their grades in another column; a reply whose grade is null has none."""
    found = value_of(raw, grades, place, "format `ultrafeedback`")
    if not isinstance(found, list) or len(found) != len(replies):
        count = len(found) if isinstance(found, list) else "no list of"
        raise DataError(
            "E123",
            f"column {column!r} has {len(replies)} replies, and column {grades!r} {count} grades",
            place=place,
            hint="give each reply its grade, and null to one that has none",
        )
    key = "rank" if grades.casefold() in RANK_COLUMNS else "score"
    scored = ((_score({key: grade}), text) for grade, text in zip(found, replies, strict=True))
    return [
        (score, checked_text(text, f"column {column!r}", place))
        for score, text in scored
        if score is not None
    ]


RANK_COLUMNS = ("ranks", "rank", "ranking", "rankings")
"""Columns of grades of which the lowest is the best."""

_REPLY_KEYS = ("response", "answer", "text", "completion", "output", "content")

_GRADES = {"fine-grained_score": 1, "overall_score": 1, "pm_score": 1, "score": 1, "rating": 1, "rank": -1}
"""Keys that say how good a reply is, the most trusted first, and whether more of it is better. UltraFeedback's
`overall_score` is known to be wrong in places, and counts only without the mean of the grades."""


def _score(reply: Raw) -> float | None:
    """How good the reply is: a score, or a rank, of which the lowest is the best."""
    for key, sign in _GRADES.items():
        try:
            score = float(reply[key])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(score):
            return sign * score
    return None


def is_graded(reply: Raw) -> bool:
    """Whether an object is one of several replies with a score or a rank each."""
    return (
        any(key in reply for key in _REPLY_KEYS)
        and any(key in reply for key in _GRADES)
        and "role" not in reply
    )


def _reply_key(reply: Raw) -> str:
    return next((key for key in _REPLY_KEYS if key in reply), _REPLY_KEYS[0])


# ---- replies ------------------------------------------------------------------------------------------------


def _reply(text: str) -> Turns:
    return [Message("assistant", text)]


def _replies(raw: Raw, column: str, place: str) -> Turns:
    """One side's turns: from text, a turn, or a list of turns. An empty last turn is a side without a reply."""
    value: Any = value_of(raw, column, place, "a pair")
    if value is None:
        raise RowRejected(Reason.NO_REPLY, 0)
    if isinstance(value, str):
        return _reply(value)
    if is_parts(value):
        return _reply(column_text(raw, column, place, "a pair"))
    turns = [value] if isinstance(value, dict) else value
    if isinstance(turns, list):
        turns = turn_list(turns, column, place)
        if not turns or is_open(turns[-1]):
            raise RowRejected(Reason.NO_REPLY, 0)
        return _plain(read_turns(turns, column, place))
    raise wrong_type(f"column {column!r}", value, place, "text, a turn or a list of turns")


def _plain(turns: Sequence[Message]) -> Turns:
    """Without `train` flags, which mean nothing where replies are compared."""
    return [Message(turn.role, turn.content, input=turn.input) for turn in turns]
