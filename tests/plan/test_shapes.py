"""The shapes of `config.json`s against what the installed transformers builds, on torch's meta device."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.errors import ModelError
from llamatune.plan.architectures import ALWAYS, ARCHITECTURES
from llamatune.plan.shapes import KNOWN_CONFIGS, shape_of

SIZES = {
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 32,
    "intermediate_size": 80,
    "vocab_size": 128,
    "max_position_embeddings": 48,
}
"""What no file leaves out. So many heads that each architecture's default of key heads divides them."""
SPELLED = {
    "hidden_size": ("n_embd", "d_model"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "attention_heads"),
    "intermediate_size": ("ffn_hidden_size", "n_inner", "ffn_dim"),
    "max_position_embeddings": ("n_positions", "max_seq_len"),
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def built(kind: str, others: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """A config.json that says no more than it must, and how many weights transformers builds for it."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    usual = CONFIG_MAPPING[kind]().to_dict()
    sizes = {
        next(name for name in (key, *SPELLED.get(key, ())) if name in usual): value
        for key, value in SIZES.items()
        if any(name in usual for name in (key, *SPELLED.get(key, ())))
    }
    if kind == "gpt_neo":
        sizes |= {"attention_types": [[["global", "local"], 1]]}
    for key, size in {"head_dim": 12, "num_key_value_heads": 8}.items():
        if usual.get(key, size) is None:  # It builds nothing without.
            sizes |= {key: size}
    config = CONFIG_MAPPING[kind](
        **sizes, **{key: value for key, value in others.items() if key in usual}, **TOKENS
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {"model_type": kind, **sizes, **others}, sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_has_the_weights_that_transformers_builds(kind: str) -> None:
    """From the sizes alone, and with each key that changes something turned on and off."""
    of_kind = ARCHITECTURES[kind]
    keys = {*of_kind.biases, *of_kind.defaults, *(of_kind.head_norms or ())[:1]} - {ALWAYS}
    switches = {"tie_word_embeddings", *keys} - {"num_key_value_heads", "head_dim"}
    switches |= {"falcon": {"new_decoder_architecture"}, "stablelm": {"use_parallel_residual"}}.get(
        kind, set()
    )
    wider = {"num_key_value_heads": 8} | ({"head_dim": 12} if "head_dim" in of_kind.defaults else {})
    for others in ({}, *({key: on} for key in sorted(switches) for on in (True, False)), wider):
        if "num_key_value_heads" not in of_kind.defaults and others == wider:
            continue
        config, count = built(kind, others)
        assert shape_of(config, kind).weights == count, (others, shape_of(config, kind))


def test_layers_have_the_names_that_adapters_know_them_by() -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    for kind in ARCHITECTURES:
        config, _ = built(kind, {})
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config, **TOKENS))
        names = [name for name, _ in model.named_modules() if ".0." in name]
        for layer in shape_of(config, kind).linear:
            assert any(name.endswith(f".{layer}") for name in names), (kind, layer)


def test_gemma_3_says_that_it_is_tied_by_leaving_it_out() -> None:
    """Sizes of google/gemma-3-1b-pt, whose file has no `tie_word_embeddings`; its card says 1B."""
    config = {
        "model_type": "gemma3_text",
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "num_hidden_layers": 26,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262144,
    }
    assert shape_of(config, "gemma").weights == 999_885_952


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"num_local_experts": 8}, "`num_local_experts: 8`"),
        ({"model_type": "ernie4_5_moe", "moe_num_experts": 64}, "`moe_num_experts: 64`"),
        ({"model_type": "dbrx", "ffn_config": {"moe_num_experts": 16}}, "`ffn_config.moe_num_experts: 16`"),
        ({"model_type": "deepseek_v2", "n_routed_experts": 64}, "`n_routed_experts: 64`"),
        ({"model_type": "mixtral", "num_local_experts": 1}, "`model_type: mixtral`"),
        ({"model_type": "minicpm3"}, "`model_type: minicpm3`"),
        ({"model_type": "opt", "word_embed_proj_dim": 512}, "`word_embed_proj_dim: 512`"),
    ],
)
def test_what_is_not_counted_is_refused_and_said(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelError, match="E260") as caught:
        shape_of(KNOWN_CONFIGS["meta-llama/Llama-2-7b-hf"] | change, "some/model")
    assert why in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, None])
def test_a_dense_model_may_say_that_it_has_no_experts(count: int | None, tmp_path: Path) -> None:
    plain = KNOWN_CONFIGS["meta-llama/Llama-2-7b-hf"]
    said = json.loads(json.dumps(plain | {"num_local_experts": count, "num_experts_per_tok": 2}))
    assert shape_of(said, "dense") == shape_of(plain, "plain")
