"""The settings of `PPOTrainer`, with the Llama 2 paper's values as defaults (section 3.2.3)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers import TrainingArguments

from llamatune.errors import RecipeError
from llamatune.judging.combine import RewardRule
from llamatune.ppo.guards import DEFAULT_GUARDS, Guard, check_guards

Whitening = Literal["batch", "running", "none"]


@dataclass
class PPOConfig(TrainingArguments):  # type: ignore[misc]
    """Arguments of `PPOTrainer`: those of transformers' Trainer, and PPO's own.

    One step of the trainer is one optimizer step; an iteration is `num_ppo_epochs * batch_size / mini_batch_size` of
    them. Names that TRL's PPOConfig had keep their meaning (docs/migrate_from_trl_ppo.md).
    `per_device_train_batch_size` is only how many rollouts share a forward pass: neither it nor the number of processes
    changes what is learnt. Several processes use DDP, or with `fsdp=True` FSDP2 (see ppo/roles/sharding.py);
    DeepSpeed is refused.
    """

    max_steps: int = field(
        default=-1, metadata={"help": "Optimizer steps in all; replaces `num_train_epochs`."}
    )

    # The paper's optimizer; transformers' own defaults are others.
    learning_rate: float = field(default=1e-6, metadata={"help": "Learning rate of the policy."})
    lr_scheduler_type: str = field(default="constant", metadata={"help": "The paper's is constant."})
    adam_beta2: float = field(default=0.95, metadata={"help": "AdamW's decay of the squared gradient."})
    adam_epsilon: float = field(default=1e-5, metadata={"help": "AdamW's denominator offset."})
    weight_decay: float = field(default=0.1, metadata={"help": "Decoupled weight decay on matrices."})
    max_grad_norm: float = field(default=1.0, metadata={"help": "Policy and critic are clipped together."})
    critic_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the critic; the policy's when None."}
    )
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
    batch_size: int = field(default=512, metadata={"help": "Rollouts of an iteration, over all processes."})
    mini_batch_size: int | None = field(
        default=None, metadata={"help": "Rollouts of an optimizer step, over all processes; 64 when None."}
    )
    num_mini_batches: int | None = field(
        default=None, metadata={"help": "Mini-batches of an iteration, instead of `mini_batch_size`."}
    )
    num_ppo_epochs: int = field(default=1, metadata={"help": "Passes over the rollouts of an iteration."})
    total_episodes: int | None = field(
        default=None, metadata={"help": "Rollouts in all; replaces `num_train_epochs`."}
    )
    max_prompt_length: int | None = field(
        default=None, metadata={"help": "Most tokens of a prompt; longer ones are an error."}
    )
    max_completion_length: int = field(default=256, metadata={"help": "Most tokens of a completion."})
    temperature: float = field(
        default=1.0, metadata={"help": "Scales the logits alike in rollouts, old, new and reference policy."}
    )
    stop_token_ids: list[int] | None = field(
        default=None,
        metadata={"help": "Tokens that end a completion; those of chat format and model when None."},
    )
    generation_batch_size: int = field(default=256, metadata={"help": "Completions generated at once."})
    generation_backend: Literal["auto", "generate", "continuous_batching", "vllm"] = field(
        default="auto", metadata={"help": "How completions are generated; `auto` is plain `generate`."}
    )
    vllm_gpu_memory_utilization: float = field(
        default=0.3, metadata={"help": "vllm: the share of the GPU's memory that is its own."}
    )
    vllm_enable_sleep_mode: bool = field(
        default=False, metadata={"help": "vllm: give that memory back between rollouts."}
    )
    missing_eos_penalty: float | None = field(
        default=None, metadata={"help": "Taken off the score of a completion that was cut off."}
    )
    truncation: Literal["terminal", "bootstrap", "mask"] = field(
        default="terminal",
        metadata={
            "help": "A completion that was cut off ends there; or its future is worth what the critic says; or it is "
            "not trained on."
        },
    )

    # Reward.
    reward_weights: list[float] | None = field(
        default=None, metadata={"help": "Weights of the reward functions' sum; 1 each when None."}
    )
    reward_combination: Literal["auto", "llama2", "weighted_sum"] = field(
        default="auto",
        metadata={
            "help": "`auto` is llama2 with reward functions `helpfulness` and `safety`, else a weighted sum."
        },
    )
    safety_threshold: float = field(
        default=0.15, metadata={"help": "llama2: the safety score decides below this probability."}
    )
    reward_transform: Literal["logit", "probability"] = field(
        default="logit", metadata={"help": "A reward model's score as it is (the paper's), or its sigmoid."}
    )
    whiten_scores: Whitening = field(
        default="batch",
        metadata={
            "help": "Whiten the scalar score (the paper's) over the iteration, over all so far, or not."
        },
    )
    whiten_rewards: bool = field(
        default=False,
        metadata={"help": "Scale the rewards of tokens to deviation 1, keeping their mean (TRL)."},
    )
    kl_coef: float | None = field(
        default=None, metadata={"help": "The paper's beta; when None 0.01, from 30B parameters on 0.005."}
    )
    kl_estimator: Literal["k1", "k2", "k3"] = field(default="k1", metadata={"help": "Schulman's estimators."})
    kl_controller: Literal["fixed", "adaptive"] = field(default="fixed", metadata={"help": "Of kl_coef."})
    kl_target: float | None = field(
        default=None, metadata={"help": "adaptive: KL of a completion to steer to."}
    )
    kl_horizon: int = field(default=10000, metadata={"help": "adaptive: rollouts in which beta may double."})

    # Advantages and losses.
    gamma: float = field(default=1.0, metadata={"help": "Discount."})
    lam: float = field(default=0.95, metadata={"help": "Lambda of generalised advantage estimation."})
    whiten_advantages: bool = field(default=True, metadata={"help": "Over all tokens of the iteration."})
    cliprange: float = field(default=0.2, metadata={"help": "Clip range of the probability ratio."})
    cliprange_value: float | None = field(
        default=0.2, metadata={"help": "Clip range of values around their old ones; None does not clip."}
    )
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    entropy_coef: float = field(default=0.0, metadata={"help": "Weight of an entropy bonus."})
    aggregation: Literal["token_mean", "sequence_mean"] = field(
        default="token_mean", metadata={"help": "What a mini-batch's loss is the mean of."}
    )
    ptx_coef: float = field(
        default=0.0,
        metadata={"help": "Weight of the next-token loss on `ptx_dataset` (InstructGPT's PPO-ptx)."},
    )
    ptx_batch_size: int | None = field(
        default=None,
        metadata={"help": "Rows of `ptx_dataset` in an optimizer step; `mini_batch_size` when None."},
    )

    # Roles.
    roles: Literal["auto", "adapters", "separate"] = field(
        default="auto",
        metadata={
            "help": "Policy, critic, reference and rewards as adapters on one base, or as models of their own."
        },
    )
    critic_init: Literal["policy", "reward"] = field(
        default="policy",
        metadata={"help": "The critic begins as the policy with a zero head, or as the first reward model."},
    )

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
        """The guards: their defaults, and what `guards` changes of them."""
        return check_guards(self.guards or {}, DEFAULT_GUARDS)

    @property
    def reward_rule(self) -> RewardRule:
        """How the scores of the reward functions become one reward."""
        return RewardRule(
            self.reward_combination, self.reward_weights, self.safety_threshold, self.reward_transform
        )

    @property
    def updates_per_iteration(self) -> int:
        """Optimizer steps of an iteration."""
        return self.num_ppo_epochs * self.batch_size // self.mini_batch

    @property
    def mini_batch(self) -> int:
        """Rollouts of an optimizer step."""
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
            self.mini_batch_size = min(64, self.batch_size)
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
