"""What of a file nobody reads, so that a forgotten column is named before a model learns to answer without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from llamatune.data.formats.record import Raw
from llamatune.data.formats.turns import turns_in, unused_keys
from llamatune.recipe.blocks import Columns

MATTER = frozenset(
    (
        *("definition", "task_description", "premise", "schema", "table"),
        *("context", "contexts", "passage", "passages", "background", "document", "documents", "article"),
        *("paragraph", "paragraphs", "story", "evidence", "transcript", "snippets"),
    )
)
"""Columns that, by their names, hold what a question is about."""

_OF_A_PROMPT = MATTER | {
    *("prompt", "instruction", "instructions", "question", "query", "input", "inputs", "user_input"),
    *("knowledge", "facts", "options", "choices", "persona", "history", "tools"),
    *("system", "system_prompt", "system_message", "system_instruction"),
    *("chat_template_kwargs", "custom_instructions"),
    *("chat_history", "dialogue_history", "dialog_history", "conversation_history"),
    *("image", "images", "video", "videos", "audio", "audios"),
}
"""Columns that, by their names, hold part of what the model is asked."""

_MARKS = frozenset(
    {"score", "rating", "reward", "quality", "grade", "stars", "helpfulness", "usefulness", "overall_score"}
    | {"quality_score", "reward_score", "human_rating", "human_score"}
)
"""Columns that, by their names, say how good the reply beside them is."""

_OPTION = re.compile(r"(?:(?:options?|choices?|opt?)[_ -]?)?[a-e]|(?:options?|choices?)[_ -]?[1-9]", re.I)
"""Columns that, by their names, hold one answer of several that a question offers, if there are two of them."""

_NO_TEXT = frozenset(("image", "images", "video", "videos", "audio", "audios", "tools"))


def doubtful_columns(rows: Sequence[Raw], columns: Sequence[str], used: Columns) -> tuple[str, ...]:
    """Those of the columns that sound like part of the prompt, and say what no used column says."""
    options = [name for name in columns if _OPTION.fullmatch(name.strip())]
    known = {name for name in columns if name.lower() in _OF_A_PROMPT} | set(
        options if len(options) > 1 else ()
    )
    return tuple(name for name in columns if name in known and _say_more(rows, name, used))


def marks_of_replies(rows: Sequence[Raw], columns: Sequence[str]) -> tuple[str, ...]:
    """Those of the columns that hold different numbers, and have a name for how good something is."""
    named = (column for column in columns if column.casefold() in _MARKS)
    return tuple(
        column
        for column in named
        if len({value for row in rows if isinstance(value := row.get(column), int | float)}) > 1
    )


def can_be_used(rows: Sequence[Raw], column: str) -> bool:
    """Whether what a column holds is text that a prompt can have, or lists, for a history."""
    kind = list if "history" in column.lower() else str
    values = [value for row in rows if (value := row.get(column)) is not None]
    alone = column.lower() not in _NO_TEXT and not _OPTION.fullmatch(column.strip())
    return alone and all(isinstance(value, kind) for value in values)


_NOTHING = ("", "[]", "{}", "null", "None", "nan", "NaN")
"""Texts of a cell that has no value."""


def _say_more(rows: Sequence[Raw], column: str, used: Columns) -> bool:
    """Whether a column has texts that the used ones do not have."""
    for row in rows:
        said = "\n".join(_texts([row.get(name) for name in used.names.values()]))
        if any(text.strip() not in _NOTHING and text.strip() not in said for text in _texts(row.get(column))):
            return True
    return False


def _texts(value: Any) -> Iterator[str]:
    """All strings in a value; bytes count as a string that nothing else has."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield "\0"
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def unused_keys_in(rows: Sequence[Raw], columns: Sequence[str]) -> tuple[str, ...]:
    """`column.key` of the keys of turns in used columns that are not used."""
    keys = {
        f"{column}.{key}": None
        for row in rows
        for column in columns
        for turn in turns_in(row.get(column))
        for key in unused_keys(turn)
    }
    # OpenAI's pairs have the prompt's turns one level deeper.
    keys |= {
        f"{column}.{key}": None
        for row in rows
        for column in columns
        if isinstance(value := row.get(column), dict) and isinstance(value.get("messages"), list)
        for key, inner in value.items()
        if key != "messages" and inner not in (None, "", [], {})
    }
    return tuple(keys)
