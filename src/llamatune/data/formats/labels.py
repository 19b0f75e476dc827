"""Ratings, labels, choices and scores of raw rows: which words and numbers are known, and what they mean.

E128  an unknown rating, label or choice
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from llamatune.data.formats.record import Raw
from llamatune.data.formats.values import value_of, wrong_type
from llamatune.data.rows import RATINGS, Rating
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns

_STEPS: dict[str, Rating] = dict(zip(("3", "2", "1", "0"), RATINGS, strict=True))
_UNSURE = ("negligibly_better/unsure", "negligibly_better_/_unsure", "negligibly_better_or_unsure", "unsure")
_RATINGS: dict[str, Rating] = {rating: rating for rating in RATINGS}
_RATINGS |= dict.fromkeys(_UNSURE, RATINGS[-1]) | _STEPS
_BINS = {
    "chosen_safe": (True, False),
    "both_safe": (True, True),
    "both_unsafe": (False, False),
    "rejected_safe": (False, True),
}
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_GOOD = (
    *("good", "desirable", "chosen", "up", "thumbs_up", "like", "liked", "correct", "accepted", "positive"),
    *("approved",),
    *("safe", "helpful", "harmless", "pass", "passed", "\U0001f44d", "\u2705"),
)
_BAD = (
    *("bad", "undesirable", "rejected", "down", "thumbs_down", "dislike", "disliked", "incorrect", "-1"),
    *("negative", "unsafe", "unhelpful", "harmful", "fail", "failed", "\U0001f44e", "\u274c"),
)
_VERDICTS = _TRUTH | dict.fromkeys(_GOOD, True) | dict.fromkeys(_BAD, False)
"""What a label says of one reply."""

_CLEAR = frozenset(
    {
        *(
            "good",
            "bad",
            "desirable",
            "undesirable",
            "thumbs_up",
            "thumbs_down",
            "liked",
            "disliked",
            "accepted",
        ),
        *("approved", "rejected", "safe", "unsafe", "helpful", "unhelpful", "harmless", "harmful", "passed"),
        *("pass", "fail", "failed", "correct", "incorrect", "\U0001f44d", "\u2705", "\U0001f44e", "\u274c"),
    }
)
"""Words that say good or bad of a reply whatever their column is called; of many others (positive, high, yes), the name
of the column says what they are about."""

_GRADED = frozenset(
    {
        *(
            "low",
            "medium",
            "high",
            "poor",
            "fair",
            "average",
            "mediocre",
            "acceptable",
            "ok",
            "okay",
            "great",
        ),
        *(
            "excellent",
            "perfect",
            "terrible",
            "best",
            "worst",
            "very_good",
            "very_bad",
            "very_low",
            "very_high",
        ),
    }
)
"""Words for how good something is, in a column that is called so."""

SAY_GOOD = (
    *(
        "label",
        "kto_tag",
        "desirable",
        "is_desirable",
        "preferred",
        "liked",
        "thumbs_up",
        "thumbs",
        "feedback",
    ),
    *(
        "is_good",
        "is_chosen",
        "is_correct",
        "accepted",
        "is_accepted",
        "correct",
        "approved",
        "upvoted",
        "vote",
    ),
    *("is_safe", "safe", "is_response_safe", "is_helpful", "helpful", "is_harmless", "harmless", "passed"),
)
"""Columns that say of one reply whether it is a good one, if they hold nothing but words for good and bad."""

SAY_BAD = frozenset(
    {
        *(
            "is_bad",
            "bad",
            "is_unsafe",
            "unsafe",
            "harmful",
            "is_harmful",
            "toxic",
            "is_toxic",
            "flagged",
            "is_flagged",
        ),
        *("rejected", "is_rejected", "undesirable", "is_undesirable", "disliked", "thumbs_down", "downvoted"),
        *(
            "incorrect",
            "is_incorrect",
            "is_wrong",
            "wrong",
            "failed",
            "is_unhelpful",
            "unhelpful",
            "hallucinated",
        ),
        *("hallucination", "is_hallucination", "is_hallucinated", "is_spam", "low_quality", "is_low_quality"),
    }
)
"""Columns in which true says that a reply is a bad one."""

_LONGEST_WORD = 40

_Known = TypeVar("_Known")


def read_rating(raw: Raw, columns: Columns, place: str) -> Rating | None:
    """How much better the chosen reply is, where it is known. Raises DataError (E128)."""
    return _label(_RATINGS, raw, columns.rating, place)


def safety_of(
    raw: Raw, columns: Columns, place: str, *, is_second: bool = False
) -> tuple[bool | None, bool | None]:
    """Whether the chosen and the rejected reply are safe, where it is known.

    Args:
        is_second: the chosen reply is the second of two columns.

    Raises:
        DataError: E128, an unknown label.
    """
    if columns.first_safe or columns.second_safe:
        first, second = (
            _label(_TRUTH, raw, column, place) for column in (columns.first_safe, columns.second_safe)
        )
        return (second, first) if is_second else (first, second)
    if columns.safety:
        return _label(_BINS, raw, columns.safety, place) or (None, None)
    return (
        _label(_TRUTH, raw, columns.chosen_safe, place),
        _label(_TRUTH, raw, columns.rejected_safe, place),
    )


def flag_of(raw: Raw, column: str, place: str) -> bool:
    """What a flag says: true or false, 1 or 0. Raises DataError (E122, E128)."""
    return known_value(_TRUTH, value_of(raw, column, place, "a pair"), column, place)


def score_of(raw: Raw, column: str, place: str) -> float:
    """How good a reply is. Raises DataError (E122, E123)."""
    value = value_of(raw, column, place, "`loss.objective: scores`")
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise wrong_type(f"column {column!r}", value, place, "a finite number")
    return score


def _label(known: dict[str, _Known], raw: Raw, column: str | None, place: str) -> _Known | None:
    """What a column's value means; None without the column, and if it is null or empty."""
    value = raw.get(column) if column else None
    return None if value is None or value == "" else known_value(known, value, column, place)


def label_of(raw: Raw, column: str, place: str) -> bool:
    """Whether a reply is a good one. Raises DataError (E122, E128)."""
    value = value_of(raw, column, place, "a labelled row")
    known_value(_VERDICTS, value, column, place)
    return is_good_by(value, column) is True


def are_labels(values: Iterable[Any]) -> bool:
    """Whether some values say good or bad; nulls do not count."""
    found = [_word(value) for value in values if value is not None and value != ""]
    return bool(found) and all(word in _VERDICTS for word in found)


def is_good_by(value: Any, column: str) -> bool | None:
    """Whether a value says that a reply is good or bad; None if it says neither. In a column such as `is_unsafe`, true
    says that it is bad."""
    word = _word(value)
    good = _VERDICTS.get(word)
    return not good if word in _TRUTH and column.strip().casefold() in SAY_BAD else good


_ABOUT_THE_REQUEST = re.compile(
    r"(?:prompt|question|quer(?:y|ies)|input|instruction|request|user)s?(?:[_ -]|$)", re.I
)


def may_judge(column: str, used: Sequence[str], rows: Sequence[Raw]) -> bool:
    """Whether a column may say how good the reply is: its name is not about what is asked, and its values are not those
    of a used column, too, which are then taught."""
    if _ABOUT_THE_REQUEST.match(column.strip()):
        return False
    said = ((row.get(column), [row.get(name) for name in used]) for row in rows)
    return not all(value in others for value, others in said if value not in (None, ""))


def are_clear(values: Iterable[Any]) -> bool:
    """Whether some values, not all of them good, are words that say good or bad of a reply in any column."""
    found = {_word(value) for value in values if value is not None and value != ""}
    return bool(found) and found <= _CLEAR and any(_VERDICTS[word] is False for word in found)


def are_grades(values: Iterable[Any]) -> bool:
    """Whether some values are different words for how good something is."""
    found = {_word(value) for value in values if value is not None and value != ""}
    return len(found) > 1 and found <= _GRADED | _CLEAR


def number_in_cell(value: Any) -> float | None:
    """The number that a value is, or that it is the text of, as in CSV files."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def are_ratings(values: Iterable[Any]) -> bool:
    """Whether some values may be the paper's ratings: a number beyond its four is of another scale."""
    return not any(number_in_cell(value) is not None and _word(value) not in _RATINGS for value in values)


def said_by(value: Any) -> str | None:
    """What kinds of word or number a value is, of those that tell what a column holds; None if it is empty or no single
    word or number."""
    if value is None or value == "" or not isinstance(value, (str, bool, int, float)):
        return None
    return "text" if isinstance(value, str) and len(value) > _LONGEST_WORD else _said_by(value)


@lru_cache(maxsize=4096, typed=True)
def _said_by(value: str | bool | int | float) -> str:
    word = _word(value)
    kinds = (_CLEAR, _GRADED, _TRUTH, _RATINGS, _BINS)
    return f"{_VERDICTS.get(word)} {[word in kind for kind in kinds]} {number_in_cell(value) is not None}"


def comparable(values: Sequence[Any]) -> list[str]:
    """Values as `known_value` compares them."""
    return [_word(value) for value in values]


def is_tie(value: Any) -> bool:
    """Whether a choice says that neither reply is better, in the words of data sets that have ties."""
    return _word(value) in _TIES


_TIES = frozenset(
    {
        *("tie", "tied", "draw", "tie_(bothbad)", "tie_(both_bad)", "both_bad", "bothbad", "both_good"),
        *("both", "neither", "same", "equal", "equally_good", "equally_bad", "no_preference"),
    }
)


def known_value(
    known: dict[str, _Known], value: Any, column: str | None, place: str, hint: str | None = None
) -> _Known:
    """What a value means; spaces, hyphens, capitals and `.0` do not matter. Raises DataError (E128)."""
    word = _word(value)
    if word not in known:
        raise DataError(
            "E128",
            f"column {column!r} has the unknown value {value!r:.60}; known: {', '.join(known)}",
            place=place,
            hint=hint
            or "write one of the known values, or name all columns that count under `columns`: a label that is "
            "not named there is not used; or leave the column out with `ignore`",
        )
    return known[word]


def _word(value: Any) -> str:
    word = str(value).lower() if isinstance(value, (str, bool, int, float)) else ""
    # Spreadsheets and data frames turn whole numbers into 3.0 where a cell is empty.
    word = re.sub(r"^(-?\d+)\.0+$", r"\1", word.strip())
    return re.sub(r"\s+|(?<=[a-z])-", "_", word)
