"""One recipe class per stage, and their union on the key `stage`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llamatune.recipe.stages.common import StageRecipe
from llamatune.recipe.stages.ppo import (
    PpoRecipe,
)
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import SftRecipe

Recipe = Annotated[PretrainRecipe | SftRecipe | RewardRecipe | PpoRecipe, Field(discriminator="stage")]


STAGES: dict[str, type[StageRecipe]] = {
    "pretrain": PretrainRecipe,
    "sft": SftRecipe,
    "reward": RewardRecipe,
    "ppo": PpoRecipe,
}
