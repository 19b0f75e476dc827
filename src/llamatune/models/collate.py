"""Rows of token ids and labels become one padded tensor batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.data.rows import IGNORED

if TYPE_CHECKING:
    import torch


class Collator:
    """Pads a micro-batch on the right.

    Rows with `seq_lengths` hold several packed documents: they get position ids that restart at each document
    and no attention mask, which is how transformers knows to keep attention inside each document.
    `trained_tokens` counts the labels collated so far, for the throughput display.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id
        self.trained_tokens = 0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        width = max(len(row["input_ids"]) for row in rows)
        input_ids = torch.full((len(rows), width), self.pad_id)
        labels = torch.full((len(rows), width), IGNORED)
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            input_ids[index, :length] = torch.tensor(row["input_ids"])
            labels[index, :length] = torch.tensor(row["labels"])
        self.trained_tokens += int((labels[:, 1:] != IGNORED).sum())
        batch = {"input_ids": input_ids, "labels": labels}
        if "seq_lengths" in rows[0]:
            return batch | {"position_ids": _document_positions([row["seq_lengths"] for row in rows], width)}
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        return batch | {"attention_mask": (torch.arange(width) < lengths[:, None]).long()}


def _document_positions(seq_lengths: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    """(rows, width): 0, 1, 2, ... inside each document; padding forms a last document of its own."""
    import torch

    positions = []
    for lengths in seq_lengths:
        padding = width - sum(lengths)
        spans = [*lengths, padding] if padding else lengths
        positions.append(torch.cat([torch.arange(length) for length in spans]))
    return torch.stack(positions)
