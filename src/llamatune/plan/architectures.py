"""What transformers builds of each `model_type`, besides the sizes that config.json says.

A file leaves out what is its architecture's default, and each architecture has other ones: whether the output layer is
the embedding, which layers have a bias, how many norms there are. Of all that are listed here,
tests/plan/test_shapes.py compares the count of weights with what the installed transformers builds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_LLAMA, _QUERY_KEY_VALUE = ("q_proj", "k_proj", "v_proj", "o_proj"), ("query_key_value", "dense")
_GATED, _GATE_IN_UP = ("gate_proj", "up_proj", "down_proj"), ("gate_up_proj", "down_proj")

LayerPart = Literal["read", "write", "inner", "down"]
"""The linear layers of a block: those that read its input for attention, the one behind attention, and the
feed-forward layer's."""
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
        head_norms: the same for norms of queries and keys: `one` for all heads, or one over `each` of them.
        positions: rows of a learned position embedding, besides the context; None where there is none.
        output_bias: the output layer has a bias.
        defaults: of config.json's keys, where they differ from: untied, no biases, as many key heads as heads, and
            heads that share the hidden size.
    """

    attention: tuple[str, ...] = _LLAMA
    feed_forward: tuple[str, ...] = _GATED
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
_LLAMAS_BIASES: dict[str, tuple[LayerPart, ...]] = {"attention_bias": _ATTENTION, "mlp_bias": _FEED_FORWARD}
_OF_ATTENTION: dict[str, tuple[LayerPart, ...]] = {"attention_bias": _ATTENTION}
_EVERYWHERE: dict[str, tuple[LayerPart, ...]] = {ALWAYS: _ALL}


def _keys(heads: int, width: int | None = None) -> dict[str, Any]:
    return {"num_key_value_heads": heads} | ({"head_dim": width} if width else {})


ARCHITECTURES: Mapping[str, Architecture] = {
    # Llama and what differs from it by defaults.
    "llama": Architecture(biases=_LLAMAS_BIASES),
    "granite": Architecture(biases=_LLAMAS_BIASES),
    "mistral": Architecture(defaults=_keys(8)),
    "ministral": Architecture(defaults=_keys(8)),
    "ministral3": Architecture(defaults=_keys(8, 128)),
    "smollm3": Architecture(biases=_LLAMAS_BIASES, defaults=_TIED | _keys(4)),
    "ernie4_5": Architecture(biases={"use_bias": _ALL}, defaults=_TIED | _keys(2, 128)),
    "seed_oss": Architecture(
        biases={"attention_bias": ("read",), "attention_out_bias": ("write",), "mlp_bias": _FEED_FORWARD},
        defaults=_keys(8, 128) | {"attention_bias": True},
    ),
    "cwm": Architecture(biases={"mlp_bias": _FEED_FORWARD}, defaults=_keys(8, 128)),
    "iquestcoder": Architecture(biases=_LLAMAS_BIASES, defaults=_keys(8, 128)),
    "internlm3": Architecture(defaults=_keys(2, 128)),
    "arcee": Architecture(feed_forward=("up_proj", "down_proj"), biases=_LLAMAS_BIASES),
    "phi3": Architecture(attention=("qkv_proj", "o_proj"), feed_forward=_GATE_IN_UP),
    "qwen2": Architecture(biases={ALWAYS: ("read",)}, defaults=_keys(32)),
    # Norms of queries and keys.
    "qwen3": Architecture(biases=_OF_ATTENTION, head_norms=(ALWAYS, "one"), defaults=_keys(32, 128)),
    "hunyuan_v1_dense": Architecture(biases=_OF_ATTENTION, head_norms=(ALWAYS, "one")),
    "exaone4": Architecture(head_norms=(ALWAYS, "one"), defaults=_keys(32)),
    "olmo2": Architecture(biases=_OF_ATTENTION, head_norms=(ALWAYS, "each")),
    "olmo3": Architecture(biases=_OF_ATTENTION, head_norms=(ALWAYS, "each")),
    # Other numbers of norms.
    "olmo": Architecture(norms=0, last=0, biases=_OF_ATTENTION),
    "cohere": Architecture(norms=1, biases=_OF_ATTENTION, head_norms=("use_qk_norm", "each"), defaults=_TIED),
    "cohere2": Architecture(norms=1, biases=_OF_ATTENTION, defaults=_TIED),
    "glm": Architecture(
        feed_forward=_GATE_IN_UP,
        biases={"attention_bias": ("read",)},
        defaults=_keys(2, 128) | {"attention_bias": True},
    ),
    "glm4": Architecture(
        feed_forward=_GATE_IN_UP,
        norms=4,
        biases={"attention_bias": ("read",)},
        defaults=_keys(2, 128) | {"attention_bias": True},
    ),
    "gemma": Architecture(biases=_OF_ATTENTION, defaults=_TIED | _keys(16, 256)),
    "vaultgemma": Architecture(biases=_OF_ATTENTION, defaults=_TIED | _keys(4, 256)),
    "gemma2": Architecture(norms=4, biases=_OF_ATTENTION, defaults=_TIED | _keys(4, 256)),
    "gemma3_text": Architecture(
        norms=4, biases=_OF_ATTENTION, head_norms=(ALWAYS, "one"), defaults=_TIED | _keys(4, 256)
    ),
    # LayerNorm has a bias.
    "stablelm": Architecture(
        norms=4,
        last=2,
        biases={"use_qkv_bias": ("read",)},
        head_norms=("qk_layernorm", "each"),
        defaults=_keys(32),
    ),
    "nemotron": Architecture(feed_forward=("up_proj", "down_proj"), norms=4, last=2, biases=_LLAMAS_BIASES),
    "starcoder2": Architecture(
        feed_forward=("c_fc", "c_proj"),
        norms=4,
        last=2,
        biases={"use_bias": _ALL},
        defaults=_TIED | _keys(2) | {"use_bias": True},
    ),
    "phi": Architecture(
        attention=("q_proj", "k_proj", "v_proj", "dense"),
        feed_forward=("fc1", "fc2"),
        last=2,
        biases=_EVERYWHERE,
        output_bias=True,
    ),
    "opt": Architecture(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        feed_forward=("fc1", "fc2"),
        norms=4,
        last=2,
        biases={"enable_bias": _ALL},
        positions=2,
        defaults=_TIED | {"enable_bias": True},
    ),
    "xglm": Architecture(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        feed_forward=("fc1", "fc2"),
        norms=4,
        last=2,
        biases=_EVERYWHERE,
        defaults=_TIED,
    ),
    "gpt2": Architecture(
        attention=("attn.c_attn", "attn.c_proj"),
        feed_forward=("mlp.c_fc", "mlp.c_proj"),
        norms=4,
        last=2,
        biases=_EVERYWHERE,
        positions=0,
        defaults=_TIED,
    ),
    "gpt_bigcode": Architecture(
        attention=("attn.c_attn", "attn.c_proj"),
        feed_forward=("mlp.c_fc", "mlp.c_proj"),
        norms=4,
        last=2,
        biases=_EVERYWHERE,
        positions=0,
        defaults=_TIED | {"multi_query": True},
    ),
    "gpt_neo": Architecture(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        feed_forward=("c_fc", "c_proj"),
        norms=4,
        last=2,
        biases={ALWAYS: ("write", "inner", "down")},
        positions=0,
        defaults=_TIED,
    ),
    "gptj": Architecture(
        attention=("q_proj", "k_proj", "v_proj", "out_proj"),
        feed_forward=("fc_in", "fc_out"),
        last=2,
        biases={ALWAYS: _FEED_FORWARD},
        output_bias=True,
    ),
    "codegen": Architecture(
        attention=("qkv_proj", "out_proj"),
        feed_forward=("fc_in", "fc_out"),
        last=2,
        biases={ALWAYS: _FEED_FORWARD},
        output_bias=True,
    ),
    "gpt_neox": Architecture(
        attention=_QUERY_KEY_VALUE,
        feed_forward=("dense_h_to_4h", "dense_4h_to_h"),
        norms=4,
        last=2,
        biases={"attention_bias": _ATTENTION, ALWAYS: _FEED_FORWARD},
        defaults={"attention_bias": True},
    ),
    # Its embedding has a norm.
    "bloom": Architecture(
        attention=_QUERY_KEY_VALUE,
        feed_forward=("dense_h_to_4h", "dense_4h_to_h"),
        norms=4,
        last=4,
        biases=_EVERYWHERE,
        defaults=_TIED,
    ),
    "falcon": Architecture(
        attention=_QUERY_KEY_VALUE,
        feed_forward=("dense_h_to_4h", "dense_4h_to_h"),
        norms=4,
        last=2,
        biases={"bias": _ALL},
        defaults=_TIED | {"multi_query": True, "parallel_attn": True},
    ),
    "mpt": Architecture(
        attention=("Wqkv", "out_proj"), feed_forward=("up_proj", "down_proj"), defaults=_TIED
    ),
}


def norms_of_block(kind: str, config: Mapping[str, Any]) -> int:
    """`Architecture.norms`, where attention and the feed-forward layer may lie side by side behind one of them."""
    if kind == "falcon":
        behind = config.get("num_ln_in_parallel_attn") or (2 if config.get("new_decoder_architecture") else 1)
        return 2 if config["parallel_attn"] and behind == 1 else 4
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
