"""A `stage: ppo` recipe becomes a `PPOConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamatune.models.placement import Placement
from llamatune.recipe.recipes import PpoRecipe
from llamatune.rl.config import PPOConfig
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
