"""Sentences with `{slots}` that can be filled in and read back.

The same frame makes a prompt and, in the oracle, recognises it: there is no second grammar to keep in step.
"""

from __future__ import annotations

import re
from functools import cache

_SLOT = re.compile(r"\\\{(\w+)\\\}")


def normalise(text: str) -> str:
    """Lower case, single blanks, no closing punctuation: what reading ignores."""
    return " ".join(text.lower().split()).strip(" .?!")


@cache
def _pattern(frame: str) -> re.Pattern[str]:
    return re.compile(_SLOT.sub(r"(?P<\1>.+?)", re.escape(normalise(frame))))


def read_frame(frame: str, text: str) -> dict[str, str] | None:
    """The slots (lower case) with which `frame` says `text`, or None. `text` must be normalised."""
    match = _pattern(frame).fullmatch(text)
    return match.groupdict() if match else None


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, punctuation dropped."""
    return re.findall(r"[a-z0-9']+", text.lower())


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def listing(items: list[str] | tuple[str, ...]) -> str:
    """`a, b, c`: how prompts and answers write lists."""
    return ", ".join(items)


def items_of(text: str) -> list[str]:
    """The items of a list as people write it: commas, `and`, or both."""
    return [item.strip() for item in re.split(r",\s*and\s+|,\s*|\s+and\s+", text) if item.strip()]
