"""The recipe of `stage: pretrain`."""

from __future__ import annotations

from typing import Any, Literal

from llamatune.recipe.blocks import (
    Data,
    Flag,
    Generation,
)
from llamatune.recipe.stages.common import LEARNING_RATES, EpochRecipe, Tuning, starter_data


class PretrainData(Data):
    """Plain text, one document a row."""

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
