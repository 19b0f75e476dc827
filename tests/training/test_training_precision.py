"""`hardware.precision: bfloat16` on a CPU: other rounding, the same training, and trained weights in float32.

A processor without arithmetic in bfloat16 computes it all the same, more slowly.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llamatune.models.placement import place
from llamatune.pipeline import run
from llamatune.recipe.blocks import Hardware, Lora, Model
from support import ROOT, sft_recipe

BF16 = Hardware(device="cpu", precision="bfloat16")
SHORT = {"data.train": [{"card": "pico-sft-helpful", "max_rows": 12}], "optimization.max_steps": 3}
SFT = SHORT | {"optimization.batch_size": 4, "logging.every_steps": 1, "generation.max_new_tokens": 2}


def test_frozen_weights_are_in_16_bits_and_trained_ones_are_not() -> None:
    """As on a GPU."""
    frozen, trained = place(Model(lora=Lora()), BF16), place(Model(), BF16)
    assert (frozen.weights, frozen.autocast) == ("bfloat16", "bfloat16")
    assert (trained.weights, trained.autocast) == ("float32", "bfloat16")
    plain = place(Model(), Hardware(device="cpu"))
    assert (plain.weights, plain.autocast) == ("float32", None)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_training_in_16_bits_is_nearly_that_in_32(tmp_path: Path, method: str) -> None:
    figures = {}
    for name, precision in (("float32", None), ("bfloat16", "bfloat16")):
        changes = {"hardware.precision": precision, "hardware.device": "cpu"}
        adapter = {"model.lora": {"rank": 4}} if method == "lora" else {}
        recipe = sft_recipe(tmp_path / name, SFT | adapter | changes)
        figures[name] = run(recipe, recipe_dir=ROOT).figures["loss"]
    assert figures["bfloat16"] == pytest.approx(figures["float32"], rel=0.02)
    assert figures["bfloat16"] != figures["float32"]
    (file,) = (
        file for name in ("adapter", "model") for file in (tmp_path / "bfloat16" / name).glob("*.safetensors")
    )
    assert {weight.dtype for weight in load_file(file).values()} == {torch.float32}
