"""The recipe of `stage: sft`."""

from __future__ import annotations

from typing import Literal

from llamatune.recipe.blocks import (
    Chat,
    Data,
    Generation,
)
from llamatune.recipe.stages.common import EpochRecipe


class SftRecipe(EpochRecipe):
    """Supervised fine-tuning on conversations, with the loss on the answers (paper section 3.1)."""

    stage: Literal["sft"]
    chat: Chat = Chat()
    data: Data
    generation: Generation = Generation()
