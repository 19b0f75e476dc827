"""What the JSON of a model or adapter may say: anything that no model has is refused before upstream reads it.

Upstream believes these files: it would build a million layers, run a regular expression that never ends, import a
module that is named there, or fail somewhere deep inside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from llamatune.errors import ModelError
from llamatune.wording import counted

_LARGEST = (
    ("layer", 1_000),
    ("block", 1_000),
    ("expert", 10_000),
    ("head", 1 << 17),
    ("vocab", 1 << 24),
    ("position", 1 << 27),
    ("ctx", 1 << 27),
    ("dim", 1 << 20),
    ("size", 1 << 20),
    ("inner", 1 << 20),
    ("embd", 1 << 20),
    ("d_model", 1 << 20),
)
"""The largest whole number of config.json whose key has this word in it: far above those of any published model, and
small enough that building the model ends. The first that fits counts."""
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
"""Whole numbers of config.json that are at least 1 in any model."""
_MOST_TIMES = 8
"""How many times larger than the numbers in its files a model or an adapter may be by its settings: 4-bit weights hold
two in one, and what differs by less is named more precisely later."""

_NAMED_AS_LLAMA = ("llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma", "gemma2")
"""config.json's `model_type` of architectures whose weights have Llama's names."""
_BLOCK = re.compile(r"(?P<before>(?:model\.)?layers\.)(?P<number>\d{1,4})(?P<after>\.[\w.]+)")

_TEXT = (str, NoneType)
_TEXTS = (str, list, NoneType)
_SETTINGS: Mapping[str, tuple[type, ...]] = {
    "r": (int, NoneType),
    "lora_alpha": (int, float, NoneType),
    "target_modules": _TEXTS,
    "exclude_modules": _TEXTS,
    "layers_pattern": _TEXTS,
    "layers_to_transform": (int, list, NoneType),
    "modules_to_save": (list, NoneType),
    "rank_pattern": (dict, NoneType),
    "alpha_pattern": (dict, NoneType),
    "base_model_name_or_path": _TEXT,
    "task_type": _TEXT,
    "peft_type": _TEXT,
}
"""Types of those values of adapter_config.json that are read here, or that peft would take apart."""
_PATTERNS = ("layers_pattern", "rank_pattern", "alpha_pattern")
_PLAIN_PATTERN = re.compile(r"(?:[\w\\^$.-]|\.\*){0,300}")
_MOST_STARS, _MOST_ENTRIES = 2, 10_000
"""A regular expression that cannot run away: no group, hardly a repetition; and how many there may be."""


def check_config_values(config: Mapping[str, Any], file: Path) -> None:
    """Refuse values of a type or size that no model has: of those that are read here, the type; of all, the size.

    Raises:
        ModelError: E256.
    """
    names, quantization = config.get("architectures"), config.get("quantization_config")
    types = {
        "model_type": isinstance(config.get("model_type"), str),
        "architectures": names is None or _are_texts(names),
        "quantization_config": quantization is None or isinstance(quantization, dict),
    }
    wrong = [name for name, fits in types.items() if not fits]
    wrong += [name for name in _SIZES if not _is_size(config.get(name))]
    wrong += [name for name, value in _numbers(config) if value > _largest(name)]
    if wrong:
        raise ModelError(
            "E256",
            f"`{wrong[0]}` is {_shown(config.get(wrong[0], '...'))}, and no model has that",
            place=str(file),
            why="building a model of this description would fail, or never end",
            hint="take config.json and weights of the same model: download it again",
        )


def _is_size(value: Any) -> bool:
    """None is written where the architecture has a rule of its own, such as for `head_dim`; a list, where each block
    has a size of its own."""
    sizes = value if isinstance(value, list) else [value]
    return value is None or all(type(one) is int and one >= 1 for one in sizes)


def _numbers(config: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Key and value of each whole number; of a list, its length."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _numbers(value, str(key))
    elif isinstance(config, list):
        yield f"entries in {name}", len(config)
        for value in config:
            yield from _numbers(value, name)
    elif isinstance(config, int) and not isinstance(config, bool):
        yield name, config


def _largest(name: str) -> int:
    if name.endswith(("_id", "_ids", "_token", "_index", "seed")):
        return 1 << 31
    return next((most for word, most in _LARGEST if word in name.lower()), 1 << 40)


def check_size(config: Mapping[str, Any], held: int, folder: Path) -> None:
    """Refuse a config.json of a model that is many times larger than the weights held in its files, before memory is
    taken for it.

    Args:
        held: how many numbers there are in the files.

    Raises:
        ModelError: E251.
    """
    hidden, blocks = hidden_size(config), number_of_blocks(config)
    inner = _number(config, "intermediate_size", "n_inner", "ffn_hidden_size") or hidden
    described = max(_number(config, "vocab_size") * hidden, blocks * hidden * inner)
    if described > _MOST_TIMES * held:
        raise ModelError(
            "E251",
            f"config.json describes a model of at least {described:,} weights, and the files hold {held:,}",
            place=str(folder),
            why="memory would be taken for weights that are in no file",
            hint="take config.json and weights of the same model",
        )


def check_shapes(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], folder: Path) -> None:
    """Refuse weights that are of another shape than config.json says, or lack parts of blocks, as far as their names
    tell: those of Llama and its nearest relatives do. The rest is found once they are loaded.

    Args:
        shapes: of each tensor in the files.

    Raises:
        ModelError: E251.
    """
    if config.get("model_type") not in _NAMED_AS_LLAMA or config.get("quantization_config"):
        return
    hidden, width = hidden_size(config), _number(config, "head_dim")
    heads, shared = _number(config, "num_attention_heads"), _number(config, "num_key_value_heads")
    expected = {
        "embed_tokens": (_number(config, "vocab_size"), hidden),
        "self_attn.q_proj": (heads * width, hidden),
        "self_attn.k_proj": (shared * width, hidden),
    }
    # What config.json leaves out has a default that is not known here.
    expected = {part: shape for part, shape in expected.items() if all(shape)}
    shaped = [
        (name, shape, expected[part])
        for name, shape in shapes.items()
        for part in expected
        if name.endswith(f".{part}.weight") and shape != expected[part]
    ]
    blocks: dict[int, set[str]] = {}
    for name in shapes:
        if found := _BLOCK.fullmatch(name):
            blocks.setdefault(int(found["number"]), set()).add(name)
    count = number_of_blocks(config)
    parts = {_BLOCK.sub(r"\g<before>{}\g<after>", name) for names in blocks.values() for name in names}
    whole = {part.format(number) for number in range(count if blocks else 0) for part in parts}
    held = {name for names in blocks.values() for name in names}
    check_fit(shaped, sorted(whole - held), sorted(held - whole) if count else (), folder)


def check_fit(
    shaped: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    missing: Sequence[str],
    unused: Sequence[str],
    folder: Path,
    hint: str = "download the model again, or save it again where it was made",
) -> None:
    """Refuse weights that are not those of config.json's model.

    Args:
        shaped: name, shape in the files and shape by config.json of those that differ.
        missing: names of weights that are in no file.
        unused: names of weights that the model does not have.
        hint: what to do about missing ones.

    Raises:
        ModelError: E251.
    """
    if shaped:
        name, in_file, in_model = shaped[0]
        what = (
            f"{counted(len(shaped), 'weight is', 'weights are')} of another shape than config.json says: `{name}` is "
            f"{' x '.join(map(str, in_file))} in the files and {' x '.join(map(str, in_model))} by config.json"
        )
        hint = "take config.json and weights of the same model"
    elif missing:
        what = f"{counted(len(missing), 'weight is', 'weights are')} in no file: {_first(missing)}"
    elif unused:
        what = f"{counted(len(unused), 'weight is', 'weights are')} in the files and not in the model: {_first(unused)}"
        hint = "take config.json and weights of the same model (number of layers, biases)"
    else:
        return
    raise ModelError(
        "E251",
        what,
        place=str(folder),
        why="transformers would draw such weights at random, or leave them out, and go on",
        hint=hint,
    )


def _first(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (" ..." if len(names) > 3 else "")


def hidden_size(config: Mapping[str, Any]) -> int:
    """Of a config.json of any architecture; 0 where it does not say."""
    return _number(config, "hidden_size", "n_embd", "d_model")


def number_of_blocks(config: Mapping[str, Any]) -> int:
    """Of a config.json of any architecture; 0 where it does not say."""
    return _number(config, "num_hidden_layers", "n_layer")


def _number(config: Mapping[str, Any], *names: str) -> int:
    found = next((config[name] for name in names if name in config), 0)
    return found if type(found) is int else 0


def check_adapter_settings(
    settings: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], folder: Path
) -> None:
    """Refuse an adapter_config.json that peft would stumble over, or never be done with.

    Args:
        tensors: shape of each tensor of the adapter, by its name in the file.

    Raises:
        ModelError: E234.
    """
    wrong = [name for name, kinds in _SETTINGS.items() if not _fits(settings.get(name), kinds)]
    for name in ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern"):
        if isinstance(settings.get(name), list) and not _are_texts(settings[name]):
            wrong.append(name)
    if not wrong:
        wrong = [name for name in _PATTERNS if not all(map(_is_plain, _texts(settings.get(name))))]
        large = (name for name, value in settings.items() if isinstance(value, (list, dict)))
        wrong += [name for name in large if len(settings[name]) > _MOST_ENTRIES]
    if not wrong:
        wrong = _wrong_numbers(settings, tensors)
    if wrong:
        raise ModelError(
            "E234",
            f"`{wrong[0]}` of adapter_config.json is {_shown(settings.get(wrong[0]))}, and no adapter has that",
            place=str(folder),
            why="peft would fail on it, take memory for matrices that are in no file, or never end",
            hint="copy or download the adapter again, or save it again where it was made",
        )


def ranks_of(tensors: Mapping[str, tuple[int, ...]]) -> list[int]:
    """The rank of each layer of an adapter, whatever its settings say or leave out."""
    return [
        shape[0] for name, shape in tensors.items() if shape and (".lora_A" in name or "_embedding_A" in name)
    ]


def _wrong_numbers(settings: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> list[str]:
    largest = _MOST_TIMES * max(ranks_of(tensors), default=512)
    patterns = settings.get("rank_pattern") or {}
    alphas = [settings.get("lora_alpha", 8), *(settings.get("alpha_pattern") or {}).values()]
    found = {
        "r": settings.get("r") is None or 0 < settings["r"] <= largest,
        "rank_pattern": all(type(rank) is int and 0 < rank <= largest for rank in patterns.values()),
        "lora_alpha": all(_fits(one, (int, float, NoneType)) and math.isfinite(one or 0) for one in alphas),
    }
    return [name for name, fits in found.items() if not fits]


def is_note(note: Mapping[str, Any]) -> bool:
    """Whether this is what llamatune notes beside an artefact, as far as it is read."""
    base, chat = note.get("base", {}), note.get("chat")
    return (
        isinstance(base, dict)
        and all(_fits(base.get(name), _TEXT) for name in ("name", "revision"))
        and _fits(base.get("identity"), (dict, NoneType))
        and (chat is None or (isinstance(chat, dict) and _fits(chat.get("system"), _TEXT)))
    )


def _fits(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_plain(pattern: str) -> bool:
    return bool(_PLAIN_PATTERN.fullmatch(pattern)) and pattern.count("*") <= _MOST_STARS


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
