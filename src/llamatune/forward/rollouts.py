"""Prompts with their completions become the tensors of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from llamatune.forward.collate import Padded, PaddingFree


@dataclass(frozen=True)
class Rollout:
    """A prompt and what the policy made of it.

    `row`: the prompt's row in its dataset. `ended`: the completion's last token is one that ends it; else it was cut
    off at the longest length.
    """

    row: int
    prompt: list[int]
    completion: list[int]
    ended: bool

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True)
class Pass:
    """What one forward pass needs.

    `inputs`: for the model. `positions`: (tokens,) flat positions whose outputs predict the completion tokens `tokens`,
    row after row. `last`: (rows,) flat positions of the last tokens.
    """

    inputs: dict[str, Any]
    positions: torch.Tensor
    last: torch.Tensor
    tokens: torch.Tensor


def collate(rollouts: Sequence[Rollout], *, padding_free: bool, pad_id: int) -> Pass:
    """Lay rollouts end to end, or pad them on the right."""
    ids = [rollout.prompt + rollout.completion for rollout in rollouts]
    rows = [{"input_ids": one, "labels": one} for one in ids]
    inputs = PaddingFree()(rows) if padding_free else Padded(pad_id)(rows)
    del inputs["labels"]
    width = max(map(len, ids))
    positions, last, start = [], [], 0
    for number, rollout in enumerate(rollouts):
        begin = start if padding_free else number * width
        # The token at position i is predicted by the output at i - 1.
        first = begin + len(rollout.prompt) - 1
        positions.append(torch.arange(first, first + len(rollout.completion)))
        last.append(begin + rollout.length - 1)
        start += rollout.length
    return Pass(
        inputs,
        torch.cat(positions),
        torch.tensor(last),
        torch.tensor([token for rollout in rollouts for token in rollout.completion]),
    )


def padded(flat: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """(tokens,) to (rows, time), zero where a row is shorter."""
    return pad_sequence(list(torch.split(flat, list(lengths))), batch_first=True)


def mask_of(lengths: Sequence[int]) -> torch.Tensor:
    """(rows, time) bool: the real tokens."""
    return torch.arange(max(lengths)) < torch.tensor(list(lengths))[:, None]
