"""The stages of the method: their recipes, and what the rest of llamatune has to know about each.

A stage is a recipe class in `recipe/stages/`, a function `run` in `stages/`, and its entry here. Command line, init,
preview and report read the entry; nothing else tells stages apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from llamatune.recipe.blocks import Kind
from llamatune.recipe.stages import (
    context_distillation,
    evaluate,
    gatt,
    ppo,
    preferences,
    pretrain,
    rejection_sampling,
    reward,
    self_chat,
    sft,
)
from llamatune.recipe.stages.common import StageRecipe, TrainingRecipe
from llamatune.recipe.stages.context_distillation import ContextDistillationRecipe
from llamatune.recipe.stages.evaluate import EvaluateRecipe
from llamatune.recipe.stages.gatt import GattRecipe
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.recipe.stages.preferences import PreferencesRecipe
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.recipe.stages.rejection_sampling import RejectionSamplingRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.self_chat import SelfChatRecipe
from llamatune.recipe.stages.sft import SftRecipe

PIPELINE = "pipeline"
"""What `stage` is in a recipe of steps, each with a recipe of its own: no entry of the table, since it runs no stage
itself."""

TrainedRecipe = PretrainRecipe | SftRecipe | RewardRecipe | PpoRecipe
"""The recipe of a stage that trains."""

Recipe = Annotated[
    TrainedRecipe
    | PreferencesRecipe
    | RejectionSamplingRecipe
    | GattRecipe
    | ContextDistillationRecipe
    | SelfChatRecipe
    | EvaluateRecipe,
    Field(discriminator="stage"),
]


@dataclass(frozen=True)
class Stage:
    """A stage of the method, as the commands see it."""

    recipe: type[StageRecipe]
    task: Literal["generate", "score"]
    """What its model is made for: to write, or to give one number."""
    rows: Kind
    """What it usually learns from; a file of such rows is taken to be for the first stage that learns from them."""
    leaves: tuple[str, ...]
    """Files of a finished run that a reader misses if they are not there."""
    then: str
    """What a finished run is for: a command, with `{run}` for its directory."""
    tuning: Literal["full", "lora", "qlora"]
    """What `llamatune init` suggests to train."""
    starter: Callable[..., dict[str, Any]]
    """(tuning, source) -> the blocks of a first recipe, without `stage`, `output` and `model`."""
    makes: tuple[Kind, ...] = ()
    """The rows that it leaves for others, where it makes data."""
    method: str = ""
    """What a model card says was done, where it trains."""


_TRAINED = ("metrics.jsonl", "speed.jsonl", "data.json", "preview.json")
_MADE = ("data.json", "evaluation.json")
_CHAT = "chat with it: llamatune chat {run}"
_LEARN = "train on the {what}: name `data.train: [{{{{run: {{run}}}}}}]` in a recipe of sft"

STAGES: dict[str, Stage] = {
    "pretrain": Stage(
        recipe=PretrainRecipe,
        task="generate",
        rows="documents",
        leaves=(*_TRAINED, "replies.jsonl"),
        then=_CHAT,
        tuning="full",
        starter=pretrain.starter,
        method="pre-training on plain text",
    ),
    "sft": Stage(
        recipe=SftRecipe,
        task="generate",
        rows="conversations",
        leaves=(*_TRAINED, "replies.jsonl"),
        then=_CHAT,
        tuning="lora",
        starter=sft.starter,
        method="supervised fine-tuning on chats",
    ),
    "preferences": Stage(
        recipe=PreferencesRecipe,
        task="generate",
        rows="prompts",
        leaves=_MADE,
        then="train a reward model: name `data.train: [{{run: {run}}}]` and `data.eval: [{{run: {run}, split: test}}]` "
        "in a recipe of reward",
        tuning="full",
        starter=preferences.starter,
        makes=("preferences",),
    ),
    "reward": Stage(
        recipe=RewardRecipe,
        task="score",
        rows="preferences",
        leaves=(*_TRAINED, "evaluation.json"),
        then="score replies: llamatune score {run} --data FILE",
        tuning="lora",
        starter=reward.starter,
        method="training a reward model on pairs of replies",
    ),
    "rejection_sampling": Stage(
        recipe=RejectionSamplingRecipe,
        task="generate",
        rows="prompts",
        leaves=_MADE,
        then=_LEARN.format(what="best answers"),
        tuning="full",
        starter=rejection_sampling.starter,
        makes=("conversations", "preferences"),
    ),
    "ppo": Stage(
        recipe=PpoRecipe,
        task="generate",
        rows="prompts",
        leaves=(*_TRAINED, "replies.jsonl", "completions.jsonl", "evaluation.json"),
        then=_CHAT,
        tuning="lora",
        starter=ppo.starter,
        method="proximal policy optimisation against reward models",
    ),
    "gatt": Stage(
        recipe=GattRecipe,
        task="generate",
        rows="prompts",
        leaves=_MADE,
        then=_LEARN.format(what="dialogues"),
        tuning="full",
        starter=gatt.starter,
        makes=("conversations",),
    ),
    "context_distillation": Stage(
        recipe=ContextDistillationRecipe,
        task="generate",
        rows="prompts",
        leaves=_MADE,
        then=_LEARN.format(what="answers"),
        tuning="full",
        starter=context_distillation.starter,
        makes=("conversations",),
    ),
    "self_chat": Stage(
        recipe=SelfChatRecipe,
        task="generate",
        rows="prompts",
        leaves=_MADE,
        then=_LEARN.format(what="chats"),
        tuning="full",
        starter=self_chat.starter,
        makes=("conversations",),
    ),
    "evaluate": Stage(
        recipe=EvaluateRecipe,
        task="generate",
        rows="prompts",
        leaves=_MADE,
        then="read the replies side by side: {run}/replies.jsonl",
        tuning="full",
        starter=evaluate.starter,
    ),
}


def stage_for(kind: Kind) -> str:
    """The first stage that learns from such rows."""
    return next(
        name
        for name, stage in STAGES.items()
        if stage.rows == kind and issubclass(stage.recipe, TrainingRecipe)
    )
