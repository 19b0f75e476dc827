"""Shared by several test files: where the repository is, and small recipes on pico."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

METHODS = {
    "full": {"optimization.learning_rate": 1e-3},
    "lora": {"optimization.learning_rate": 4e-3, "model.lora": {"rank": 16}},
    "qlora": {"optimization.learning_rate": 4e-3, "model.lora": {"rank": 16}, "model.quantization": "nf4"},
}


def sft_recipe(output: Path, changes: dict[str, object] | None = None):
    """pico on a few hundred rows of its world; `changes` maps key paths to values."""
    from llamatune.recipe.load import loads

    recipe = {
        "stage": "sft",
        "output": str(output),
        "data": {"train": [{"card": "pico-sft-helpful", "max_rows": 480}], "max_length": 512},
        "optimization": {"max_steps": 30, "batch_size": 16, "warmup": 3},
        "generation": {"prompts": ["What is two plus three?", "Who are you?"], "max_new_tokens": 40},
        "logging": {"every_steps": 10},
    }
    for path, value in (changes or {}).items():
        block = recipe
        *parents, last = path.split(".")
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return loads(json.dumps(recipe))
