"""Other shapes of the Llama family, and other decoders: with random weights, through the same stages."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from llamatune.errors import ModelError
from llamatune.forward.attention import can_be_padding_free, require_isolation
from llamatune.forward.collate import Padded
from llamatune.models.adapters import linear_layers
from llamatune.models.base import Base
from llamatune.models.found import find
from llamatune.models.load import random_model as random_model_of
from llamatune.models.open import open_model
from llamatune.models.placement import Placement
from llamatune.models.probing import probe_logits
from llamatune.models.saving import save_plainly
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from support import ROOT

SHAPES = {
    "llama with grouped queries and its own head": {"tie_word_embeddings": False, "num_key_value_heads": 1},
    "llama with all heads": {"num_key_value_heads": 2},
    "mistral": {"model_type": "mistral", "sliding_window": None},
    "falcon": {"model_type": "falcon"},
    # transformers adds a token to whatever tokenizer lies beside it
    "qwen2": {"model_type": "qwen2", "vocab_size": 2064},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "smollm3": {"model_type": "smollm3"},
    "gemma": {"model_type": "gemma", "head_dim": 16},
    "phi3": {"model_type": "phi3"},
    "phi": {"model_type": "phi"},
    # named otherwise in files than in memory
    "gpt_neox": {"model_type": "gpt_neox"},
    # its linear layers are of a kind of their own
    "gpt2": {"model_type": "gpt2"},
    # experts, and gates that are narrower than any rank
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4},
    "qwen2_moe": {"model_type": "qwen2_moe", "num_experts": 4, "moe_intermediate_size": 16},
    # has no attention but its own
    "gemma2": {"model_type": "gemma2", "head_dim": 16, "sliding_window": 64},
}
PADDED = ("falcon", "gemma2")
"""Those whose rows cannot lie end to end."""


@pytest.fixture(params=SHAPES)
def base(request: pytest.FixtureRequest, tiny_base, tmp_path: Path) -> Path:
    """A folder with a random model of that shape and pico's tokenizer."""
    changes = dict(SHAPES[request.param])
    kind = changes.pop("model_type", "llama")
    if kind == "llama":
        return tiny_base(**changes)
    folder = tiny_base()
    (folder / "model.safetensors").unlink()
    random_model(kind, **changes).save_pretrained(folder)
    return folder


def random_model(kind: str, **changes: object) -> PreTrainedModel:
    """Two small layers of an architecture, with pico's vocabulary."""
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    shape = {"vocab_size": 2048, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "falcon":
        changes |= {"alibi": False}
    else:
        changes |= {"intermediate_size": 64, "num_key_value_heads": 1}
    config = AutoConfig.for_model(kind, **(shape | ids | changes), max_position_embeddings=256)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", ["gpt_neox", "mixtral", "llama"])
def test_a_checkpoint_has_the_names_that_resuming_reads(kind: str, tmp_path: Path) -> None:
    """Upstream passes over names that it does not know, and so would go on with the base's weights."""
    model = random_model(kind)
    save_plainly(model, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert not set(dict(model.named_parameters())) - set(saved)


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


def test_routers_and_the_output_layer_under_another_name_get_no_adapter(tmp_path: Path) -> None:
    experts = random_model("phimoe", num_local_experts=4)
    assert not any("router" in name for name in linear_layers(experts))
    assert "output_projection" not in linear_layers(random_model("biogpt"))


def test_a_model_that_sees_what_comes_later_is_no_decoder(tiny_base) -> None:
    folder = tiny_base()
    (folder / "model.safetensors").unlink()
    random_model("bert").save_pretrained(folder)
    with pytest.raises(ModelError, match=r"E206.*depends on those that come later"):
        open_model(str(folder))


def test_a_model_that_cannot_be_run_is_said_before_anything_is_trained(tiny_base) -> None:
    """Its weights are whole, and of the shapes that config.json says; its code makes too little of the latter."""
    folder = tiny_base()
    (folder / "model.safetensors").unlink()
    random_model("helium", head_dim=64).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"E206.*it cannot be run: mat1 and mat2"):
        open_model(str(folder))


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
    # to the bit, but for experts, whose tokens come in other groups
    torch.testing.assert_close(first[0, 4:], second[0, 4:], rtol=1e-6, atol=1e-6)
    assert not torch.equal(first[0, 1:4], second[0, 1:4])


def test_rows_lie_end_to_end_where_the_models_own_attention_gives_the_same(base: Path) -> None:
    opened = open_model(str(base)).model
    assert can_be_padding_free(opened, 64) == (opened.config.model_type not in PADDED)


def test_an_attention_that_does_more_than_ours_is_found_out() -> None:
    """Gemma 2 caps its attention scores: ours would not."""
    model = random_model(
        "gemma2", head_dim=16, attn_logit_softcapping=0.1, query_pre_attn_scalar=1, sliding_window=128
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    model.set_attn_implementation("eager")
    assert not can_be_padding_free(model, 64) and model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["T5ForConditionalGeneration"], "model_type": "t5"}, "T5ForConditionalGeneration"),
        ({"is_encoder_decoder": True}, "not a decoder of text alone"),
        ({"vision_config": {"depth": 2}, "model_type": "llava"}, "llava"),
        ({"architectures": [], "model_type": "rwkv"}, "rwkv"),
        ({"architectures": ["MambaForCausalLM"], "num_attention_heads": None}, "MambaForCausalLM"),
    ],
)
def test_what_is_no_plain_decoder_is_refused_by_name(tiny_base, changes: dict, said: str) -> None:
    base = tiny_base()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelError, match=rf"E206.*{said}") as caught:
        find(str(base))
    assert "llama" in str(caught.value)


def test_an_architecture_without_a_reward_model_is_named_before_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(random_model("granite").config.to_json_string())
    with pytest.raises(ModelError, match=r"E206.*no reward model.*granite"):
        random_model_of(Base("b", tmp_path), Placement("cpu", "float32", None, None, 1), task="score")
