"""What the recipes of several stages share: any stage, any that trains, any that goes through its rows in epochs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from llamatune.recipe.blocks import (
    Action,
    AdamW,
    Block,
    Checkpointing,
    Hardware,
    Logging,
    Model,
    Optimization,
    Real,
    Text,
    Whole,
)


class StageRecipe(Block):
    """What every stage's recipe has, in addition to the key `stage`."""

    stage: str
    output: Text
    """Run directory: resolved recipe, metrics, the trained model or adapter."""
    hardware: Hardware = Hardware()
    logging: Logging = Logging()
    checkpoint: Checkpointing = Checkpointing()
    seed: Whole = Field(0, ge=0, lt=2**31)
    """Seeds weights, adapters, data order and sampling."""


class TrainingRecipe(StageRecipe):
    """A stage that trains a model."""

    model: Model = Model()
    optimization: AdamW = AdamW()
    upstream: dict[str, Any] = {}
    """Arguments handed by name to the config class of the stage's trainer (trl's; for ppo, llamatune's PPOConfig),
    checked against the installed version."""


class LossSpikeGuard(Block):
    """The loss went up and stayed up: what was learnt is lost, and the rest of the time would be wasted."""

    limit: Real = Field(1.0, gt=0)
    """How far above the median of the last 50 steps the loss has to be."""
    patience: Whole = Field(5, ge=1)
    """How many steps in a row it has to stay there."""
    action: Action = "stop"
    """End the run with the last checkpoint kept, say so, or do nothing."""


class EpochGuards(Block):
    """What stops a run that went wrong, or warns of it."""

    loss_spike: LossSpikeGuard = LossSpikeGuard()


class EpochRecipe(TrainingRecipe):
    """A stage that goes through rows, epoch by epoch, and lowers a loss."""

    optimization: Optimization = Optimization()
    guards: EpochGuards = EpochGuards()


Tuning = Literal["full", "lora", "qlora"]
LEARNING_RATES: dict[Tuning, float] = {"full": 2e-5, "lora": 2e-4, "qlora": 2e-4}
"""Of a first recipe: adapters are trained with about ten times the learning rate of all weights."""


def starter_data(source: dict[str, Any]) -> dict[str, Any]:
    """The block `data` of a first recipe."""
    return {"train": [source], "eval_fraction": 0.02, "max_length": 1024, "too_long": "error"}
