"""The settings of `PPOTrainer`, with the Llama 2 paper's values as defaults (section 3.2.3)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers import TrainingArguments

from llamatune.errors import RecipeError
from llamatune.judging.combine import RewardRule
from llamatune.ppo.guards import Guard, check_guards
from llamatune.ppo.settings import default_of, setting
from llamatune.recipe.stages.ppo import ANSWERS_AT_ONCE

Whitening = Literal["batch", "running", "none"]


@dataclass
class PPOConfig(TrainingArguments):  # type: ignore[misc]
    """Arguments of `PPOTrainer`: those of transformers' Trainer, and PPO's own.

    One step of the trainer is one optimizer step; an iteration has `num_ppo_epochs * batch_size / mini_batch_size` of
    them. Names that TRL's PPOConfig had keep their meaning (docs/migrate_from_trl_ppo.md).
    `per_device_train_batch_size` is only how many rollouts share a forward pass: neither it nor the number of
    processes changes what is learnt. Several processes use DDP, or with `fsdp=True` FSDP2 (see ppo/roles/sharding.py);
    DeepSpeed is refused. Lengths are in tokens, the KL in nats. Defaults are the paper's (section 3.2.3) where it has
    one, else those of docs/ppo.md.

    Raises:
        RecipeError: E025, a value out of its range, settings that do not go together, or no such guard.
    """

    max_steps: int = field(
        default=-1, metadata={"help": "Optimizer steps in all; replaces `num_train_epochs`."}
    )

    # The paper's optimizer; transformers' own defaults differ.
    learning_rate: float = setting("optimization.learning_rate")
    lr_scheduler_type: str = setting("optimization.schedule")
    adam_beta2: float = setting("optimization.beta2")
    adam_epsilon: float = setting("optimization.eps")
    weight_decay: float = setting("optimization.weight_decay")
    max_grad_norm: float = setting("optimization.max_grad_norm")
    critic_learning_rate: float | None = setting("ppo.critic_learning_rate")
    per_device_train_batch_size: int = field(
        default=8, metadata={"help": "Most rollouts in one forward pass. Speed and memory only."}
    )
    micro_batch_tokens: int | None = field(
        default=None, metadata={"help": "Most tokens in one forward pass, instead of a number of rollouts."}
    )
    logging_steps: float = field(default=1, metadata={"help": "Optimizer steps between two log lines."})
    remove_unused_columns: bool | None = field(
        default=False, metadata={"help": "Further columns of the prompts reach the reward functions."}
    )

    # Rollouts.
    batch_size: int = setting("optimization.batch_size")
    mini_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Rollouts of an optimizer step, over all processes; 64, or `batch_size`, when None."
        },
    )
    num_mini_batches: int | None = field(
        default=None, metadata={"help": "Mini-batches of an iteration, instead of `mini_batch_size`."}
    )
    num_ppo_epochs: int = setting("ppo.epochs")
    total_episodes: int | None = field(
        default=None, metadata={"help": "Rollouts in all; replaces `num_train_epochs`."}
    )
    max_prompt_length: int | None = field(
        default=None, metadata={"help": "Most tokens of a prompt; longer ones are an error."}
    )
    max_completion_length: int = setting("rollout.max_new_tokens")
    temperature: float = setting("rollout.temperature")
    stop_token_ids: list[int] | None = field(
        default=None,
        metadata={"help": "Tokens that end a completion; those of chat format and model when None."},
    )
    generation_batch_size: int = field(
        default=ANSWERS_AT_ONCE, metadata={"help": "Completions generated at once."}
    )
    generation_backend: Literal["auto", "generate", "continuous_batching", "vllm"] = setting(
        "rollout.backend"
    )
    vllm_gpu_memory_utilization: float = field(
        default=0.3, metadata={"help": "vllm: the share of the GPU's memory that is its own."}
    )
    vllm_enable_sleep_mode: bool = field(
        default=False, metadata={"help": "vllm: give that memory back between rollouts."}
    )
    missing_eos_penalty: float | None = setting("rollout.missing_end_penalty")
    truncation: Literal["terminal", "bootstrap", "mask"] = setting("rollout.truncation")

    # Reward.
    reward_weights: list[float] | None = setting("reward.weights")
    reward_combination: Literal["auto", "llama2", "weighted_sum"] = setting("reward.combination")
    safety_threshold: float = setting("reward.safety_threshold")
    reward_transform: Literal["logit", "probability"] = setting("reward.transform")
    whiten_scores: Whitening = setting("reward.whiten")
    whiten_rewards: bool = setting("ppo.whiten_rewards")
    kl_coef: float | None = setting("ppo.kl_coef")
    kl_estimator: Literal["k1", "k2", "k3"] = setting("ppo.kl_estimator")
    kl_controller: Literal["fixed", "adaptive"] = setting("ppo.kl_controller")
    kl_target: float | None = setting("ppo.kl_target")
    kl_horizon: int = setting("ppo.kl_horizon")

    # Advantages and losses.
    gamma: float = setting("ppo.gamma")
    lam: float = setting("ppo.lam")
    whiten_advantages: bool = setting("ppo.whiten_advantages")
    cliprange: float = setting("ppo.clip_range")
    cliprange_value: float | None = setting("ppo.value_clip_range")
    vf_coef: float = setting("ppo.value_coef")
    entropy_coef: float = setting("ppo.entropy_coef")
    aggregation: Literal["token_mean", "sequence_mean"] = setting("ppo.aggregation")
    ptx_coef: float = setting("ppo.ptx_coef")
    ptx_batch_size: int | None = field(
        default=None,
        metadata={"help": "Rows of `ptx_dataset` in an optimizer step; `mini_batch_size` when None."},
    )

    # Roles.
    roles: Literal["auto", "adapters", "separate"] = setting("ppo.roles")
    critic_init: Literal["policy", "reward"] = setting("ppo.critic_from")

    # What a reader sees, and what stops a run.
    log_completions: bool = field(default=True, metadata={"help": "Write completions.jsonl into output_dir."})
    guards: dict[str, Any] | str | None = field(
        default_factory=dict, metadata={"help": "Changes to the guards' defaults, see ppo/guards.py."}
    )

    def __post_init__(self) -> None:
        if self.deepspeed or os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
            raise refused(
                "deepspeed",
                "is given: DeepSpeed is not supported by PPOTrainer",
                hint="use several processes (DDP), or `fsdp=True`",
            )
        super().__post_init__()
        self._settle_batches()
        self._check()

    @property
    def watched(self) -> dict[str, Guard]:
        """The guards: their defaults, with the changes in `guards`."""
        return check_guards(self.guards or {})

    @property
    def reward_rule(self) -> RewardRule:
        """How the scores of the reward functions become one reward."""
        return RewardRule(
            self.reward_combination, self.reward_weights, self.safety_threshold, self.reward_transform
        )

    @property
    def updates_per_iteration(self) -> int:
        """Optimizer steps of an iteration."""
        return self.num_ppo_epochs * self.batch_size // self.rollouts_per_update

    @property
    def rollouts_per_update(self) -> int:
        """Rollouts of an optimizer step: `mini_batch_size`, settled."""
        assert self.mini_batch_size is not None
        return self.mini_batch_size

    def _settle_batches(self) -> None:
        if self.gradient_accumulation_steps != 1:
            raise refused(
                "gradient_accumulation_steps",
                "follows from mini_batch_size and per_device_train_batch_size",
                why="batch sizes are those of all processes together and do not change with their number",
                hint="set `mini_batch_size` to the rollouts of an optimizer step, and leave this at 1",
            )
        if self.mini_batch_size is not None and self.num_mini_batches is not None:
            raise refused("num_mini_batches", "and mini_batch_size say the same", hint="give one of the two")
        if self.num_mini_batches is not None:
            if self.batch_size % self.num_mini_batches:
                raise refused("num_mini_batches", f"does not divide batch_size {self.batch_size}")
            self.mini_batch_size = self.batch_size // self.num_mini_batches
        if self.mini_batch_size is None:
            self.mini_batch_size = min(default_of("ppo.mini_batch_size"), self.batch_size)
        if self.mini_batch_size < 1 or self.batch_size % self.mini_batch_size:
            raise refused(
                "mini_batch_size",
                f"({self.mini_batch_size}) does not divide batch_size ({self.batch_size})",
                why="a smaller last mini-batch would make larger steps than the others",
            )
        self.num_mini_batches = self.batch_size // self.mini_batch_size
        if self.total_episodes is not None:
            if self.max_steps > 0:
                raise refused("total_episodes", "and max_steps say the same", hint="give one of the two")
            self.max_steps = -(-self.total_episodes // self.batch_size) * self.updates_per_iteration

    def _check(self) -> None:
        _ = self.watched
        positive = (
            "temperature",
            "max_completion_length",
            "num_ppo_epochs",
            "cliprange",
            "generation_batch_size",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise refused(name, f"is {getattr(self, name)}, and must be above 0")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise refused(name, f"is {getattr(self, name)}, and must be between 0 and 1")
        if not 0 < self.vllm_gpu_memory_utilization < 1:
            raise refused("vllm_gpu_memory_utilization", "is a share between 0 and 1")
        if self.ptx_coef < 0:
            raise refused("ptx_coef", f"is {self.ptx_coef}, and must not be below 0")
        if self.ptx_batch_size is not None and (self.ptx_batch_size < 1 or not self.ptx_coef):
            raise refused("ptx_batch_size", "must be above 0, and belongs to a `ptx_coef` above 0")
        if not 0 < self.safety_threshold < 1:
            raise refused("safety_threshold", "is a probability between 0 and 1")
        if self.kl_controller == "adaptive" and self.kl_target is None:
            raise refused("kl_target", "is what the adaptive controller steers to: give it")
        if self.kl_target is not None and self.kl_controller == "fixed":
            raise refused("kl_target", "belongs to `kl_controller: adaptive`")


def refused(name: str, what: str, *, why: str | None = None, hint: str | None = None) -> RecipeError:
    """The error for a setting that cannot be."""
    return RecipeError("E025", f"`{name}` {what}", place=f"PPOConfig.{name}", why=why, hint=hint)
