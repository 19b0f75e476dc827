"""What transformers builds of each `model_type`, besides the sizes that config.json says.

A file leaves out what is its architecture's default, and each architecture has other ones: whether the output layer is
the embedding, which layers have a bias, how many norms there are. Of all that are listed here,
tests/plan/test_shapes.py compares the count of weights with what the installed transformers builds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

LayerPart = Literal["read", "write", "inner", "down"]
"""The linear layers of a block: those that read its input for attention, the one that writes what attention found, and
the feed-forward layer's."""
_ALL: tuple[LayerPart, ...] = ("read", "write", "inner", "down")
_ATTENTION: tuple[LayerPart, ...] = ("read", "write")
_FEED_FORWARD: tuple[LayerPart, ...] = ("inner", "down")

ALWAYS = "always"


@dataclass(frozen=True)
class Architecture:
    """A plain decoder.

    Attributes:
        attention: names of its linear layers; of two, the first is queries, keys and values in one.
        feed_forward: names of its linear layers; of three, and of two where it is named so, with a gate.
        norms: weights of a block's norms, in hidden sizes, biases too.
        last: the same outside the blocks.
        biases: key of config.json, or `ALWAYS`, and what has a bias where it is true.
        head_norms: the same for norms of queries and keys: `one` that all heads share, or weights for `each` head.
        positions: rows of a learned position embedding, besides the context; None where there is none.
        output_bias: the output layer has a bias.
        defaults: of config.json's keys, where they differ from: untied, no biases, as many key heads as heads, and
            heads that share the hidden size.
    """

    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    feed_forward: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    norms: int = 2
    last: int = 1
    biases: Mapping[str, tuple[LayerPart, ...]] = field(default_factory=dict)
    head_norms: tuple[str, Literal["one", "each"]] | None = None
    positions: int | None = None
    output_bias: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gated(self) -> bool:
        return self.feed_forward[0].startswith("gate")


_TIED = {"tie_word_embeddings": True}


def _keys(heads: int, width: int | None = None) -> dict[str, Any]:
    return {"num_key_value_heads": heads} | ({"head_dim": width} if width else {})


# ---- what several have in common ------------------------------------------------------------------------------

_BIASED = Architecture(biases={"attention_bias": _ATTENTION})
_LLAMA = Architecture(biases={"attention_bias": _ATTENTION, "mlp_bias": _FEED_FORWARD})
_GLM = Architecture(
    feed_forward=("gate_up_proj", "down_proj"),
    biases={"attention_bias": ("read",)},
    defaults=_keys(2, 128) | {"attention_bias": True},
)
_GEMMA = replace(_BIASED, defaults=_TIED | _keys(4, 256))
_GPTJ = Architecture(
    attention=("q_proj", "k_proj", "v_proj", "out_proj"),
    feed_forward=("fc_in", "fc_out"),
    last=2,
    biases={ALWAYS: _FEED_FORWARD},
    output_bias=True,
)
# LayerNorm has a bias, so each one counts twice.
_LAYER_NORMS = Architecture(norms=4, last=2, biases={ALWAYS: _ALL}, defaults=_TIED)
_OPT = replace(
    _LAYER_NORMS, attention=("q_proj", "k_proj", "v_proj", "out_proj"), feed_forward=("fc1", "fc2")
)
_GPT2 = replace(
    _LAYER_NORMS,
    attention=("attn.c_attn", "attn.c_proj"),
    feed_forward=("mlp.c_fc", "mlp.c_proj"),
    positions=0,
)
_NEOX = replace(
    _LAYER_NORMS, attention=("query_key_value", "dense"), feed_forward=("dense_h_to_4h", "dense_4h_to_h")
)

ARCHITECTURES: Mapping[str, Architecture] = {
    # Llama and what differs from it by defaults.
    "llama": _LLAMA,
    "granite": _LLAMA,
    "mistral": Architecture(defaults=_keys(8)),
    "ministral": Architecture(defaults=_keys(8)),
    "ministral3": Architecture(defaults=_keys(8, 128)),
    "smollm3": replace(_LLAMA, defaults=_TIED | _keys(4)),
    "ernie4_5": Architecture(biases={"use_bias": _ALL}, defaults=_TIED | _keys(2, 128)),
    "seed_oss": Architecture(
        biases={"attention_bias": ("read",), "attention_out_bias": ("write",), "mlp_bias": _FEED_FORWARD},
        defaults=_keys(8, 128) | {"attention_bias": True},
    ),
    "cwm": Architecture(biases={"mlp_bias": _FEED_FORWARD}, defaults=_keys(8, 128)),
    "iquestcoder": replace(_LLAMA, defaults=_keys(8, 128)),
    "internlm3": Architecture(defaults=_keys(2, 128)),
    "arcee": replace(_LLAMA, feed_forward=("up_proj", "down_proj")),
    "phi3": Architecture(attention=("qkv_proj", "o_proj"), feed_forward=("gate_up_proj", "down_proj")),
    "qwen2": Architecture(biases={ALWAYS: ("read",)}, defaults=_keys(32)),
    "mpt": Architecture(
        attention=("Wqkv", "out_proj"), feed_forward=("up_proj", "down_proj"), defaults=_TIED
    ),
    # Norms of queries and keys.
    "qwen3": replace(_BIASED, head_norms=(ALWAYS, "one"), defaults=_keys(32, 128)),
    "hunyuan_v1_dense": replace(_BIASED, head_norms=(ALWAYS, "one")),
    "exaone4": Architecture(head_norms=(ALWAYS, "one"), defaults=_keys(32)),
    "olmo2": replace(_BIASED, head_norms=(ALWAYS, "each")),
    "olmo3": replace(_BIASED, head_norms=(ALWAYS, "each")),
    # Other numbers of norms.
    "olmo": replace(_BIASED, norms=0, last=0),
    "cohere": replace(_BIASED, norms=1, head_norms=("use_qk_norm", "each"), defaults=_TIED),
    "cohere2": replace(_BIASED, norms=1, defaults=_TIED),
    "glm": _GLM,
    "glm4": replace(_GLM, norms=4),
    "gemma": replace(_GEMMA, defaults=_TIED | _keys(16, 256)),
    "vaultgemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4),
    "gemma3_text": replace(_GEMMA, norms=4, head_norms=(ALWAYS, "one")),
    # LayerNorm.
    "stablelm": replace(
        _LAYER_NORMS,
        biases={"use_qkv_bias": ("read",)},
        head_norms=("qk_layernorm", "each"),
        defaults=_keys(32),
    ),
    "nemotron": replace(
        _LAYER_NORMS, feed_forward=("up_proj", "down_proj"), biases=_LLAMA.biases, defaults={}
    ),
    "starcoder2": replace(
        _LAYER_NORMS,
        feed_forward=("c_fc", "c_proj"),
        biases={"use_bias": _ALL},
        defaults=_TIED | _keys(2) | {"use_bias": True},
    ),
    "phi": Architecture(
        attention=("q_proj", "k_proj", "v_proj", "dense"),
        feed_forward=("fc1", "fc2"),
        last=2,
        biases={ALWAYS: _ALL},
        output_bias=True,
    ),
    "opt": replace(_OPT, biases={"enable_bias": _ALL}, positions=2, defaults=_TIED | {"enable_bias": True}),
    "xglm": _OPT,
    "gpt2": _GPT2,
    "gpt_bigcode": replace(_GPT2, defaults=_TIED | {"multi_query": True}),
    "gpt_neo": replace(
        _OPT, feed_forward=("c_fc", "c_proj"), biases={ALWAYS: ("write", "inner", "down")}, positions=0
    ),
    "gptj": _GPTJ,
    "codegen": replace(_GPTJ, attention=("qkv_proj", "out_proj")),
    "gpt_neox": replace(
        _NEOX,
        biases={"attention_bias": _ATTENTION, ALWAYS: _FEED_FORWARD},
        defaults={"attention_bias": True},
    ),
    # Its embedding has a norm.
    "bloom": replace(_NEOX, last=4),
    "falcon": replace(
        _NEOX, biases={"bias": _ALL}, defaults=_TIED | {"multi_query": True, "parallel_attn": True}
    ),
}


def norms_of_block(kind: str, config: Mapping[str, Any]) -> int:
    """`Architecture.norms`, where attention and the feed-forward layer may lie side by side after one of them."""
    if kind == "falcon":
        before = config.get("num_ln_in_parallel_attn") or (2 if config.get("new_decoder_architecture") else 1)
        return 2 if config["parallel_attn"] and before == 1 else 4
    side_by_side = kind == "stablelm" and config.get("use_parallel_residual")
    return 2 if side_by_side else ARCHITECTURES[kind].norms


def not_counted(kind: str, config: Mapping[str, Any]) -> str | None:
    """What a config.json asks of an architecture that its entry here leaves out; None where it asks nothing such."""
    asked: dict[str, dict[str, tuple[Any, ...]]] = {
        "opt": {
            "word_embed_proj_dim": (None, config.get("hidden_size")),
            "do_layer_norm_before": (None, True),
        },
        "internlm3": {"bias": (None, False)},
        "phi": {"qk_layernorm": (None, False)},
    }
    keys = asked.get(kind, {})
    return next(
        (f"`{key}: {config[key]}`" for key, usual in keys.items() if config.get(key) not in usual), None
    )
