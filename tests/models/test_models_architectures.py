"""Other shapes of the Llama family, and Falcon: with random weights, through the same stages."""

import json
from pathlib import Path

import pytest
import torch

from llamatune.errors import ModelError
from llamatune.forward.attention import require_isolation
from llamatune.forward.collate import Padded
from llamatune.models.open import open_model
from llamatune.models.probing import probe_logits
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from support import ROOT

SHAPES = {
    "llama with grouped queries and its own head": {"tie_word_embeddings": False, "num_key_value_heads": 1},
    "llama with all heads": {"num_key_value_heads": 2},
    "mistral": {"model_type": "mistral", "sliding_window": None},
    "falcon": {"model_type": "falcon"},
}


@pytest.fixture(params=SHAPES)
def base(request: pytest.FixtureRequest, tiny_base, tmp_path: Path) -> Path:
    """A folder with a random model of that shape and pico's tokenizer."""
    from transformers import FalconConfig, FalconForCausalLM, MistralConfig, MistralForCausalLM

    changes = dict(SHAPES[request.param])
    kind = changes.pop("model_type", "llama")
    if kind == "llama":
        return tiny_base(**changes)
    folder = tiny_base()
    (folder / "model.safetensors").unlink()
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    shape = {"vocab_size": 2048, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "falcon":
        model = FalconForCausalLM(FalconConfig(**shape, **ids, alibi=False, max_position_embeddings=256))
    else:
        config = MistralConfig(**shape, **ids, **changes, intermediate_size=64, num_key_value_heads=1)
        model = MistralForCausalLM(config)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["full", "lora"])
def test_sft_trains_saves_and_reloads(base: Path, tmp_path: Path, lora: dict | None) -> None:
    recipe = {
        "stage": "sft",
        "output": str(tmp_path / "run"),
        "model": {"base": str(base)} | ({"lora": lora} if lora else {}),
        "chat": {"template": "llama2"},
        "data": {"train": [{"card": "pico-sft-helpful", "max_rows": 20}], "max_length": 256},
        "optimization": {"max_steps": 2, "batch_size": 4, "learning_rate": 1e-2, "warmup": 0},
        "generation": {"prompts": ["Who are you?"], "max_new_tokens": 4},
    }
    run(loads(json.dumps(recipe)), recipe_dir=ROOT)
    trained = probe_logits(open_model(str(tmp_path / "run")).model)
    assert not torch.allclose(trained, probe_logits(open_model(str(base)).model), atol=1e-4)


def test_packed_documents_stay_apart_or_packing_is_refused(base: Path) -> None:
    """Falcon's attention in transformers ignores where a packed document begins."""
    model = open_model(str(base)).model
    if model.config.model_type == "falcon":
        with pytest.raises(ModelError, match=r"E222.*packed documents"):
            require_isolation(model)
        return
    require_isolation(model)
    rows = [
        {
            "input_ids": [1, first, 101, 2, 1, 200, 201, 2],
            "labels": [1, first, 101, 2, 1, 200, 201, 2],
            "seq_lengths": [4, 4],
        }
        for first in (100, 900)
    ]
    with torch.no_grad():
        batches = (Padded(pad_id=0)([row]) for row in rows)
        first, second = (
            model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
            for batch in batches
        )
    assert torch.equal(first[0, 4:], second[0, 4:]) and not torch.equal(first[0, 1:4], second[0, 1:4])
