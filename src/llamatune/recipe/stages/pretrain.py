"""The recipe of `stage: pretrain`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from llamatune.recipe.blocks import (
    Block,
    Data,
    Flag,
    Generation,
    Real,
    Text,
    Whole,
)
from llamatune.recipe.stages.common import LEARNING_RATES, EpochRecipe, Tuning, starter_data


class Clean(Block):
    """Which documents are left out, counted by reason; each rule is off unless it is given. What is left out here is no
    loss that `max_dropped` limits."""

    min_words: Whole = Field(0, ge=0)
    """Fewest words, separated by blanks (Gopher: 50)."""
    max_words: Whole | None = Field(None, ge=1)
    """Most words (Gopher: 100,000)."""
    min_letters: Real = Field(0.0, ge=0, le=1)
    """Smallest share of words that have a letter (Gopher: 0.8)."""
    max_repeated_lines: Real = Field(1.0, ge=0, le=1)
    """Largest share of lines that have been in the document before (Gopher: 0.3)."""
    languages: list[Text] = []
    """Keep these only, as py3langid tells them (the extra `analyse`): en, de."""
    near_duplicates: Literal["keep", "drop"] = "keep"
    """Leave out documents of a source that are nearly the same as an earlier one (MinHash; the extra `analyse`)."""

    @property
    def has_rules(self) -> bool:
        """Whether there is anything to look at in a single document."""
        return self != Clean(near_duplicates=self.near_duplicates)


class PretrainData(Data):
    """Plain text, one document a row."""

    clean: Clean = Clean()
    """Which documents are left out; none when left out."""
    packing: Flag = True
    """Fill each sequence with several documents; attention and positions stay inside each document."""


class PretrainRecipe(EpochRecipe):
    """Next-token prediction on plain text (paper section 2)."""

    stage: Literal["pretrain"]
    data: PretrainData
    generation: Generation = Generation()


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "data": starter_data(source),
        "optimization": {"learning_rate": LEARNING_RATES[tuning], "epochs": 2, "batch_size": 64},
        "logging": {"every_steps": 10},
        "seed": 0,
    }
