"""What the recipes of several stages share."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from llamatune.recipe.blocks import (
    AdamW,
    Block,
    Checkpointing,
    Hardware,
    Logging,
    Model,
    Optimization,
    Text,
    Watchdog,
    Whole,
)


class StageRecipe(Block):
    """What every stage's recipe has."""

    output: Text
    """Run directory: resolved recipe, metrics, the trained model or adapter."""
    model: Model = Model()
    optimization: AdamW = AdamW()
    hardware: Hardware = Hardware()
    logging: Logging = Logging()
    checkpoint: Checkpointing = Checkpointing()
    seed: Whole = Field(0, ge=0, lt=2**31)
    """Seeds weights, adapters, data order and sampling."""
    upstream: dict[str, Any] = {}
    """Arguments handed by name to the config class of the stage's trainer (trl's; of ppo, llamatune's PPOConfig),
    checked against the installed version."""


class EpochRecipe(StageRecipe):
    """A stage that goes through rows, epoch by epoch, and lowers a loss."""

    optimization: Optimization = Optimization()
    watchdog: Watchdog = Watchdog()
