"""Ratings, labels, choices and scores of raw rows: which words and numbers are known, and what they mean.

E128  an unknown rating, label or choice
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
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
    *("safe", "helpful", "harmless", "pass", "passed", "\U0001f44d", "\u2705"),
)
_BAD = (
    *("bad", "undesirable", "rejected", "down", "thumbs_down", "dislike", "disliked", "incorrect", "-1"),
    *("negative", "unsafe", "unhelpful", "harmful", "fail", "failed", "\U0001f44e", "\u274c"),
)
_VERDICTS = _TRUTH | dict.fromkeys(_GOOD, True) | dict.fromkeys(_BAD, False)
"""What a label says of one reply."""

_Known = TypeVar("_Known")


def read_rating(raw: Raw, columns: Columns, place: str) -> Rating | None:
    """How much better the chosen reply is, where it is known. Raises DataError (E128)."""
    return _label(_RATINGS, raw, columns.rating, place)


def safety_of(raw: Raw, columns: Columns, place: str) -> tuple[bool | None, bool | None]:
    """Whether the chosen and the rejected reply are safe, where it is known. Raises DataError (E128)."""
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
    return known_value(_VERDICTS, value_of(raw, column, place, "a labelled row"), column, place)


def are_labels(values: Iterable[Any]) -> bool:
    """Whether some values say good or bad; nulls do not count."""
    found = [_word(value) for value in values if value is not None and value != ""]
    return bool(found) and all(word in _VERDICTS for word in found)


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
