"""Show encoded rows as a person reads them: the text, with the trained tokens marked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from llamatune.data.rows import IGNORED, Encoded

_GREEN, _RESET = "\x1b[32m", "\x1b[0m"
_OPEN, _CLOSE = "⟦", "⟧"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that could move the cursor, colour the terminal or turn the text around; not tab and newline."""


def preview(rows: Iterable[Encoded], decode: Callable[[list[int]], str], *, colour: bool) -> str:
    """Rows decoded, trained tokens in green or between ⟦ and ⟧. Special tokens are shown, control characters
    not.

    Neighbouring tokens of one kind are decoded together, so that the text reads as it was written. Brackets
    of the same shape in the text itself are doubled.
    """
    return "\n\n".join(
        f"row {number}: {len(row.input_ids)} tokens, {row.trained} trained\n"
        f"{marked(row, decode, colour=colour)}"
        for number, row in enumerate(rows, 1)
    )


def marked(row: Encoded, decode: Callable[[list[int]], str], *, colour: bool) -> str:
    """One row's text with its trained tokens marked."""
    parts = []
    for text, trained in spans(row.input_ids, row.labels, decode):
        if colour:
            parts.append(f"{_GREEN}{text}{_RESET}" if trained else text)
        else:
            text = text.replace(_OPEN, _OPEN * 2).replace(_CLOSE, _CLOSE * 2)
            parts.append(f"{_OPEN}{text}{_CLOSE}" if trained else text)
    return "".join(parts)


def spans(
    input_ids: Sequence[int], labels: Sequence[int], decode: Callable[[list[int]], str]
) -> list[tuple[str, bool]]:
    """The text of a row in pieces, each with whether its tokens are trained; control characters are left out."""
    pairs = zip(input_ids, labels, strict=True)
    return [
        (_CONTROL.sub("", decode([token for token, _ in span])), trained)
        for trained, span in groupby(pairs, key=lambda pair: pair[1] != IGNORED)
    ]
