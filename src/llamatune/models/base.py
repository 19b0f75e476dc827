"""A base model on disk: what identifies it, and whether it is safe and whole, all without torch.

Pickled weights, code that comes with a checkpoint, foreign architectures and half a download are refused here, by
reading only the JSON and the safetensors headers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.errors import ModelError
from llamatune.models.files.gates import check_config_values, hidden_size, number_of_blocks
from llamatune.models.files.settings import read_model_json
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.paths import HUB

if TYPE_CHECKING:
    from llamatune.recipe.blocks import Lora, Model

TRIED = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "smollm3",
    "gemma",
    "gemma2",
    "phi3",
    "phi",
    "falcon",
    "gpt_neox",
    "gpt2",
    "mixtral",
    "qwen2_moe",
)
"""config.json's `model_type` of the architectures that the tests train. Others of transformers' plain decoders are
taken too: whether rows may lie end to end is found out on the loaded model, and where not they are padded."""

_DECODERS = ("ForCausalLM", "LMHeadModel", "ForSequenceClassification")
_HEADS = ("num_attention_heads", "attention_heads", "n_head", "n_heads", "num_heads")

_NARROW, _MUCH_NARROWER = 64, 16
"""A layer with fewer outputs than the first number, and so many times fewer than inputs, chooses between a few things,
such as experts."""
_NOT_PLAIN = ("vision_config", "audio_config", "text_config", "encoder", "decoder")
"""Parts of a config.json that a decoder of text alone does not have."""

HEAD = "score"
"""The head's name in transformers' sequence classification models of the Llama family."""

BUILTIN = Path(__file__).resolve().parent.parent / "builtin"

_INCIDENTAL = ("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Fields of config.json that do not change what the model computes."""
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class Base:
    """A base model on disk. `name` is what the recipe says; `revision` is the commit of a hub model."""

    name: str
    folder: Path
    revision: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        return read_model_json(self.folder / "config.json")

    @property
    def address(self) -> str:
        """A name under which llamatune finds this base again, and nothing else: a folder that is missing is not taken
        for a model of the hub."""
        if self.revision is not None:
            return f"{HUB}{self.name}"
        is_path = self.name == "pico" or self.name.startswith((".", "/", "~"))
        return self.name if is_path else f"./{self.name}"

    @property
    def home(self) -> str:
        """A name under which plain transformers and peft find this base, from any working directory."""
        return self.name if self.revision is not None else str(self.folder.resolve())

    @property
    def has_head(self) -> bool:
        """Whether it is a reward model already."""
        names = self.config.get("architectures") or []
        return any(str(name).endswith("ForSequenceClassification") for name in names)

    @property
    def held_in_4_bits(self) -> bool:
        """Whether its files are quantised already, by bitsandbytes. Settings of other methods may say so too."""
        settings = self.config.get("quantization_config") or {}
        return (
            settings.get("load_in_4bit") is True
            and settings.get("quant_method", "bitsandbytes") == "bitsandbytes"
        )

    @property
    def context(self) -> int | None:
        """The longest row that it reads, in tokens, where its config says so."""
        context = self.config.get("max_position_embeddings")
        return context if isinstance(context, int) else None

    @property
    def width(self) -> int:
        """Numbers in the hidden states of one token, over all blocks; 0 where its config does not say."""
        config = self.config
        return hidden_size(config) * number_of_blocks(config)

    def identity(self) -> dict[str, str]:
        """What the model computes: the SHA-256 of its weights, file by file and whole, and of its config."""
        config = {name: value for name, value in self.config.items() if name not in _INCIDENTAL}
        return {
            "weights": _digest(self.folder, sorted(file.name for file in self.folder.glob("*.safetensors"))),
            "config": sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        }

    def facts(self) -> dict[str, str | None]:
        """What a run that starts from this base must find again: see `identity`, its tokenizer's files, and where
        its replies end."""
        return {
            **self.identity(),
            "tokenizer": _digest(self.folder, _TOKENIZER_FILES),
            "generation": _digest(self.folder, ("generation_config.json",)),
            "revision": self.revision,
        }


def adapter_facts(folder: Path) -> dict[str, str]:
    """The SHA-256 of an adapter's weights, of its settings, and of the tokenizer's files beside it."""
    return {
        "weights": file_sha256(folder / "adapter_model.safetensors"),
        "config": file_sha256(folder / "adapter_config.json"),
        "tokenizer": _digest(folder, _TOKENIZER_FILES),
    }


def _check_architecture(base: Base, config: dict[str, Any]) -> None:
    names = config.get("architectures") or []
    is_decoder = (
        config.get("model_type") in TRIED
        if not names
        else all(str(name).endswith(_DECODERS) for name in names)
    )
    other = [part for part in _NOT_PLAIN if config.get(part)]
    has_attention = any(config.get(name) for name in _HEADS)
    if is_decoder and has_attention and not other and not config.get("is_encoder_decoder"):
        return
    raise ModelError(
        "E206",
        f"model_type `{config.get('model_type')}` is not a decoder of text alone"
        + (f" ({', '.join(map(str, names or other))})" if names or other else ""),
        place=str(base.folder / "config.json"),
        why="llamatune fine-tunes causal language models: Llama and its relatives",
        hint=f"choose such a base; tried are {', '.join(TRIED)}",
    )


def _digest(folder: Path, names: list[str] | tuple[str, ...]) -> str:
    """One SHA-256 over those of the files that are there; each is read whole, and its hash remembered."""
    lines = [f"{name} {file_sha256(folder / name)}\n" for name in names if (folder / name).is_file()]
    return sha256("".join(lines).encode()).hexdigest()


def check_config(base: Base) -> None:
    """Refuse remote code, foreign architectures and foreign quantisations, from a folder's JSON alone.

    Raises:
        ModelError: E202, E205, E206 or E253.
    """
    config = base.config
    check_config_values(config, base.folder / "config.json")
    for file in ("config.json", "tokenizer_config.json", "generation_config.json"):
        settings = read_model_json(base.folder / file) if (base.folder / file).is_file() else {}
        for field in ("auto_map", "_attn_implementation_internal", "custom_pipelines", "use_kernels"):
            if settings.get(field):
                _refuse_code(base, file, field)
        for field in ("attn_implementation", "_attn_implementation", "experts_implementation"):
            if "/" in str(settings.get(field) or ""):
                _refuse_code(base, file, field)
    _check_architecture(base, config)
    _check_quantization(base, config.get("quantization_config"))
    _check_template_names(base)


def check_trainable(base: Base, settings: Model) -> None:
    """Refuse to train the weights of a base that is held in 4 bits. Raises ModelError (E253)."""
    if base.held_in_4_bits and settings.lora is None and settings.adapter is None:
        raise ModelError(
            "E253",
            f"`{base.name}` is held in 4 bits, and all its weights were to be trained",
            place="model.base",
            hint="add `model.lora`, or name the model that it was quantised from",
        )


def check_fits_context(base: Base, max_length: int, max_new_tokens: int = 0) -> None:
    """Refuse rows that are longer than what the base reads.

    Args:
        max_length: tokens of the longest row.
        max_new_tokens: of the longest reply that will be sampled.

    Raises:
        ModelError: E221.
    """
    context = base.context
    if context is None or max_length + max_new_tokens <= context:
        return
    replies = f" and replies of {max_new_tokens:,}" if max_new_tokens else ""
    room = context - max_new_tokens
    raise ModelError(
        "E221",
        f"rows of {max_length:,} tokens{replies} are longer than the base's context of {context:,}",
        place="data.max_length",
        why="the model has never seen positions beyond its context",
        hint=f"set `data.max_length` to at most {room}"
        if room > 0
        else f"replies alone must be shorter than {context:,} tokens: lower `max_new_tokens`",
    )


def _refuse_code(base: Base, file: str, field: str) -> None:
    raise ModelError(
        "E205",
        f"`{base.name}` asks to run code of its own: field `{field}` of {file}",
        place=str(base.folder / file),
        why="a model is data; code that comes with a checkpoint runs with your rights",
        hint="use a base whose architecture is part of transformers",
    )


def _check_quantization(base: Base, settings: Any) -> None:
    """Weights may already be quantised the way QLoRA holds them: by bitsandbytes, in 4 bits."""
    if not settings or base.held_in_4_bits:
        return
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    raise ModelError(
        "E253",
        f"the base is already quantised ({method or 'by an unknown method'})",
        place=str(base.folder / "config.json"),
        why="llamatune trains on 16- or 32-bit weights, or on 4-bit ones of bitsandbytes",
        hint="name the model that it was quantised from; `quantization: nf4` holds that in 4 bits",
    )


def _check_template_names(base: Base) -> None:
    """Named chat templates become file names when saved; a name with a path would be written elsewhere."""
    file = base.folder / "tokenizer_config.json"
    templates = read_model_json(file).get("chat_template") if file.is_file() else None
    names = (
        list(templates)
        if isinstance(templates, dict)
        else [entry.get("name", "") for entry in templates if isinstance(entry, dict)]
        if isinstance(templates, list)
        else []
    )
    for name in names:
        if not str(name).replace("_", "").replace("-", "").isalnum():
            raise ModelError(
                "E205",
                f"a chat template has the name {name!r}",
                place=str(file),
                why="template names become file names, and this one could be written outside the model folder",
                hint="remove that template from tokenizer_config.json",
            )


def targeted(lora: Lora, linear: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The linear layers that get an adapter: those that `lora` names, or all but the output layer, the head, and the
    gates of a mixture of experts that are narrower than the rank.

    Args:
        linear: name -> (in, out) of the model's linear layers.

    Raises:
        ModelError: E230 names that no layer has; E231 a rank larger than a layer.
    """
    last = {name: name.rsplit(".", 1)[-1] for name in linear}
    available = sorted(set(last.values()) - {"lm_head", HEAD})
    if not available:
        raise ModelError(
            "E230",
            "this model has no linear layers",
            place="model.lora.targets",
            hint="train all of its weights: `model.lora: null`",
        )
    gates = {last[name] for name, shape in linear.items() if _is_gate(shape) and min(shape) < lora.rank}
    asked = [name for name in available if name not in gates]
    if lora.targets != "all-linear":
        asked = list(lora.targets)
    wrong = [name for name in asked if name not in available]
    if wrong:
        raise ModelError(
            "E230",
            f"no linear layer is named {', '.join(f'`{name}`' for name in wrong)}",
            place="model.lora.targets",
            hint=f"this model has {', '.join(available)}; `all-linear` takes them all",
        )
    chosen = {name: shape for name, shape in linear.items() if last[name] in asked}
    smallest = min(min(shape) for shape in chosen.values()) if chosen else 1
    if lora.rank > smallest:
        raise ModelError(
            "E231",
            f"rank {lora.rank} is larger than the smallest targeted layer ({smallest})",
            place="model.lora.rank",
            why="the adapter would have more weights than the layer",
            hint=f"use a rank of at most {smallest}; 8 to 64 are usual",
        )
    return chosen


def _is_gate(shape: tuple[int, int]) -> bool:
    return min(shape) < _NARROW and min(shape) * _MUCH_NARROWER <= max(shape)
