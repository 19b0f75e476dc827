"""Single conversations that a reward model scores at their last token."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from llamatune.data.rows import EncodedRow
from llamatune.forward.collate import OnceEach, Padded, PaddingFree, Tensors


class EndToEnd(OnceEach):
    """Collates conversations end to end; `score_at`, of shape (rows,), is the last token of each."""

    padded = False

    def __call__(self, rows: Sequence[EncodedRow]) -> Tensors:
        batch = PaddingFree()([_labelled(row) for row in rows])
        return _scored(batch, rows, (batch["cu_seq_lens_q"][1:] - 1).long())


class PaddedRows(OnceEach):
    """Collates conversations padded on the right, for models that cannot take them end to end."""

    padded = True

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[EncodedRow]) -> Tensors:
        batch = Padded(self.pad_id)([_labelled(row) for row in rows])
        width = batch["input_ids"].shape[1]
        ends = [number * width + len(row["input_ids"]) - 1 for number, row in enumerate(rows)]
        return _scored(batch, rows, torch.tensor(ends))


def _labelled(row: EncodedRow) -> EncodedRow:
    return {"input_ids": row["input_ids"], "labels": row["input_ids"]}


def _scored(batch: Tensors, rows: Sequence[EncodedRow], ends: torch.Tensor) -> Tensors:
    del batch["labels"]
    known = {"scores": torch.tensor([row["score"] for row in rows])} if "score" in rows[0] else {}
    return batch | {"score_at": ends} | known
