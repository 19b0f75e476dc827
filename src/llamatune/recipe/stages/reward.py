"""The recipe of `stage: reward`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import (
    Block,
    Chat,
    Data,
    Optimization,
    Real,
    Text,
    Whole,
)
from llamatune.recipe.stages.common import LEARNING_RATES, EpochRecipe, Tuning, starter_data


class PreferenceData(Data):
    """Pairs of replies to one prompt, the better one known; or single replies with a score or a label."""

    max_length: Whole = Field(1024, ge=8)
    """Tokens of the prompt with its reply, or with the longer of two, special tokens included."""
    too_long: Literal["error", "drop", "truncate"] = "error"
    """A longer row stops the run, is left out, or loses exchanges at the front of its prompt."""


class RewardLoss(Block):
    """What a reward model minimises: -log sigmoid(chosen - rejected - margin), and options (paper, section 3.2.2)."""

    objective: Literal["pairs", "scores", "labels"] = "pairs"
    """Learn which of two replies is better; or, as ChatLlama does, the score of one reply: (predicted - score)^2; or
    whether one reply is good: the cross-entropy of sigmoid(predicted) against its true-or-false label (KTO data)."""
    margin: Literal["none", "small", "large"] = "none"
    """Margin by rating (paper, table 27): small is 1, 2/3, 1/3, 0 from significantly to negligibly better; large is
    3, 2, 1, 0."""
    margin_table: Annotated[list[Real], Field(min_length=4, max_length=4)] | None = None
    """Margins of your own instead, significantly better first."""
    center: Real = Field(0.0, ge=0)
    """Weight of (chosen + rejected)^2, which keeps scores around zero; 0.01 is usual."""
    safety: Real = Field(0.0, ge=0)
    """Weight of the cross-entropy of sigmoid(score) against the reply's safety label (the safety auxiliary loss)."""

    @model_validator(mode="after")
    def _one_table(self) -> RewardLoss:
        if self.margin_table is not None and self.margin != "none":
            raise ValueError("give `margin` or `margin_table`, not both")
        return self

    @model_validator(mode="after")
    def _no_pairs_no_options(self) -> RewardLoss:
        if self.objective != "pairs" and (self.margin, self.margin_table, self.center, self.safety) != (
            "none",
            None,
            0,
            0,
        ):
            raise ValueError("margin, center and safety belong to `objective: pairs`")
        return self


class RewardOptimization(Optimization):
    """The paper's values for reward models (section 3.2.2): one epoch, since more would over-fit."""

    learning_rate: Real = Field(1e-5, gt=0, le=1)
    """Peak learning rate; the paper's is 1e-5, and 5e-6 for 70B."""
    epochs: Real = Field(1, gt=0, le=1000)
    """Passes over the training data."""
    min_warmup_steps: Whole = Field(5, ge=0)
    """The warm-up takes at least this many steps (paper: 3% of all steps, and at least 5)."""
    batch_size: Whole = Field(512, ge=1)
    """Pairs, or single replies, in one optimizer step, over all devices and accumulation steps."""


class RewardRecipe(EpochRecipe):
    """A reward model from preference pairs, or from rated replies (paper section 3.2.2)."""

    stage: Literal["reward"]
    chat: Chat = Chat()
    data: PreferenceData
    loss: RewardLoss = RewardLoss()
    compare_with: Text | None = None
    """Another reward model (a finished run, an adapter or a folder): reports how often the two agree on held-out
    pairs."""
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


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes: half the learning rate of SFT, and one epoch."""
    return {
        "chat": {"template": "tokenizer"},
        "data": starter_data(source),
        "optimization": {"learning_rate": LEARNING_RATES[tuning] / 2, "epochs": 1, "batch_size": 64},
        "loss": {"margin": "none", "center": 0.0},
        "logging": {"every_steps": 10},
        "seed": 0,
    }
