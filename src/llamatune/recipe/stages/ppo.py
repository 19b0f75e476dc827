"""The blocks of `stage: ppo`. Defaults are the Llama 2 paper's (section 3.2.3), or marked as left open by it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import (
    Action,
    AdamW,
    Block,
    Chat,
    Data,
    Flag,
    Generation,
    Real,
    Source,
    Whole,
)
from llamatune.recipe.stages.common import (
    LEARNING_RATES,
    PromptData,
    RewardModels,
    TrainingRecipe,
    Tuning,
    starter_data,
)

ANSWERS_AT_ONCE = 256
"""Answers generated at once, where the recipe does not say; halved automatically when memory runs out."""


class RolloutSettings(Block):
    """How the policy answers the prompts. Answers are sampled from its whole distribution, as the update assumes."""

    max_new_tokens: Whole = Field(256, ge=1)
    """Longest answer (the paper leaves it open)."""
    temperature: Real = Field(1.0, gt=0, le=5)
    """Scales the logits alike wherever they are used: sampling, old, new and reference policy (left open)."""
    backend: Literal["auto", "generate", "continuous_batching", "vllm"] = "auto"
    """What generates; `auto` is the fastest that is correct on the device."""
    batch_size: Whole | None = Field(None, ge=1)
    """Answers generated at once; chosen for the device when left out."""
    missing_end_penalty: Real | None = Field(None, ge=0)
    """Subtracted from the reward of an answer that was cut off (left open)."""
    truncation: Literal["terminal", "bootstrap", "mask"] = "terminal"
    """An answer that was cut off is taken to end there, or its future is worth what the critic says, or it is not
    trained on (left open)."""


class Reward(RewardModels):
    """What an answer is worth: R_s if the prompt is a safety prompt or R_s < 0.15, else R_h; logit; whiten."""

    whiten: Literal["batch", "running", "none"] = "batch"
    """Bring scores to mean 0 and deviation 1: over an iteration, by the statistics of all scores so far, or not (the
    paper whitens, and leaves open over what)."""


class Ppo(Block):
    """The clipped policy gradient (Schulman et al. 2017), with a penalty for leaving the starting policy."""

    epochs: Whole = Field(1, ge=1, le=100)
    """Passes over the answers of an iteration."""
    mini_batch_size: Whole = Field(64, ge=1)
    """Answers in one optimizer step, over all devices; divides `optimization.batch_size`."""
    clip_range: Real = Field(0.2, gt=0, lt=1)
    """How far from 1 the probability ratio may move before it no longer pays."""
    value_clip_range: Real | None = Field(0.2, gt=0)
    """How far a value may move from its old one before it no longer pays; null does not clip (left open)."""
    value_coef: Real = Field(0.1, ge=0)
    """Weight of the value loss (left open)."""
    entropy_coef: Real = Field(0.0, ge=0)
    """Weight of an entropy bonus (left open)."""
    gamma: Real = Field(1.0, ge=0, le=1)
    """Discount (left open)."""
    lam: Real = Field(0.95, ge=0, le=1)
    """Lambda of generalised advantage estimation (left open)."""
    kl_coef: Real | None = Field(None, ge=0)
    """The paper's beta; chosen by the base's size when left out: 0.01 below 30B parameters, 0.005 above."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """Estimate of the KL of each token: log ratio, half its square, or Schulman's third (left open)."""
    kl_controller: Literal["fixed", "adaptive"] = "fixed"
    """`adaptive` moves `kl_coef` so that the KL comes near `kl_target` (Ziegler et al. 2019)."""
    kl_target: Real | None = Field(None, gt=0)
    """adaptive: wanted KL of an answer, in nats, the sum over its tokens."""
    kl_horizon: Whole = Field(10000, ge=1)
    """adaptive: answers over which `kl_coef` moves by at most 20%."""
    whiten_advantages: Flag = True
    """Bring the advantages of an iteration to mean 0 and deviation 1 (left open)."""
    whiten_rewards: Flag = False
    """Scale the rewards of tokens to deviation 1, keeping their mean, as TRL did."""
    aggregation: Literal["token_mean", "sequence_mean"] = "token_mean"
    """Each token of a mini-batch counts the same, or each answer does (left open)."""
    roles: Literal["auto", "adapters", "separate"] = "auto"
    """Policy, critic, reference and reward models are adapters on one base, or models of their own; `auto` shares the
    base where an adapter is trained."""
    critic_from: Literal["policy", "reward"] = "policy"
    """The critic begins as the policy with values of zero, or as the first reward model (left open)."""
    critic_learning_rate: Real | None = Field(None, gt=0, le=1)
    """Learning rate of the critic; the policy's when left out."""
    ptx_coef: Real = Field(0.0, ge=0)
    """Weight of the next-token loss on rows of `data.ptx` (PPO-ptx, Ouyang et al. 2022)."""

    @model_validator(mode="after")
    def _target_of_the_controller(self) -> Ppo:
        if self.kl_controller == "adaptive" and self.kl_target is None:
            raise ValueError("`kl_controller: adaptive` needs a `kl_target`")
        if self.kl_controller == "adaptive" and self.kl_coef == 0:
            raise ValueError("`kl_controller: adaptive` multiplies `kl_coef`: 0 stays 0")
        if self.kl_controller == "fixed" and self.kl_target is not None:
            raise ValueError("`kl_target` belongs to `kl_controller: adaptive`")
        return self


class KlGuard(Block):
    """The policy runs away from where it started."""

    limit: Real = Field(50.0, gt=0)
    """Mean KL of an iteration's answers, in nats, above which it acts."""
    action: Action = "stop"
    """End the run with the last checkpoint kept, say so, or do nothing."""


class RewardDropGuard(Block):
    """The reward collapses."""

    limit: Real = Field(3.0, gt=0)
    """How far the mean reward may fall below the best of the last 20 iterations, in deviations of the first
    iteration's rewards."""
    action: Action = "warn"
    """End the run with the last checkpoint kept, say so, or do nothing."""


class EntropyGuard(Block):
    """The policy always says the same thing."""

    limit: Real = Field(0.01, ge=0)
    """Mean entropy of a token, in nats, below which it acts."""
    action: Action = "warn"
    """End the run with the last checkpoint kept, say so, or do nothing."""


class TruncatedGuard(Block):
    """Answers do not end."""

    limit: Real = Field(0.99, ge=0, lt=1)
    """Share of an iteration's answers that were cut off, above which it acts."""
    action: Action = "warn"
    """End the run with the last checkpoint kept, say so, or do nothing."""


class ZeroGradientsGuard(Block):
    """The gradient of the policy is zero, so that nothing is learnt."""

    action: Action = "stop"
    """End the run with the last checkpoint kept, say so, or do nothing."""


class PpoGuards(Block):
    """What stops a run that went wrong, or warns of it, and shows the answer that tells most about it."""

    kl: KlGuard = KlGuard()
    reward_drop: RewardDropGuard = RewardDropGuard()
    entropy: EntropyGuard = EntropyGuard()
    truncated: TruncatedGuard = TruncatedGuard()
    zero_gradients: ZeroGradientsGuard = ZeroGradientsGuard()


class PpoOptimization(AdamW):
    """AdamW with the paper's values for PPO (section 3.2.3); a step is an optimizer step.
    An iteration has `ppo.epochs` x `batch_size` / `ppo.mini_batch_size` of them, and that is what `logging`,
    `checkpoint` and `generation` count."""

    learning_rate: Real = Field(1e-6, gt=0, le=1)
    """Learning rate of the policy."""
    schedule: Literal["cosine", "linear", "constant"] = "constant"
    """Shape after the warm-up; cosine and linear end at `final_fraction` of the peak."""
    warmup: Real = Field(0.0, ge=0)
    """Warm-up: a share of all steps when below 1, a number of steps otherwise."""
    batch_size: Whole = Field(512, ge=1)
    """Answers in one iteration, over all devices."""
    iterations: Whole = Field(200, ge=1)
    """Rounds of answering, scoring and learning; the paper's are 200 to 400."""


class PpoData(PromptData):
    """Prompts that the policy answers: which, how long, how mixed."""

    ptx: list[Source] = []
    """Plain text or conversations, for the pretraining loss of `ppo.ptx_coef`."""
    max_length: Whole = Field(1024, ge=8)
    """Tokens of a prompt, special tokens included. Longer rows of `ptx` are cut: documents are split, conversations
    end at a turn boundary."""

    @property
    def mix(self) -> Data | None:
        """The pretraining mix as rows of its own: under the policies of the prompts, except that long rows are cut."""
        if not self.ptx:
            return None
        return Data(
            train=self.ptx,
            max_length=self.max_length,
            too_long="truncate",
            max_dropped=self.max_dropped,
            on_bad_row=self.on_bad_row,
            deduplicate=self.deduplicate,
        )


class PpoRecipe(TrainingRecipe):
    """Reinforcement learning against reward models (paper section 3.2.3)."""

    stage: Literal["ppo"]
    chat: Chat = Chat()
    data: PpoData
    rollout: RolloutSettings = RolloutSettings()
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
        if not self.model.pretrained:
            raise ValueError("new weights (`model.init`) cannot answer prompts: begin with a model that can")
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
        if self.hardware.cpu_offload:
            raise ValueError(
                "`hardware.cpu_offload` is not for ppo, which samples from its weights; leave it out"
            )
        return self


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes: a twentieth of the learning rate of SFT."""
    return {
        "chat": {"template": "tokenizer"},
        "data": starter_data(source) | {"max_length": 512},
        "reward": {"helpfulness": "runs/reward"},
        "rollout": {"max_new_tokens": 256, "temperature": 1.0},
        "ppo": {"mini_batch_size": 64},
        "optimization": {
            "learning_rate": LEARNING_RATES[tuning] / 20,
            "batch_size": 512,
            "iterations": 200,
        },
        "logging": {"every_steps": 8},
        "seed": 0,
    }
