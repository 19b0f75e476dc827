"""The PPO benchmarks' models and prompts: random weights that write words and never end, prompts of known lengths."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ppo_job import CONTROL, POLICY, PROMPTS, REWARD, VALUE
from shapes import SHAPES, copy_tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

_CONSTANT, _NEVER = 0.5, -20.0


def write_models(folder: Path, shape: str) -> int:
    """The three models; how many weights the policy has."""
    for seed, name in enumerate((VALUE, REWARD), start=1):
        write_scorer(folder / name, shape, seed)
    return write_policy(folder / POLICY, shape)


def write_prompts(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    (folder / PROMPTS).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_policy(folder: Path, shape: str) -> int:
    """A random model that samples words only, whatever it reads; how many weights it has.

    Without an end or padding token every reply has all the tokens that it may have, on every side and without a setting
    for it; and without odd bytes its text has as many tokens as it was sampled in, so that a reward model that reads
    text reads no more than one that reads tokens. The first channel of every embedding is the same constant, no
    layer writes to it, and the output layer reads it for the tokens never to be sampled, with a large negative weight.
    """
    folder.mkdir(parents=True)
    copy_tokenizer(folder)
    torch.manual_seed(0)
    model = LlamaForCausalLM(_config(shape, tie_word_embeddings=False))
    never = torch.ones(model.config.vocab_size, dtype=torch.bool)
    never[word_ids(AutoTokenizer.from_pretrained(folder))] = False
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = _CONSTANT
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0
            layer.mlp.down_proj.weight[0] = 0
        model.lm_head.weight[:, 0] = 0
        model.lm_head.weight[never] = 0
        model.lm_head.weight[never, 0] = _NEVER
    model.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def word_ids(tokenizer: Any) -> list[int]:
    """The tokens that are a space and a word."""
    texts = {token: tokenizer.decode(token) for token in range(CONTROL, len(tokenizer))}
    return [token for token, text in texts.items() if re.fullmatch(" [A-Za-z]{2,}", text)]


def write_scorer(folder: Path, shape: str, seed: int) -> None:
    """A random model with one number at each token: what a reward model and a value model are."""
    torch.manual_seed(seed)
    LlamaForSequenceClassification(_config(shape, num_labels=1)).save_pretrained(folder)
    copy_tokenizer(folder)


def _config(shape: str, **changes: Any) -> LlamaConfig:
    return LlamaConfig(**SHAPES[shape] | changes)


def random_prompts(tokenizer_folder: Path, lengths: tuple[int, int], count: int) -> list[dict[str, Any]]:
    """Texts of random words, with lengths in tokens drawn evenly from the least to the greatest.

    Raises:
        ValueError: the tokenizer reads a text of words in another number of tokens.
    """
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    draw = random.Random(0)
    words = list(map(tokenizer.decode, word_ids(tokenizer)))
    texts = ["".join(draw.choices(words, k=draw.randint(*lengths))) for _ in range(count)]
    rows = [_row(tokenizer, text) for text in texts]
    found = [len(row["input_ids"]) for row in rows]
    if not lengths[0] <= min(found) <= max(found) <= lengths[1]:
        raise ValueError(f"prompts of {min(found)} to {max(found)} tokens instead of {lengths}")
    return rows


def prompts_of(file: Path, tokenizer_folder: Path, longest: int, count: int) -> list[dict[str, Any]]:
    """Prompts of a file drawn at random, those left out that are too long.

    Reads JSON or JSON lines with `prompt`, or with `instruction` and perhaps `input` as Alpaca has them.
    """
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    text = file.read_text("utf-8")
    found = json.loads(text) if text.lstrip().startswith("[") else map(json.loads, text.splitlines())
    rows = [_row(tokenizer, _prompt(one)) for one in found]
    fitting = [row for row in rows if 0 < len(row["input_ids"]) <= longest]
    return random.Random(0).sample(fitting, count)


def _prompt(row: Mapping[str, str]) -> str:
    return row["prompt"] if "prompt" in row else f"{row['instruction']}\n{row.get('input', '')}".strip()


def _row(tokenizer: Any, text: str) -> dict[str, Any]:
    return {"prompt": text, "input_ids": tokenizer(text)["input_ids"]}
