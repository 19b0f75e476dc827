"""Models with random weights, small enough for a CPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llamatune.models.base import BUILTIN

_PICO = json.loads((BUILTIN / "pico/config.json").read_text("utf-8")) | {
    "dtype": "float32",
    "max_position_embeddings": 2048,
}
SHAPES: dict[str, dict[str, Any]] = {
    "pico": _PICO,
    "5m": _PICO
    | {
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
    },
    "4m": _PICO | {"intermediate_size": 768, "tie_word_embeddings": False},
    "150m": _PICO
    | {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 12,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 64,
        "tie_word_embeddings": False,
    },
}
"""Architectures, all with the vocabulary of pico's tokenizer."""


def random_base(folder: Path, shape: str) -> Path:
    """A model folder with random weights in one of the shapes, and pico's tokenizer."""
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPES[shape])).save_pretrained(folder)
    copy_tokenizer(folder)
    return folder


def copy_tokenizer(folder: Path) -> None:
    """Put pico's tokenizer beside a model."""
    for file in (BUILTIN / "pico").glob("*"):
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, folder)
