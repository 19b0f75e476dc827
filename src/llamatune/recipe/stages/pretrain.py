"""The recipe of `stage: pretrain`."""

from __future__ import annotations

from typing import Literal

from llamatune.recipe.blocks import (
    Data,
    Flag,
    Generation,
)
from llamatune.recipe.stages.common import EpochRecipe


class PretrainData(Data):
    """Plain text, one document a row."""

    packing: Flag = True
    """Fill each sequence with several documents; attention and positions stay inside each document."""


class PretrainRecipe(EpochRecipe):
    """Next-token prediction on plain text (paper section 2)."""

    stage: Literal["pretrain"]
    data: PretrainData
    generation: Generation = Generation()
