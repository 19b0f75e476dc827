"""The miniature world's judge beside the reward models, where all held-out prompts are of that world.

A policy that earns more while the truth gets worse has found the reward models' mistakes, and not what people want.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.data.counts import SourceInfo
from llamatune.recipe.cards import find_card
from llamatune.world import Correctness, UnknownPrompt, judge

if TYPE_CHECKING:
    from llamatune.sampling.prompts import PromptRow

Oracle = Callable[["PromptRow", str], Mapping[str, float]]
"""What is true of a reply, where somebody knows: figures between 0 and 1."""


def oracle_for(sources: Sequence[SourceInfo], recipe_dir: Path) -> Oracle | None:
    """The judge, if every evaluation source is a set of the world; else nobody knows the truth."""
    cards = [source.card for source in sources if source.role == "eval" or source.counts.held_out]
    if not cards or not all(card and find_card(card, recipe_dir).source.kind == "world" for card in cards):
        return None
    return judged


def judged(row: PromptRow, reply: str) -> dict[str, float]:
    """What is true of a reply; zeros for a prompt that the world cannot read."""
    messages = [{"role": message["role"], "content": message["content"]} for message in row["prompt"]]
    try:
        verdict = judge(messages, reply)
    except UnknownPrompt:
        return {"quality": 0.0, "correct": 0.0, "unsafe": 0.0}
    return {
        "quality": verdict.quality,
        "correct": float(verdict.correctness is Correctness.CORRECT),
        "unsafe": float(verdict.unsafe),
    }
