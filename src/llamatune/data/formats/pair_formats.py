"""Which format a file of preference pairs has. (`preferences` turns its rows into canonical ones.)

preference           chosen, rejected: text, a turn or a list of turns {role, content}      [prompt] [input]
hh                   chosen, rejected: text with "Human:" and "Assistant:" turns            [prompt]
sharegpt_preference  chosen, rejected: turns {from, value}; conversations: [{from, value}, ...]
shp                  history, human_ref_A, human_ref_B, labels
summarize            info: {post}, summaries: [{text}, {text}], choice

Each may have `system`, `rating`, and `safety` or `chosen_safe` and `rejected_safe`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from llamatune.recipe.blocks import PairFormat

Names = dict[str, str]
"""Fields of `Columns`, and the column that each of them is."""

EXPECTED = (
    "preference: `chosen` and `rejected`, text with a `prompt` or lists of {role, content}; "
    'hh: `chosen` and `rejected`, text with "\\n\\nHuman:" and "\\n\\nAssistant:" turns; '
    "sharegpt_preference: `conversations` = [{from, value}, ...], `chosen` and `rejected` = {from, value}; "
    "shp: `history`, `human_ref_A`, `human_ref_B`, `labels`; summarize: `info`, `summaries`, `choice`"
)
USUAL: dict[PairFormat, Names] = {
    "preference": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "hh": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    "sharegpt_preference": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    "shp": {"prompt": "history", "first": "human_ref_A", "second": "human_ref_B", "better": "labels"},
    "summarize": {"prompt": "info", "replies": "summaries", "better": "choice"},
}
REQUIRED: dict[PairFormat, tuple[str, ...]] = {
    "preference": ("chosen", "rejected"),
    "hh": ("chosen", "rejected"),
    "sharegpt_preference": ("chosen", "rejected"),
    "shp": ("prompt", "first", "second", "better"),
    "summarize": ("prompt", "replies", "better"),
}
LABELS = ("rating", "safety", "chosen_safe", "rejected_safe")
HH_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
"""What begins a turn in a text of Anthropic's HH data."""

_REPLIES = {"chosen", "rejected", "first", "second", "replies"}
_PROMPTS = ("prompt", "instruction", "question", "query")


def looks_like_pairs(found: Collection[str]) -> bool:
    return {"chosen", "rejected"} <= set(found)


def looks_like_kto(rows: Sequence[Mapping[str, Any]]) -> bool:
    """One reply a row and a boolean that says whether it is a good one."""
    labels = [row["label"] for row in rows if row.get("label") is not None]
    return bool(labels) and all(isinstance(label, bool) for label in labels)


def pair_candidates(rows: Sequence[Mapping[str, Any]], given: Names) -> list[tuple[PairFormat, Names]]:
    """Every pair format that the rows allow, with its columns."""
    found = set().union(*rows)
    result = []
    for format in get_args(PairFormat):
        names = pair_columns(format, given, found)
        if all(field in names for field in REQUIRED[format]) and _fits(format, names, rows):
            result.append((format, names))
    return result


def pair_columns(format: PairFormat, given: Names, found: Collection[str]) -> Names:
    """The columns of a pair format that are there: those given, those with the usual names, and the labels."""
    names = {field: given.get(field, usual) for field, usual in USUAL[format].items()}
    if format == "preference" and "prompt" not in given:
        names["prompt"] = next((name for name in _PROMPTS if name in found), "prompt")
        if names["prompt"] == "instruction":
            names["input"] = "input"
    if format == "preference" and "input" in given:
        names["input"] = given["input"]
    if format == "sharegpt_preference" and "conversation" in found and "messages" not in given:
        names["messages"] = "conversation"
    there = {field: name for field, name in names.items() if name in found}
    return there | _labels(given, found)


def _labels(given: Names, found: Collection[str]) -> Names:
    """The columns of ratings and safety labels: those given; those that are there, where no reply is named.

    A label for each reply says more than a bin of both.
    """
    if given.keys() & (_REPLIES | set(LABELS)):
        return {field: given[field] for field in LABELS if field in given}
    single = {"chosen_safe", "rejected_safe"} & set(found)
    return {field: field for field in LABELS if field in found and not (field == "safety" and single)}


def _fits(format: PairFormat, names: Names, rows: Sequence[Mapping[str, Any]]) -> bool:
    if "chosen" not in names:
        return True
    return format == _style(names, rows)


def _style(names: Names, rows: Sequence[Mapping[str, Any]]) -> PairFormat | None:
    """Which of the formats with `chosen` and `rejected` it is, by the first value that is there."""
    values = [value for row in rows if (value := row.get(names["chosen"]))]
    prompts = [row.get(names["prompt"]) for row in rows] if "prompt" in names else []
    if not values:
        return None
    if isinstance(values[0], str):
        if is_hh(values[0]) or any(map(is_hh, prompts)):
            return "hh"
        return "preference" if prompts else None
    turn = values[0][0] if isinstance(values[0], list) else values[0]
    if not isinstance(turn, dict):
        return None
    return "sharegpt_preference" if "from" in turn or "value" in turn else "preference"


def is_hh(text: Any) -> bool:
    """Whether a text begins with a "Human:" turn and goes on with an "Assistant:" one."""
    if not isinstance(text, str):
        return False
    speakers = [match.group(1) for match in HH_TURN.finditer(text)]
    return "Assistant" in speakers and text.lstrip().startswith("Human:")
