"""Rows of token ids and labels become one padded tensor batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.data.rows import IGNORED
from llamatune.errors import ModelError
from llamatune.models.sampling import sampling_mode

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


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


def require_isolation(model: PreTrainedModel) -> None:
    """Make sure that packed documents do not see each other in this model, whatever its attention.

    Two packed rows that differ in their first document must give the very same logits in the second.

    Raises:
        ModelError: they do not; some architectures ignore where a document begins.
    """
    import torch

    vocabulary = model.config.vocab_size
    documents = [[(first * 31 + step * 17) % vocabulary for step in range(8)] for first in (1, 2, 3)]
    rows = [
        {"input_ids": before + documents[2], "labels": before + documents[2], "seq_lengths": [8, 8]}
        for before in documents[:2]
    ]
    logits = []
    with sampling_mode(model):
        for row in rows:
            batch = {name: tensor.to(model.device) for name, tensor in Collator(pad_id=0)([row]).items()}
            del batch["labels"]
            logits.append(model(**batch, use_cache=False).logits[0, 8:].float())
    first, second = logits
    if not torch.allclose(first, second, atol=1e-4 * float(first.abs().max())):
        raise ModelError(
            "E222",
            "this model's attention crosses the boundaries of packed documents",
            place="data.packing",
            why="each document would be trained to continue its unrelated neighbour",
            hint="set `data.packing: false`",
        )


def _document_positions(seq_lengths: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    """(rows, width): 0, 1, 2, ... inside each document; padding forms a last document of its own."""
    import torch

    positions = []
    for lengths in seq_lengths:
        padding = width - sum(lengths)
        spans = [*lengths, padding] if padding else lengths
        positions.append(torch.cat([torch.arange(length) for length in spans]))
    return torch.stack(positions)
