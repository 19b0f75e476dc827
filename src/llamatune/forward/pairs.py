"""Preference pairs as one row each: prompt, chosen reply, rejected reply, with the prompt computed once.

Both replies continue the prompt: their positions start where it ends, and attention lets neither see the other, so
each score is the one that the conversation would get alone. Several pairs lie end to end, as rows do in SFT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from llamatune.data.rows import EncodedRow
from llamatune.forward.collate import OnceEach, Tensors


class Labels(NamedTuple):
    """What is known about each pair of a batch, as tensors of shape (pairs,).

    `rating`: 0 (significantly better) to 3 (negligibly better), -1 without one. `chosen_safe`, `rejected_safe`:
    1, 0, or -1 where nobody said.
    """

    rating: torch.Tensor
    chosen_safe: torch.Tensor
    rejected_safe: torch.Tensor


def lengths(row: EncodedRow) -> tuple[int, int, int]:
    """Tokens of the prompt, the chosen and the rejected reply."""
    prompt, chosen, rejected = row["pair"][:3]
    return prompt, chosen, rejected


def labels_of(rows: Sequence[EncodedRow]) -> torch.Tensor:
    """(3, pairs): what becomes `Labels`; a plain tensor, because trainers rebuild tuples as they move them."""
    return torch.tensor([row["pair"][3:6] for row in rows]).T


class SharedPrompts(OnceEach):
    """Collates pairs so that each prompt is computed once: pairs x (prompt + chosen + rejected) tokens.

    `score_at` has shape (2, pairs): the last token of each chosen and of each rejected reply.
    """

    padded = False

    def __call__(self, rows: Sequence[EncodedRow]) -> Tensors:
        parts = [lengths(row) for row in rows]
        positions, ends, start = [], [], 0
        for prompt, chosen, rejected in parts:
            positions += [torch.arange(prompt + chosen), torch.arange(prompt, prompt + rejected)]
            ends.append((start + prompt + chosen - 1, start + prompt + chosen + rejected - 1))
            start += prompt + chosen + rejected
        return {
            "input_ids": torch.tensor([token for row in rows for token in row["input_ids"]])[None],
            "position_ids": torch.cat(positions)[None],
            "shared_prompts": parts,
            "score_at": torch.tensor(ends).T,
            "pair_labels": labels_of(rows),
        }


class SeparateReplies:
    """Collates pairs as 2 x pairs padded conversations, the chosen ones first: for models whose attention cannot
    share a prompt. The prompt is computed twice."""

    padded = True

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def tokens(self, row: EncodedRow) -> int:
        """Those of two rows, the shorter padded to the longer."""
        prompt, chosen, rejected = lengths(row)
        return 2 * (prompt + max(chosen, rejected))

    def __call__(self, rows: Sequence[EncodedRow]) -> Tensors:
        conversations = [self._conversation(row, side) for side in (0, 1) for row in rows]
        width = max(map(len, conversations))
        input_ids = torch.full((len(conversations), width), self.pad_id)
        for index, tokens in enumerate(conversations):
            input_ids[index, : len(tokens)] = torch.tensor(tokens)
        ends = torch.tensor([index * width + len(tokens) - 1 for index, tokens in enumerate(conversations)])
        filled = torch.tensor([len(tokens) for tokens in conversations])
        return {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(width) < filled[:, None]).long(),
            "score_at": ends.reshape(2, len(rows)),
            "pair_labels": labels_of(rows),
        }

    def _conversation(self, row: EncodedRow, side: int) -> list[int]:
        prompt, chosen, _ = lengths(row)
        tokens: list[int] = row["input_ids"]
        return tokens[: prompt + chosen] if side == 0 else tokens[:prompt] + tokens[prompt + chosen :]
