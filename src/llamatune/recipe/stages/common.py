"""What the recipes of several stages share: any stage, any that trains, any that goes through its rows in epochs, any
in which a model answers prompts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from llamatune.recipe.blocks import (
    Action,
    AdamW,
    Block,
    Chat,
    Checkpointing,
    Data,
    Flag,
    Hardware,
    Logging,
    Model,
    Optimization,
    Real,
    Source,
    Text,
    Whole,
)

FOR_TRAINING: dict[str, str] = {
    "hardware.sharding": "works with whole weights on each device",
    "hardware.micro_batch_tokens": "trains nothing",
    "hardware.batching": "trains nothing",
    "hardware.loss": "trains nothing",
    "hardware.activation_checkpointing": "trains nothing",
    "hardware.activation_offloading": "trains nothing",
    "logging.report_to": "has no curves for a tracker",
}
"""What every recipe can say and only stages that train heed, and what the others do instead."""


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

    @model_validator(mode="after")
    def _only_what_it_heeds(self) -> StageRecipe:
        if isinstance(self, TrainingRecipe):
            return self
        for key, instead in FOR_TRAINING.items():
            block, name = key.split(".")
            said: Block = getattr(self, block)
            if getattr(said, name) != getattr(type(said)(), name):
                raise ValueError(f"`{key}` is for stages that train: {self.stage} {instead}")
        return self


class ModelRecipe(StageRecipe):
    """A stage that works with a model."""

    model: Model = Model()


class TrainingRecipe(ModelRecipe):
    """A stage that trains a model."""

    optimization: AdamW = AdamW()
    upstream: dict[str, Any] = {}
    """Arguments handed by name to the config class of the stage's trainer (trl's; for ppo, llamatune's PPOConfig); only
    those that have an effect there."""

    @field_validator("model")
    @classmethod
    def _trainable(cls, model: Model) -> Model:
        if model.quantization == "nf4" and model.lora is None and model.adapter is None:
            raise ValueError("nf4 weights cannot be trained: add a `lora:` block or set `quantization: none`")
        return model

    @model_validator(mode="after")
    def _can_be_sharded(self) -> TrainingRecipe:
        if self.hardware.sharding == "none":
            return self
        if self.model.quantization == "nf4":
            raise ValueError(
                "`hardware.sharding` and nf4: FSDP2 would leave the 4-bit base whole on each device; leave one of "
                "them out"
            )
        if self.optimization.optimizer != "adamw":
            raise ValueError(
                f"`hardware.sharding` needs `optimizer: adamw`, not {self.optimization.optimizer}"
            )
        if self.model.attention not in ("auto", "sdpa", "eager"):
            raise ValueError(
                f"`hardware.sharding` and {self.model.attention}: weights are loaded, and attention is tried, in host "
                "memory; use `attention: auto`"
            )
        return self


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


class PromptSource(Source):
    """One set of prompts; the last reply of a conversation is left out."""

    safety: Flag | None = None
    """Whether these prompts ask for something unsafe, so that the safety reward model judges the replies;
    follows from the card's category when left out, and is false without a card."""


class PromptData(Data):
    """Prompts that the policy answers: which, how long, how mixed."""

    train: Annotated[list[PromptSource], Field(min_length=1)]  # type: ignore[assignment]  # frozen: never appended to
    """Sets of prompts, mixed by their weights."""
    eval: list[PromptSource] = []  # type: ignore[assignment]
    """Held-out prompts; one that is also in the training data is refused."""
    max_length: Whole = Field(1024, ge=8)
    """Tokens of a prompt, special tokens included."""
    too_long: Literal["error", "drop"] = "error"
    """A longer prompt stops the run, or is left out."""


class RewardModels(Block):
    """What an answer is worth: R_s if the prompt is a safety prompt or R_s < 0.15, else R_h."""

    helpfulness: Text | None = None
    """A reward model: a finished run, an adapter or a model folder."""
    safety: Text | None = None
    """A reward model for safety, named likewise. Give at least one of the two."""
    combination: Literal["auto", "llama2", "weighted_sum"] = "auto"
    """The paper's choice between the two scores, or their weighted sum; `auto` is the paper's where there are two."""
    safety_threshold: Real = Field(0.15, gt=0, lt=1)
    """llama2: an answer whose safety is less probable than this is judged by its safety on any prompt."""
    weights: Annotated[list[Real], Field(min_length=2, max_length=2)] | None = None
    """weighted_sum: the weight of helpfulness, then of safety; 1 and 1 when left out."""
    transform: Literal["logit", "probability"] = "logit"
    """The score as the reward model gives it (as in the paper: the logit of the probability), or its sigmoid."""

    @property
    def models(self) -> dict[str, str]:
        """The reward models, by what they judge."""
        named = {"helpfulness": self.helpfulness, "safety": self.safety}
        return {name: model for name, model in named.items() if model is not None}

    @property
    def needs_models(self) -> bool:
        """Whether nothing else judges."""
        return True

    @model_validator(mode="after")
    def _models_that_there_are(self) -> RewardModels:
        both = self.helpfulness is not None and self.safety is not None
        if self.helpfulness is None and self.safety is None and self.needs_models:
            raise ValueError("give a reward model: `helpfulness`, `safety` or both")
        if self.combination == "llama2" and not both:
            raise ValueError("`combination: llama2` chooses between `helpfulness` and `safety`: give both")
        if self.weights is not None and not (both and self.combination == "weighted_sum"):
            raise ValueError("`weights` belong to `combination: weighted_sum` of two reward models")
        if self.safety_threshold != 0.15 and not (both and self.combination != "weighted_sum"):
            raise ValueError("`safety_threshold` belongs to `combination: llama2` of two reward models")
        return self


class Endpoint(Block):
    """A model behind an OpenAI-compatible endpoint that compares replies."""

    url: Text = Field(pattern=r"^https?://[^@\s]+$")
    """What comes before /chat/completions: http://localhost:8000/v1."""
    model: Text
    """The name of the model there."""
    temperature: Literal["model"] | Real | None = None
    """At which it answers; 0 when left out. `model` sends none, for models that refuse to be told."""
    key_from: str | None = Field("OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the key; nothing is sent where it is not set."""
    at_once: Whole = Field(8, ge=1, le=256)
    """Comparisons asked for, and written, at once: most that a process which is killed has to ask for again."""
    attempts: Whole = Field(5, ge=1)
    """How often to ask where the endpoint is busy or does not answer, with longer and longer pauses."""
    timeout: Real = Field(120, gt=0)
    """Seconds to wait for an answer."""


class Sampling(Block):
    """How the model answers the prompts; nothing else shapes its answers, least of all its own generation settings."""

    temperature: Real = Field(1.0, ge=0, le=5)
    """0 takes the most probable token."""
    top_p: Real = Field(1.0, gt=0, le=1)
    """Nucleus sampling."""
    max_new_tokens: Whole = Field(256, ge=1)
    """Longest answer, in tokens; one that is longer is cut off, and counted."""
    backend: Literal["auto", "generate", "continuous_batching", "vllm"] = "auto"
    """What generates; `auto` is the fastest that is correct on the device."""
    batch_size: Whole = Field(128, ge=1)
    """Answers sampled at once, and written at once: what a process that is killed loses. Halved in use when memory
    runs out."""


class SamplingRecipe(ModelRecipe):
    """A stage that makes data: a model answers prompts, and nothing is trained."""

    chat: Chat = Chat()
    data: PromptData
    sampling: Sampling = Sampling()

    @property
    def asked(self) -> list[PromptSource]:
        """The sets of prompts that are answered."""
        return self.data.train

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt; 0 where there are none."""
        return self.data.max_length if self.asked else 0

    @property
    def longest_reply(self) -> int:
        """Tokens of the longest reply to them; 0 where there are none."""
        return self.sampling.max_new_tokens if self.asked else 0

    @property
    def answers_each(self) -> float:
        """Answers to each prompt, all in all: what `llamatune plan` counts with."""
        return 1.0

    @model_validator(mode="after")
    def _nothing_is_trained(self) -> SamplingRecipe:
        if not self.model.pretrained or self.model.lora is not None:
            raise ValueError("`model.init` and `model.lora` are for training: this stage only asks the model")
        if self.chat.loss_on != "assistant":
            raise ValueError("`chat.loss_on` is for stages that train: this one only asks the model")
        return self


Tuning = Literal["full", "lora", "qlora"]
LEARNING_RATES: dict[Tuning, float] = {"full": 2e-5, "lora": 2e-4, "qlora": 2e-4}
"""Of a first recipe: adapters are trained with about ten times the learning rate of all weights."""


def starter_data(source: dict[str, Any]) -> dict[str, Any]:
    """The block `data` of a first recipe."""
    return {"train": [source], "eval_fraction": 0.02, "max_length": 1024, "too_long": "error"}
