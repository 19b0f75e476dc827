"""Rows of token ids and labels become the tensors of one micro-batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from llamatune.data.rows import IGNORED

Tensors = dict[str, Any]


class Collator(Protocol):
    """Makes one forward pass of several rows."""

    padded: bool
    """Whether rows are padded to the longest."""

    def tokens(self, row: Mapping[str, Any]) -> int:
        """What a row adds to the forward pass, padding left out."""
        ...

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Tensors: ...


class OnceEach:
    """Collators that put each token of a row into the forward pass once."""

    def tokens(self, row: Mapping[str, Any]) -> int:
        return len(row["input_ids"])


class PaddingFree(OnceEach):
    """Lays rows end to end in a single one, so that no position is padding.

    Each document (a row, or each of `seq_lengths` in a packed one) starts at position 0 and sees only itself:
    attention is told where documents begin (`cu_seq_lens_q`, the cumulative lengths, and their maximum).
    """

    padded = False

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Tensors:
        lengths = [length for row in rows for length in document_lengths(row)]
        starts = torch.tensor([0, *lengths]).cumsum(0)
        labels = torch.tensor([label for row in rows for label in row["labels"]])
        labels[starts[:-1]] = IGNORED  # the first token of a document is predicted from nothing
        boundaries = starts.to(torch.int32)
        return {
            "input_ids": torch.tensor([token for row in rows for token in row["input_ids"]])[None],
            "labels": labels[None],
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "cu_seq_lens_q": boundaries,
            "cu_seq_lens_k": boundaries,
            "max_length_q": max(lengths),
            "max_length_k": max(lengths),
        }


class Padded(OnceEach):
    """Pads rows on the right to the longest: for models whose attention cannot be told where documents begin.

    Packed rows get position ids that restart at each document and no attention mask, which is how transformers
    knows to keep attention inside each document.
    """

    padded = True

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Tensors:
        width = max(len(row["input_ids"]) for row in rows)
        input_ids = torch.full((len(rows), width), self.pad_id)
        labels = torch.full((len(rows), width), IGNORED)
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            input_ids[index, :length] = torch.tensor(row["input_ids"])
            labels[index, :length] = torch.tensor(row["labels"])
        batch = {"input_ids": input_ids, "labels": labels}
        if "seq_lengths" in rows[0]:
            return batch | {"position_ids": _document_positions([row["seq_lengths"] for row in rows], width)}
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        return batch | {"attention_mask": (torch.arange(width) < lengths[:, None]).long()}


def document_lengths(row: Mapping[str, Any]) -> list[int]:
    """Tokens of each document in a row; an unpacked row is one document."""
    return row["seq_lengths"] if "seq_lengths" in row else [len(row["input_ids"])]


def trained_tokens(row: Mapping[str, Any]) -> int:
    """Tokens of a row that have a label to learn: never the first of a document."""
    labels: list[int] = row["labels"]
    count = len(labels) - labels.count(IGNORED)
    start = 0
    for length in document_lengths(row):
        count -= labels[start] != IGNORED
        start += length
    return count


def _document_positions(seq_lengths: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    """(rows, width): 0, 1, 2, ... inside each document; padding forms a last document of its own."""
    positions = []
    for lengths in seq_lengths:
        padding = width - sum(lengths)
        spans = [*lengths, padding] if padding else lengths
        positions.append(torch.cat([torch.arange(length) for length in spans]))
    return torch.stack(positions)
