"""The models and prompts of the PPO benchmarks: random weights that never end a reply, prompts of known lengths."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ppo_job import CONTROL, POLICY, PROMPTS, REWARD, VALUE
from shapes import SHAPES, copy_tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

_CONSTANT, _NEVER = 0.5, -20.0


def write_files(folder: Path, shape: str, lengths: tuple[int, int], prompts: int) -> None:
    write_policy(folder / POLICY, shape)
    for seed, name in enumerate((VALUE, REWARD), start=1):
        write_scorer(folder / name, shape, seed)
    rows = make_prompts(folder / POLICY, lengths, prompts)
    (folder / PROMPTS).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_policy(folder: Path, shape: str) -> None:
    """A random model that gives padding, beginning and end no probability, whatever it reads.

    Every reply then has all the tokens that it may have, on every side and without a setting for it: the first
    channel of every embedding is the same constant, no layer writes to it, and the output layer reads it for
    these three tokens only, with a large negative weight.
    """
    torch.manual_seed(0)
    model = LlamaForCausalLM(_config(shape, tie_word_embeddings=False))
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = _CONSTANT
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0
            layer.mlp.down_proj.weight[0] = 0
        model.lm_head.weight[:, 0] = 0
        model.lm_head.weight[:CONTROL] = 0
        model.lm_head.weight[:CONTROL, 0] = _NEVER
    model.save_pretrained(folder)
    copy_tokenizer(folder)


def write_scorer(folder: Path, shape: str, seed: int) -> None:
    """A random model with one number at each token: what a reward model and a value model are."""
    torch.manual_seed(seed)
    LlamaForSequenceClassification(_config(shape, num_labels=1)).save_pretrained(folder)
    copy_tokenizer(folder)


def _config(shape: str, **changes: Any) -> LlamaConfig:
    return LlamaConfig(**SHAPES[shape] | changes)


def make_prompts(tokenizer_folder: Path, lengths: tuple[int, int], count: int) -> list[dict[str, Any]]:
    """Texts of random words, with lengths in tokens drawn evenly from the least to the greatest."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    draw = random.Random(0)
    words = [text for text in map(tokenizer.decode, range(CONTROL, len(tokenizer))) if _is_word(text)]
    texts = ["".join(draw.choices(words, k=draw.randint(*lengths))) for _ in range(count)]
    rows = [{"prompt": text, "input_ids": tokenizer(text)["input_ids"]} for text in texts]
    _check_lengths([len(row["input_ids"]) for row in rows], lengths)
    return rows


def _is_word(text: str) -> bool:
    return len(text) > 2 and text[0] == " " and text[1:].isalpha() and text.isascii()


def _check_lengths(found: Sequence[int], lengths: tuple[int, int]) -> None:
    least, greatest = lengths
    if not least <= min(found) <= max(found) <= greatest:
        raise ValueError(f"prompts of {min(found)} to {max(found)} tokens, not {least} to {greatest}")
