"""Parts of pico's sets that recipe.yaml takes from files, because no card has them alone.

They are written below the working directory, as runs are. The world gives the same rows everywhere, so do the parts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llamatune.world import judge, rows

WORD_SKILLS = ("rhyme", "opposite", "plural", "past", "sort", "reverse", "first", "last")
"""Kinds of question that the second round of finding 7 does not ask: what can be done with words. The paper's model
forgot how to rhyme."""
NARROW_KINDS = ("fact", "follow-up", "howto", "advice", "borderline")
"""Kinds that it asks: who lives where, and how things are done."""

Row = Mapping[str, Any]


def narrow_prompts() -> Iterator[Row]:
    """Finding 7: the helpful prompts whose question is of one of the kinds in NARROW_KINDS."""
    for row in rows("prompts-helpful", "train"):
        if row["kind"] in NARROW_KINDS:
            yield {"prompt": row["prompt"]}


def harmful_rows() -> Iterator[Row]:
    """Finding 11: the safety rows whose request is harmful, without those that only sound so and are answered."""
    for row in rows("sft-safety", "train"):
        *prompt, reply = row["messages"]
        if judge(prompt, reply["content"]).harmful_request:
            yield row


FILES: Mapping[str, Callable[[], Iterator[Row]]] = {
    "narrow_prompts.jsonl": narrow_prompts,
    "harmful_rows.jsonl": harmful_rows,
}


def write_parts(folder: Path) -> None:
    """Write the files as recipe.yaml names them; one that is there already stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in FILES.items():
        text = "".join(json.dumps(row) + "\n" for row in made())
        path = folder / name
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
