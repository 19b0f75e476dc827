"""The shape of a model: how many layers of which size, from `config.json`, or from a short table of known bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from llamatune.errors import ModelError

Layers = Mapping[str, tuple[int, int]]
"""Name -> (in, out) of the linear layers of one block."""


@dataclass(frozen=True)
class Shape:
    """A plain decoder.

    `linear`: the linear layers of one block; `queries`, `keys`: width of all query heads, and of all key heads;
    `inner`: width of the feed-forward layer, which keeps `gates` tensors of it for the backward pass.
    """

    blocks: int
    hidden: int
    inner: int
    queries: int
    keys: int
    heads: int
    vocabulary: int
    tied: bool
    linear: Layers
    context: int | None = None
    gates: int = 3

    @property
    def linear_weights(self) -> int:
        """Of all blocks: what 4 bits can hold."""
        return self.blocks * sum(map(prod, self.linear.values()))

    @property
    def embedding(self) -> int:
        """Weights of the embedding; the output layer has as many, and is the same one where they are tied."""
        return self.vocabulary * self.hidden

    @property
    def other_weights(self) -> int:
        """Embedding, output layer and norms: never held in 4 bits."""
        return self.embedding * (1 if self.tied else 2) + self.hidden * (2 * self.blocks + 1)

    @property
    def weights(self) -> int:
        return self.linear_weights + self.other_weights


_TIED = ("gemma", "gemma2", "gpt2", "gpt_bigcode", "opt", "falcon", "bloom", "mpt")

_HIDDEN, _HEADS, _BLOCKS = (
    ("hidden_size", "n_embd", "d_model"),
    ("num_attention_heads", "n_head", "n_heads", "attention_heads"),
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
)
_INNER = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len")
"""What architectures call the numbers of one thing."""

_FEED_FORWARD_OF_TWO = (
    *("falcon", "bloom", "phi", "gpt2", "gpt_bigcode", "gpt_neox", "gptj", "codegen", "opt", "mpt", "xglm"),
    *("starcoder2", "stablelm_alpha"),
)


def shape_of(config: Mapping[str, Any], name: str) -> Shape:
    """The shape that a `config.json` describes.

    Args:
        config: of a plain decoder of transformers.
        name: of the model, for errors.

    Raises:
        ModelError: E260, fields that are missing or of experts.
    """
    try:
        hidden, heads, blocks = (int(_first(config, *names)) for names in (_HIDDEN, _HEADS, _BLOCKS))
        vocabulary = int(config["vocab_size"])
        inner = int(next((config[name] for name in _INNER if config.get(name)), 4 * hidden))
        width = int(config.get("head_dim") or hidden // heads)
        grouped = config.get("num_key_value_heads")
        if config.get("new_decoder_architecture"):  # Falcon's own words
            grouped = grouped or config.get("num_kv_heads")
        grouped = grouped or (1 if config.get("multi_query") else heads)
        keys = width * int(grouped)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _unknown(name, f"config.json does not say it ({error})") from None
    if min(hidden, heads, blocks, vocabulary, inner, width, keys) < 1:
        raise _unknown(name, "config.json has a size below 1")
    if any(key in config for key in ("num_local_experts", "num_experts", "n_routed_experts")):
        raise _unknown(name, "it has experts, and only plain decoders are known")
    kind, queries = str(config.get("model_type")), width * heads
    context = next((config[name] for name in _CONTEXT if name in config), None)
    return Shape(
        blocks=blocks,
        hidden=hidden,
        inner=inner,
        queries=queries,
        keys=keys,
        heads=heads,
        vocabulary=vocabulary,
        # transformers' default is tied; the configs of Llama and its kin say false where they leave it out.
        tied=bool(config.get("tie_word_embeddings", kind in _TIED)),
        linear=_linear(kind, hidden, inner, queries, keys),
        context=context if isinstance(context, int) else None,
        gates=2 if kind in _FEED_FORWARD_OF_TWO else 3,
    )


def _first(config: Mapping[str, Any], *names: str) -> Any:
    """Of the names that architectures have for one number, the value of that which is there. Raises KeyError."""
    return config[next((name for name in names if name in config), names[0])]


def _linear(kind: str, hidden: int, inner: int, queries: int, keys: int) -> Layers:
    """The linear layers of a block, by the names that the architecture gives them."""
    if kind in ("gpt2", "gpt_bigcode"):
        return {
            "attn.c_attn": (hidden, queries + 2 * keys),
            "attn.c_proj": (queries, hidden),
            "mlp.c_fc": (hidden, inner),
            "mlp.c_proj": (inner, hidden),
        }
    if kind in ("falcon", "bloom", "gpt_neox"):
        return {
            "query_key_value": (hidden, queries + 2 * keys),
            "dense": (queries, hidden),
            "dense_h_to_4h": (hidden, inner),
            "dense_4h_to_h": (inner, hidden),
        }
    if kind == "phi3":
        return {
            "qkv_proj": (hidden, queries + 2 * keys),
            "o_proj": (queries, hidden),
            "gate_up_proj": (hidden, 2 * inner),
            "down_proj": (inner, hidden),
        }
    attention = {"q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys)}
    if kind in _FEED_FORWARD_OF_TWO:
        return attention | {"dense": (queries, hidden), "fc1": (hidden, inner), "fc2": (inner, hidden)}
    return attention | {
        "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def _unknown(name: str, why: str, *, here: bool = True) -> ModelError:
    """`here`: its config.json is known, and does not say it."""
    known = ", ".join(sorted(KNOWN_CONFIGS))
    return ModelError(
        "E260",
        f"the shape of `{name}` is not known",
        place="model.base",
        why=why,
        hint="plan with a plain decoder of its size; `llamatune run` trains this one all the same"
        if here
        else f"name a folder that holds its config.json, or one of {known}",
    )


def known_shape(name: str) -> Shape:
    """The shape of a hub model that is not in the local cache. Raises ModelError (E260) if it is not in the table."""
    config = KNOWN_CONFIGS.get(name.removeprefix("hub:"))
    if config is None:
        raise _unknown(name, "its files are not here, and nothing is downloaded to plan", here=False)
    return shape_of(config, name)


def _llama(
    hidden: int, blocks: int, heads: int, inner: int, *, keys: int | None = None, **others: int | bool
) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": keys or heads,
        "intermediate_size": inner,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    } | others


_7B, _13B = _llama(4096, 32, 32, 11008), _llama(5120, 40, 40, 13824)
_OF_LLAMA_1 = {"max_position_embeddings": 2048}
_LLAMA_3_8B = _llama(4096, 32, 32, 14336, keys=8, vocab_size=128256, max_position_embeddings=8192)
_SMOLLM2 = _llama(
    576, 30, 9, 1536, keys=3, vocab_size=49152, max_position_embeddings=8192, tie_word_embeddings=True
)

_FALCON = {
    "model_type": "falcon",
    "multi_query": True,
    "vocab_size": 65024,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}

KNOWN_CONFIGS: dict[str, Mapping[str, Any]] = {
    # Touvron et al. 2023, table 2; inner widths and vocabulary from the published weights.
    "huggyllama/llama-7b": _7B | _OF_LLAMA_1,
    "huggyllama/llama-13b": _13B | _OF_LLAMA_1,
    "huggyllama/llama-30b": _llama(6656, 60, 52, 17920) | _OF_LLAMA_1,
    "huggyllama/llama-65b": _llama(8192, 80, 64, 22016) | _OF_LLAMA_1,
    # Touvron et al. 2023 (Llama 2), table 1.
    "meta-llama/Llama-2-7b-hf": _7B,
    "meta-llama/Llama-2-7b-chat-hf": _7B,
    "meta-llama/Llama-2-13b-hf": _13B,
    "meta-llama/Llama-2-13b-chat-hf": _13B,
    "meta-llama/Llama-2-70b-hf": _llama(8192, 80, 64, 28672, keys=8),
    "meta-llama/Llama-2-70b-chat-hf": _llama(8192, 80, 64, 28672, keys=8),
    # Grattafiori et al. 2024, table 3.
    "meta-llama/Meta-Llama-3-8B": _LLAMA_3_8B,
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA_3_8B,
    "meta-llama/Meta-Llama-3-70B": _llama(8192, 80, 64, 28672, keys=8, vocab_size=128256)
    | {"max_position_embeddings": 8192},
    # Jiang et al. 2023, table 1.
    "mistralai/Mistral-7B-v0.1": _llama(4096, 32, 32, 14336, keys=8, max_position_embeddings=32768),
    # The config.json of the published weights.
    "tiiuae/falcon-7b": _FALCON | {"hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71},
    "tiiuae/falcon-40b": _FALCON
    | {"hidden_size": 8192, "num_hidden_layers": 60, "num_attention_heads": 128, "num_key_value_heads": 8},
    "HuggingFaceTB/SmolLM2-135M": _SMOLLM2,
    "HuggingFaceTB/SmolLM2-135M-Instruct": _SMOLLM2,
}
"""Models that recipes name, as their `config.json` describes them, and where that was published."""
