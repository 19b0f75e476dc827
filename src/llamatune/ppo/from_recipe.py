"""A `stage: ppo` recipe becomes a `PPOConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamatune.forward.cutting import automatic_tokens
from llamatune.models.placement import Placement
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.settings import of_recipe, value_in
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.training.upstream import HEEDED, config_of, optimization_arguments, run_arguments


def ppo_config(recipe: PpoRecipe, placement: Placement, output: Path, *, width: int) -> PPOConfig:
    """The settings of the trainer; `width` is the base's. Raises what `config_of` raises."""
    arguments = ppo_arguments(recipe, placement, output, width=width)
    return config_of(PPOConfig, arguments, recipe, placement, heeded(recipe))


def heeded(recipe: PpoRecipe) -> frozenset[str]:
    """Arguments that have an effect beside those that the recipe decides, for `upstream`."""
    of_vllm = {"vllm_gpu_memory_utilization", "vllm_enable_sleep_mode"}
    return HEEDED | {
        "generation_batch_size",
        "max_prompt_length",
        "stop_token_ids",
        "fsdp",
        "fsdp_config",
        *(("ptx_batch_size",) if recipe.ppo.ptx_coef else ()),
        *(of_vllm if recipe.rollout.backend == "vllm" else ()),
    }


def ppo_arguments(recipe: PpoRecipe, placement: Placement, output: Path, *, width: int) -> dict[str, Any]:
    """Every argument that a recipe decides; `width` is the base's."""
    budget = automatic_tokens(on_cpu=placement.device == "cpu", width=width)
    at_once = recipe.rollout.batch_size
    return {
        **{name: value_in(recipe, field) for name, field in of_recipe(PPOConfig).items()},
        **run_arguments(recipe, placement, output),
        # After the settings above: upstream has words of its own for the schedule.
        **optimization_arguments(recipe.optimization),
        **({} if at_once is None else {"generation_batch_size": at_once}),
        "max_steps": recipe.optimization.iterations * recipe.steps_per_iteration,
        "mini_batch_size": recipe.ppo.mini_batch_size,
        "micro_batch_tokens": recipe.hardware.micro_batch_tokens or budget,
        "guards": recipe.guards.model_dump(),
        # The run writes them.
        "log_completions": False,
    }
