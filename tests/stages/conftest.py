"""What the tests of several stages start from."""

import pytest

from support import ROOT, sft_recipe


@pytest.fixture(scope="session")
def barely_trained(made_once):
    """`barely_trained("lora")` is the directory of a chat model that was trained for two steps; `"full"` likewise."""
    from llamatune.pipeline import run

    changes = {
        "data.train": [{"card": "pico-sft-helpful", "max_rows": 32}],
        "optimization": {"max_steps": 2, "batch_size": 8, "warmup": 0, "learning_rate": 2e-3},
        "generation": {"prompts": []},
    }
    methods = {"full": {}, "lora": {"model.lora": {"rank": 4}}}
    return lambda method: made_once(
        f"barely-{method}", lambda folder: run(sft_recipe(folder, changes | methods[method]), recipe_dir=ROOT)
    )
