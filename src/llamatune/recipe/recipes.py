"""One recipe class per stage, and their union on the key `stage`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import (
    AdamW,
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
    PromptData,
    Real,
    RewardLoss,
    Text,
    Watchdog,
    Whole,
)
from llamatune.recipe.ppo_blocks import Ppo, PpoGuards, PpoOptimization, Reward, Rollout


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


class PretrainRecipe(EpochRecipe):
    """Next-token prediction on plain text (paper section 2)."""

    stage: Literal["pretrain"]
    data: PretrainData
    generation: Generation = Generation()


class SftRecipe(EpochRecipe):
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


class RewardRecipe(EpochRecipe):
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


class PpoRecipe(StageRecipe):
    """Reinforcement learning against reward models (paper section 3.2.3)."""

    stage: Literal["ppo"]
    chat: Chat = Chat()
    data: PromptData
    rollout: Rollout = Rollout()
    reward: Reward
    ppo: Ppo = Ppo()
    optimization: PpoOptimization = PpoOptimization()
    guards: PpoGuards = PpoGuards()
    generation: Generation = Generation()

    @property
    def steps_per_iteration(self) -> int:
        """Optimizer steps."""
        return self.ppo.epochs * self.optimization.batch_size // self.ppo.mini_batch_size

    @model_validator(mode="after")
    def _whole_mini_batches(self) -> PpoRecipe:
        batch, part = self.optimization.batch_size, self.ppo.mini_batch_size
        if part > batch:
            raise ValueError(
                f"`ppo.mini_batch_size` ({part}) is larger than `optimization.batch_size` ({batch})"
            )
        if batch % part:
            raise ValueError(
                f"`ppo.mini_batch_size` ({part}) does not divide `optimization.batch_size` ({batch}): "
                "a smaller last mini-batch would make larger steps than the others"
            )
        return self

    @model_validator(mode="after")
    def _both_halves_of_ptx(self) -> PpoRecipe:
        if self.ppo.ptx_coef and not self.data.ptx:
            raise ValueError("`ppo.ptx_coef` needs rows: name them under `data.ptx`")
        if self.data.ptx and not self.ppo.ptx_coef:
            raise ValueError("`data.ptx` has no weight in the loss: set `ppo.ptx_coef`")
        if self.chat.loss_on != "assistant" and not self.data.ptx:
            raise ValueError("`chat.loss_on` is for rows of `data.ptx`: answers are trained as a whole")
        return self

    @model_validator(mode="after")
    def _something_to_share(self) -> PpoRecipe:
        if self.model.init == "random":
            raise ValueError("`model.init: random` cannot answer prompts: begin with a model that can")
        if self.ppo.roles == "adapters" and self.model.lora is None and self.model.adapter is None:
            raise ValueError("`ppo.roles: adapters` trains an adapter: add `model.lora` or `model.adapter`")
        return self

    @model_validator(mode="after")
    def _what_this_trainer_has(self) -> PpoRecipe:
        if self.hardware.loss != "auto":
            raise ValueError(
                "`hardware.loss` is for a next-token loss: PPO needs the log-probability of each token"
            )
        if self.hardware.activation_offloading:
            raise ValueError(
                "`hardware.activation_offloading` is not for ppo: use `activation_checkpointing`"
            )
        return self


Recipe = Annotated[PretrainRecipe | SftRecipe | RewardRecipe | PpoRecipe, Field(discriminator="stage")]
STAGES: dict[str, type[StageRecipe]] = {
    "pretrain": PretrainRecipe,
    "sft": SftRecipe,
    "reward": RewardRecipe,
    "ppo": PpoRecipe,
}
