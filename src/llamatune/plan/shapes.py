"""The shape of a model: how many layers of which size, from `config.json`, or from a short table of known bases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from llamatune.errors import ModelError
from llamatune.plan.architectures import ALWAYS, ARCHITECTURES, Architecture, norms_of_block, not_counted
from llamatune.recipe.paths import HUB

Layers = Mapping[str, tuple[int, int]]
"""Name -> (in, out) of the linear layers of one block."""


@dataclass(frozen=True)
class Shape:
    """A plain decoder.

    `linear`: the linear layers of one block; `queries`, `keys`: width of all query heads, and of all key heads;
    `inner`: width of the feed-forward layer, which keeps `gates` tensors of it for the backward pass; `small`: weights
    of all norms, biases and learned positions.
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
    small: int
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
        """Embedding, output layer, norms and biases: never held in 4 bits."""
        return self.embedding * (1 if self.tied else 2) + self.small

    @property
    def weights(self) -> int:
        return self.linear_weights + self.other_weights


_HIDDEN, _HEADS, _BLOCKS = (
    ("hidden_size", "n_embed", "n_embd", "d_model"),
    ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"),
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
)
_INNER = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
"""What architectures call the numbers of one thing."""

_EXPERTS = re.compile(r"(?:.+_)?(?:num|n)_(?:.+_)?experts")
"""Keys that say how many experts there are: `num_local_experts`, `moe_num_experts`, `n_routed_experts`."""


def shape_of(config: Mapping[str, Any], name: str) -> Shape:
    """The shape that a `config.json` describes.

    Args:
        config: of a plain decoder of transformers.
        name: of the model, for errors.

    Raises:
        ModelError: E260, fields that are missing, experts, or an architecture whose weights are not counted.
    """
    kind = str(config.get("model_type"))
    if (experts := _experts(config)) is not None:
        raise _unknown(name, f"it has experts (`{experts}`), and only plain decoders are counted")
    built = ARCHITECTURES.get(kind)
    if built is None:
        raise _unknown(name, f"what its `model_type: {kind}` is built of is not counted")
    config = {**built.defaults, **config}
    try:
        hidden, heads, blocks = (int(_first(config, *names)) for names in (_HIDDEN, _HEADS, _BLOCKS))
        vocabulary = int(config["vocab_size"])
        inner = int(next((config[name] for name in _INNER if config.get(name)), 4 * hidden))
        width = int(config.get("head_dim") or hidden // heads)
        grouped = config.get("num_key_value_heads")
        if config.get("new_decoder_architecture"):  # Falcon's own words
            grouped = grouped or config.get("num_kv_heads")
        elif config.get("multi_query"):
            grouped = 1
        keys = width * int(grouped or heads)
        context = next((config[name] for name in _CONTEXT if name in config), None)
        rows = 0 if built.positions is None else int(_first(config, *_CONTEXT)) + built.positions
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _unknown(name, f"config.json does not say it ({error})") from None
    if min(hidden, heads, blocks, vocabulary, inner, width, keys) < 1:
        raise _unknown(name, "config.json has a size below 1")
    if (other := not_counted(kind, config)) is not None:
        raise _unknown(name, f"what `{kind}` is built of with {other} is not counted")
    queries = width * heads
    shape = Shape(
        blocks=blocks,
        hidden=hidden,
        inner=inner,
        queries=queries,
        keys=keys,
        heads=heads,
        vocabulary=vocabulary,
        tied=bool(config.get("tie_word_embeddings")),
        linear=_linear(built, hidden, inner, queries, keys),
        small=0,
        context=context if isinstance(context, int) else None,
        gates=3 if built.gated else 2,
    )
    of_block = hidden * norms_of_block(kind, config) + _biases(built, config, shape, width)
    outside = hidden * (built.last + rows) + vocabulary * built.output_bias
    return replace(shape, small=blocks * of_block + outside)


def _biases(built: Architecture, config: Mapping[str, Any], shape: Shape, width: int) -> int:
    """Of a block's linear layers; and its norms of queries and keys, of heads of this width."""
    outputs = {
        "read": shape.queries + 2 * shape.keys,
        "write": shape.hidden,
        "inner": shape.inner * (1 + built.gated),
        "down": shape.hidden,
    }
    holding = (parts for key, parts in built.biases.items() if _holds(config, key))
    biases = sum(outputs[part] for parts in holding for part in parts)
    if built.head_norms is None or not _holds(config, built.head_norms[0]):
        return biases
    return biases + (2 * width if built.head_norms[1] == "one" else shape.queries + shape.keys)


def _first(config: Mapping[str, Any], *names: str) -> Any:
    """Of the names that architectures have for one number, the value of that which is there. Raises KeyError."""
    return config[next((name for name in names if name in config), names[0])]


def _holds(config: Mapping[str, Any], key: str) -> bool:
    return key == ALWAYS or bool(config.get(key))


def _experts(config: Mapping[str, Any]) -> str | None:
    """The first key, at any depth, that says that there are several experts."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            if (found := _experts(value)) is not None:
                return f"{key}.{found}"
        elif _EXPERTS.fullmatch(str(key)) and isinstance(value, int) and value > 1:
            return f"{key}: {value}"
    return None


def _linear(built: Architecture, hidden: int, inner: int, queries: int, keys: int) -> Layers:
    """The linear layers of a block, by the names that the architecture gives them."""
    *readers, writer = built.attention
    *inners, down = built.feed_forward
    reads = [queries, keys, keys] if len(readers) == 3 else [queries + 2 * keys]
    widths = [inner * (1 + built.gated) // len(inners)] * len(inners)
    attention = dict(zip(readers, ((hidden, read) for read in reads), strict=True)) | {
        writer: (queries, hidden)
    }
    return (
        attention
        | {layer: (hidden, wide) for layer, wide in zip(inners, widths, strict=True)}
        | {down: (inner, hidden)}
    )


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
    config = KNOWN_CONFIGS.get(name.removeprefix(HUB))
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
    | {"hidden_size": 8192, "num_hidden_layers": 60, "num_attention_heads": 128}
    | {"new_decoder_architecture": True, "num_kv_heads": 8},
    "HuggingFaceTB/SmolLM2-135M": _SMOLLM2,
    "HuggingFaceTB/SmolLM2-135M-Instruct": _SMOLLM2,
}
"""Models that recipes name, as their `config.json` describes them, and where that was published."""
