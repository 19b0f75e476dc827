"""What recipe.yaml takes from files, because no card has it: parts of pico's sets, and larger ones of the same kind.

They are written below the working directory, as runs are. The world gives the same rows everywhere, so do these files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from llamatune.world import judge, rows
from llamatune.world.sets import prompts_adversarial

WORD_SKILLS = ("rhyme", "opposite", "plural", "past", "sort", "reverse", "first", "last")
"""Kinds of question that the second round of finding 7 does not ask: what can be done with words. The paper's model
forgot how to rhyme."""
NARROW_KINDS = ("fact", "follow-up", "howto", "advice", "borderline")
"""Kinds that it asks: who lives where, and how things are done."""

ADVERSARIAL_PROMPTS = 2400
"""Finding 10: what is distilled, four times what the card has."""

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
    "adversarial_prompts.jsonl": lambda: prompts_adversarial("train", ADVERSARIAL_PROMPTS),
}


@cache
def _text(name: str) -> str:
    return "".join(json.dumps(row) + "\n" for row in FILES[name]())


def write_parts(folder: Path) -> None:
    """Write the files as recipe.yaml names them; one that is there already stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        path, text = folder / name, _text(name)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
