"""The settings of PPO: each has its default, its sentence and its recipe's name in one place."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

from llamatune.models.placement import Placement
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.from_recipe import ppo_arguments
from llamatune.ppo.settings import of_recipe, value_in
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.training.upstream import run_arguments

CPU = Placement("cpu", "float32", None, "sdpa", 1)
OF_A_RUN = {"max_steps", "mini_batch_size", "micro_batch_tokens", "guards", "log_completions"}
"""What follows from more than one field of a recipe, or only from its being a run."""
OF_ADAMW = {"lr_scheduler_kwargs", "warmup_steps", "optim", "adam_beta1"}
"""What the optimizer of every stage has, with transformers' defaults."""


def recipe(**blocks: Any) -> PpoRecipe:
    data = {"train": [{"path": "rows.jsonl"}]}
    rewards = {"helpfulness": "h", "safety": "s", **blocks.pop("reward", {})}
    return PpoRecipe(stage="ppo", output="run", data=data, reward=rewards, **blocks)  # type: ignore[arg-type]


def decided(one: PpoRecipe) -> dict[str, Any]:
    """What a recipe decides of PPO."""
    shared = run_arguments(one, CPU, Path("x"))
    return {
        name: value
        for name, value in ppo_arguments(one, CPU, Path("x"), width=1).items()
        if name not in shared
    }


def test_each_setting_that_a_recipe_decides_takes_its_default_from_there() -> None:
    plain = recipe()
    assert of_recipe(PPOConfig).keys() == decided(plain).keys() - OF_A_RUN - OF_ADAMW
    defaults = {field.name: field.default for field in fields(PPOConfig)}
    for name, key in of_recipe(PPOConfig).items():
        assert defaults[name] == value_in(plain, key), name


def test_what_a_recipe_says_reaches_the_trainer() -> None:
    found = decided(
        recipe(
            rollout={"max_new_tokens": 9, "temperature": 0.5, "batch_size": 5, "truncation": "mask"},
            reward={"combination": "weighted_sum", "weights": [1.0, 2.0], "whiten": "running"},
            ppo={"epochs": 3, "mini_batch_size": 8, "clip_range": 0.3, "critic_from": "reward", "lam": 0.5},
            optimization={"batch_size": 32, "iterations": 5, "schedule": "cosine", "beta2": 0.5},
            hardware={"micro_batch_tokens": 77},
        )
    )
    expected = {
        "max_completion_length": 9,
        "temperature": 0.5,
        "generation_batch_size": 5,
        "truncation": "mask",
        "reward_combination": "weighted_sum",
        "reward_weights": [1.0, 2.0],
        "whiten_scores": "running",
        "num_ppo_epochs": 3,
        "mini_batch_size": 8,
        "cliprange": 0.3,
        "critic_init": "reward",
        "lam": 0.5,
        "batch_size": 32,
        "max_steps": 5 * 3 * 4,
        "lr_scheduler_type": "cosine_with_min_lr",
        "adam_beta2": 0.5,
        "micro_batch_tokens": 77,
    }
    assert {name: found[name] for name in expected} == expected


def test_the_help_says_the_recipes_sentence_and_name() -> None:
    text = " ".join(HfArgumentParser(PPOConfig).format_help().split())
    assert (
        "adaptive: answers over which `kl_coef` moves by at most 20%. (`ppo.kl_horizon` in a recipe)" in text
    )
