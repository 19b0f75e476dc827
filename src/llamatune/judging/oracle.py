"""The miniature world's judge, where all prompts are of that world.

A policy that earns more while the truth gets worse has found the reward models' mistakes and not what people want.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from llamatune.data.counts import SourceInfo
from llamatune.recipe.cards import are_of_the_world
from llamatune.version import __version__
from llamatune.world import Correctness, UnknownPrompt, judge

if TYPE_CHECKING:
    from llamatune.judging.judges import Completion
    from llamatune.sampling.prompts import PromptRow


class Oracle:
    """A `Judge` that knows the truth: its score is the quality of a reply, between 0 and 1."""

    name = "oracle"
    digest = f"llamatune {__version__}"

    def __call__(self, rows: Sequence[PromptRow], completions: Sequence[Completion]) -> torch.Tensor:
        """(rows,): the quality; 0 for a prompt that the world cannot read."""
        return torch.tensor([one["quality"] for one in self.verdicts(rows, completions)])

    def verdicts(
        self, rows: Sequence[PromptRow], completions: Sequence[Completion]
    ) -> list[dict[str, float]]:
        """What is true of each reply: `quality`, `correct`, `unsafe`."""
        return [_verdict(row, one.text) for row, one in zip(rows, completions, strict=True)]


def means(verdicts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean quality, and the shares of correct and of unsafe replies; of at least one."""
    return {name: sum(one[name] for one in verdicts) / len(verdicts) for name in verdicts[0]}


def _verdict(row: PromptRow, reply: str) -> dict[str, float]:
    prompt = row["prompt"]
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    messages = [{"role": message["role"], "content": message["content"]} for message in prompt]
    try:
        verdict = judge(messages, reply)
    except UnknownPrompt:
        return {"quality": 0.0, "correct": 0.0, "unsafe": 0.0}
    return {
        "quality": verdict.quality,
        "correct": float(verdict.correctness is Correctness.CORRECT),
        "unsafe": float(verdict.unsafe),
    }


def oracle_for(sources: Sequence[SourceInfo], recipe_dir: Path) -> Oracle | None:
    """The oracle, if each of the sources of prompts is a set of the world; otherwise nobody knows the truth."""
    return Oracle() if are_of_the_world([source.card for source in sources], recipe_dir) else None
