"""A `stage: ppo` recipe becomes a `PPOConfig`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llamatune.errors import DivergedError
from llamatune.forward.rollouts import Rollout
from llamatune.judging.oracle import Oracle
from llamatune.models.placement import Placement
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.experience import Experience
from llamatune.ppo.guards import Finding
from llamatune.ppo.trainer import PPOTrainer
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.sampling.prompts import PromptRow
from llamatune.training.run_trainer import RunTrainer
from llamatune.training.upstream import config_of, optimization_arguments, run_arguments

_CPU_TOKENS = 4096
_GPU_TOKENS = 16384
"""Most tokens in a forward pass, where the recipe does not say."""


def ppo_config(recipe: PpoRecipe, placement: Placement, output: Path) -> PPOConfig:
    """The settings of the trainer. Raises what `config_of` raises."""
    return config_of(PPOConfig, ppo_arguments(recipe, placement, output), recipe, placement)


def ppo_arguments(recipe: PpoRecipe, placement: Placement, output: Path) -> dict[str, Any]:
    """Every argument that a recipe decides."""
    ppo, rollout, reward = recipe.ppo, recipe.rollout, recipe.reward
    budget = _CPU_TOKENS if placement.device == "cpu" else _GPU_TOKENS
    generated = {} if rollout.batch_size is None else {"generation_batch_size": rollout.batch_size}
    return {
        **run_arguments(recipe, placement, output),
        **optimization_arguments(recipe.optimization),
        **generated,
        "max_steps": recipe.optimization.iterations * recipe.steps_per_iteration,
        "batch_size": recipe.optimization.batch_size,
        "mini_batch_size": ppo.mini_batch_size,
        "num_ppo_epochs": ppo.epochs,
        "micro_batch_tokens": recipe.hardware.micro_batch_tokens or budget,
        "max_completion_length": rollout.max_new_tokens,
        "temperature": rollout.temperature,
        "generation_backend": rollout.backend,
        "missing_eos_penalty": rollout.missing_end_penalty,
        "truncation": rollout.truncation,
        "reward_combination": reward.combination,
        "reward_weights": reward.weights,
        "safety_threshold": reward.safety_threshold,
        "reward_transform": reward.transform,
        "whiten_scores": reward.whiten,
        "cliprange": ppo.clip_range,
        "cliprange_value": ppo.value_clip_range,
        "vf_coef": ppo.value_coef,
        "entropy_coef": ppo.entropy_coef,
        "gamma": ppo.gamma,
        "lam": ppo.lam,
        "kl_coef": ppo.kl_coef,
        "kl_estimator": ppo.kl_estimator,
        "kl_controller": ppo.kl_controller,
        "kl_target": ppo.kl_target,
        "kl_horizon": ppo.kl_horizon,
        "whiten_advantages": ppo.whiten_advantages,
        "whiten_rewards": ppo.whiten_rewards,
        "aggregation": ppo.aggregation,
        "roles": ppo.roles,
        "critic_init": ppo.critic_from,
        "critic_learning_rate": ppo.critic_learning_rate,
        "ptx_coef": ppo.ptx_coef,
        "guards": recipe.guards.model_dump(),
        "log_completions": False,  # the run writes them
    }


class RecipePPOTrainer(RunTrainer, PPOTrainer):
    """A `PPOTrainer` of a run.

    Args:
        oracle: judges the held-out completions, besides the reward models: rising rewards alone prove nothing.
    """

    unit = "rollouts"

    def __init__(self, *args: Any, oracle: Oracle | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.oracle = oracle
        self.held_out: list[dict[str, float]] = []
        """Figures of each evaluation."""

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except DivergedError as error:
            problems = [replace(one, hint=f"{one.hint}; {self.run.ways_on}") for one in error.problems]
            raise DivergedError.of(problems) from None
        self.losses.append(self._figures["loss"][-1])
        self.trained += self.args.batch_size / self.args.updates_per_iteration
        return loss

    def on_rollouts(self, iteration: int, found: Experience) -> None:
        """One line of completions.jsonl for each rollout."""
        for line in self.table(iteration, found):
            self.run.log_completion(line)

    def on_evaluation(
        self, rows: Sequence[PromptRow], rollouts: Sequence[Rollout], figures: Mapping[str, float]
    ) -> dict[str, float]:
        """What the oracle says of the held-out completions, mean over them."""
        further: dict[str, float] = {}
        if self.oracle is not None:
            said = self.oracle.figures(rows, [self.completion(rollout) for rollout in rollouts])
            further = {f"oracle/{name}": figure for name, figure in said.items()}
        found = {**figures, **further}
        self.held_out.append({"step": self.state.global_step, **found})
        names = [name for name in ("reward", "oracle/quality", "kl") if name in found]
        text = ", ".join(f"{name.replace('/', ' ')} {found[name]:.3f}" for name in names)
        self.say(f"step {self.state.global_step}: held-out {text}")
        self.run.write_json("evaluation.json", {"held_out": self.held_out})
        return further

    def _heed(self, findings: Iterable[Finding]) -> None:
        """A warning is for readers of the result, too."""
        findings = list(findings)
        for finding in findings:
            if not finding.stop:
                self.run.event("warning", finding.text)
        super()._heed(findings)

    def _cut_smaller(self, rollouts: Sequence[Rollout]) -> None:
        super()._cut_smaller(rollouts)
        text = f"memory ran out: at most {self.pass_tokens:,} tokens in a forward pass from here on"
        self.run.event("out_of_memory", text)

    def state_to_save(self) -> dict[str, Any]:
        return super().state_to_save() | {"held_out": self.held_out, "pass_tokens": self.pass_tokens}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.held_out = list(state["held_out"])
        self.pass_tokens = min(self.pass_tokens, state["pass_tokens"])

    def outcome(self) -> dict[str, float]:
        """The last held-out figures, and how they changed since the start, for `result.json`."""
        if not self.held_out:
            return {}
        first, last = self.held_out[0], self.held_out[-1]
        names = [name for name in last if name != "step"]
        return {f"eval_{name}": last[name] for name in names} | {
            f"change of {name}": last[name] - first[name] for name in names if name in first
        }
