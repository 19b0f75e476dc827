"""Replies to one prompt as one row, with the prompt computed once: those of a preference pair, or any number.

All replies continue the prompt: their positions start where it ends, and attention lets none see another, so each
score is the one that the conversation would get alone. Several prompts lie end to end, as rows do in SFT.
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
        batch = _end_to_end(rows, [lengths(row) for row in rows])
        return batch | {
            "score_at": batch["score_at"].reshape(len(rows), 2).T,
            "pair_labels": labels_of(rows),
        }


class SharedBeginnings(OnceEach):
    """Collates rows of `input_ids` (a beginning, then the rests of sequences that have it in common) and `parts` (the
    tokens of each of these), so that each beginning is computed once.

    `score_at` has shape (sequences,): the last token of each, row after row.
    """

    padded = False

    def __call__(self, rows: Sequence[EncodedRow]) -> Tensors:
        return _end_to_end(rows, [row["parts"] for row in rows])


def with_shared_beginning(sequences: Sequence[list[int]]) -> EncodedRow:
    """A row for `SharedBeginnings`. At least one token of each sequence is left for its own part."""
    shortest = min(map(len, sequences))
    common = next(
        (at for at in range(shortest - 1) if len({tokens[at] for tokens in sequences}) > 1), shortest - 1
    )
    rests = [tokens[common:] for tokens in sequences]
    ids = [*sequences[0][:common], *(token for rest in rests for token in rest)]
    return {"input_ids": ids, "parts": [common, *map(len, rests)]}


def _end_to_end(rows: Sequence[EncodedRow], shared: Sequence[Sequence[int]]) -> Tensors:
    """Rows of a prompt and its replies; `score_at`: the last token of each reply, row after row."""
    positions, ends, start = [], [], 0
    for prompt, *replies in shared:
        positions.append(torch.arange(prompt))
        start += prompt
        for reply in replies:
            positions.append(torch.arange(prompt, prompt + reply))
            start += reply
            ends.append(start - 1)
    return {
        "input_ids": torch.tensor([token for row in rows for token in row["input_ids"]])[None],
        "position_ids": torch.cat(positions)[None],
        "shared_prompts": shared,
        "score_at": torch.tensor(ends),
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
