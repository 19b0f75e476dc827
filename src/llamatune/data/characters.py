"""Texts are refused that hold half of a surrogate pair.

JSON and Python can write one, and it is no character: no tokenizer reads it, and no file holds it.
"""

from __future__ import annotations

import json
from typing import Any

from llamatune.errors import DataError


def check_characters(value: Any, place: str) -> None:
    """Raise DataError (E103) if a text anywhere in the value, of JSON's types, holds half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.start + 1]
        what = f"half of a surrogate pair ({half!a})"
        hint = "write the text again as valid Unicode, or leave such rows out with `data.on_bad_row: drop`"
        raise DataError("E103", what, place=place, hint=hint) from None
