"""A raw row of any format becomes a canonical one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from llamatune.data.formats.conversations import Adjustment, conversation, document, prompt
from llamatune.data.formats.preferences import preference
from llamatune.data.formats.ratings import score_of
from llamatune.data.formats.recognise import Raw, Recognised, kind_of
from llamatune.data.rows import Row


def canonical(
    raw: Raw, recognised: Recognised, place: str, adjusted: Counter[Adjustment] | None = None
) -> Row:
    """The conversation, document, preference or prompt of a row; what was changed in it is counted in `adjusted`.

    Raises:
        DataError: E122 to E129.
        RowRejected: a row that cannot be used, for a reason that is counted.
    """
    kind = kind_of(recognised.format)
    if kind == "documents":
        return document(raw, recognised.columns, place)
    if kind == "preferences":
        return preference(raw, recognised.format, recognised.columns, place, adjusted)
    if kind == "prompts":
        return prompt(raw, recognised.format, recognised.columns, place, adjusted)
    found = conversation(raw, recognised.format, recognised.columns, place, adjusted)
    if recognised.columns.score is None:
        return found
    return replace(found, score=score_of(raw, recognised.columns.score, place))
