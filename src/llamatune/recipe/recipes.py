"""One recipe class per stage, and their union on the key `stage`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import (
    Block,
    Chat,
    Checkpointing,
    Data,
    Generation,
    Hardware,
    Logging,
    Model,
    Optimization,
    PreferenceData,
    PretrainData,
    Real,
    RewardLoss,
    Text,
    Watchdog,
    Whole,
)


class StageRecipe(Block):
    """What every stage's recipe has."""

    output: Text
    """Run directory: resolved recipe, metrics, the trained model or adapter."""
    model: Model = Model()
    optimization: Optimization = Optimization()
    hardware: Hardware = Hardware()
    logging: Logging = Logging()
    checkpoint: Checkpointing = Checkpointing()
    watchdog: Watchdog = Watchdog()
    seed: Whole = Field(0, ge=0, lt=2**31)
    """Seeds weights, adapters, data order and sampling."""
    upstream: dict[str, Any] = {}
    """Arguments handed by name to the stage's trl config class, checked against the installed version."""


class PretrainRecipe(StageRecipe):
    """Next-token prediction on plain text (paper section 2)."""

    stage: Literal["pretrain"]
    data: PretrainData
    generation: Generation = Generation()


class SftRecipe(StageRecipe):
    """Supervised fine-tuning on conversations, with the loss on the answers (paper section 3.1)."""

    stage: Literal["sft"]
    chat: Chat = Chat()
    data: Data
    generation: Generation = Generation()


class RewardOptimization(Optimization):
    """The paper's values for reward models (section 3.2.2): one epoch, more over-fits."""

    learning_rate: Real = Field(1e-5, gt=0, le=1)
    """Peak learning rate; the paper's is 1e-5, and 5e-6 for 70B."""
    epochs: Real = Field(1, gt=0, le=1000)
    """Passes over the training data."""
    min_warmup_steps: Whole = Field(5, ge=0)
    """The warm-up takes at least so many steps (paper: 3% of all steps, and at least 5)."""
    batch_size: Whole = Field(512, ge=1)
    """Pairs in one optimizer step, over all devices and accumulation steps."""


class RewardRecipe(StageRecipe):
    """A reward model from preference pairs (paper section 3.2.2)."""

    stage: Literal["reward"]
    chat: Chat = Chat()
    data: PreferenceData
    loss: RewardLoss = RewardLoss()
    compare_with: Text | None = None
    """Another reward model (a finished run, an adapter or a folder): how far the two agree on the held-out pairs."""
    optimization: RewardOptimization = RewardOptimization()

    @model_validator(mode="after")
    def _nothing_is_generated(self) -> RewardRecipe:
        if self.chat.loss_on != "assistant":
            raise ValueError(
                "`chat.loss_on` is for stages that predict tokens: a score has no loss on tokens"
            )
        if self.hardware.loss != "auto":
            raise ValueError(
                "`hardware.loss` is for stages that predict tokens: a reward model has no output layer"
            )
        return self


Recipe = Annotated[PretrainRecipe | SftRecipe | RewardRecipe, Field(discriminator="stage")]
STAGES: dict[str, type[StageRecipe]] = {
    "pretrain": PretrainRecipe,
    "sft": SftRecipe,
    "reward": RewardRecipe,
}
