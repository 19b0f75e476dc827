"""What only a GPU can show: its data types, its optimizers, 4-bit training. Skipped elsewhere."""

from pathlib import Path

import pytest
import torch

from llamatune.models.placement import place
from llamatune.pipeline import run
from llamatune.recipe.blocks import Hardware, Lora, Model
from support import ROOT, sft_recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_frozen_bases_are_16_bit_and_trained_weights_float32() -> None:
    frozen, trained = place(Model(lora=Lora()), Hardware()), place(Model(), Hardware())
    assert frozen.device == trained.device == "cuda"
    assert frozen.weights == "bfloat16" and trained.weights == "float32"
    assert frozen.autocast == trained.autocast == "bfloat16"


@pytest.mark.parametrize("optimizer", ["adamw", "paged_adamw_32bit", "paged_adamw_8bit"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_lora_and_qlora_train(tmp_path: Path, optimizer: str, quantization: str) -> None:
    changes = {
        "model.lora": {"rank": 16},
        "model.quantization": quantization,
        "optimization.optimizer": optimizer,
        "optimization.learning_rate": 4e-3,
        "hardware.activation_checkpointing": True,
    }
    result = run(sft_recipe(tmp_path / "run", changes), recipe_dir=ROOT)
    assert result.figures["loss"] < 2.0
