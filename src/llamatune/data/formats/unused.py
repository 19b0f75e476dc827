"""What of a file nobody reads, so that a forgotten column is named before a model learns to answer without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from llamatune.data.formats.labels import (
    SAY_BAD,
    SAY_GOOD,
    are_clear,
    are_grades,
    are_labels,
    is_good_by,
    may_judge,
    number_in_cell,
)
from llamatune.data.formats.record import Raw
from llamatune.data.formats.turns import role_of, turns_in, unused_keys
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


class PossibleMark(NamedTuple):
    """What may say how good a reply is, and is not used."""

    name: str
    """What it is: a column, or a key of turns."""
    remedy: str
    """What to do where it does."""


def marks_of_replies(rows: Sequence[Raw], columns: Sequence[str], used: Columns) -> tuple[PossibleMark, ...]:
    """Those of the columns that tell good replies from bad ones, by their values and, where these may say anything, by
    their names."""
    there = [column for column in columns if may_judge(column, list(used.names.values()), rows)]
    found = ((column, _marks(column, [row.get(column) for row in rows])) for column in there)
    remedies = {
        "numbers": "leave these out, or train a reward model on it: `stage: reward`, `loss.objective: scores`, "
        "`columns: {{score: {0}}}`",
        "verdicts": "take the good ones alone: `columns: {{label: {0}}}` and `label: true`",
        "grades": "leave these out",
    }
    return tuple(PossibleMark(f"column `{name}`", remedies[how].format(name)) for name, how in found if how)


def marks_of_turns(rows: Sequence[Raw], columns: Sequence[str]) -> tuple[PossibleMark, ...]:
    """The same of keys of the assistant's turns."""
    values: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        for column in columns:
            for turn in turns_in(row.get(column)):
                for key in unused_keys(turn) if role_of(turn) == "assistant" else ():
                    values.setdefault((column, key), []).append(turn.get(key))
    return tuple(
        PossibleMark(
            f"key `{key}` of turns in `{column}`", "leave these out, or write `train: false` into such turns"
        )
        for (column, key), found in values.items()
        if _marks(key, found)
    )


def _marks(name: str, values: Sequence[Any]) -> Literal["numbers", "verdicts", "grades"] | None:
    """How values of this name tell good replies from bad ones, if they do."""
    name = name.strip().casefold()
    if (name in SAY_GOOD or name in SAY_BAD) and are_labels(values):
        return "verdicts" if any(is_good_by(value, name) is False for value in values) else None
    if are_clear(values):
        return "verdicts"
    if name not in _MARKS:
        return None
    if are_grades(values):
        return "grades"
    return "numbers" if len({number_in_cell(value) for value in values} - {None}) > 1 else None


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
