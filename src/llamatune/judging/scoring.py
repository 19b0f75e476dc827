"""A reward model's scores of encoded rows, at their last tokens: for training, for its evaluation and for judges.

Where the model can do it, rows lie end to end, and a prompt is computed once for all of its replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from transformers import PreTrainedModel

from llamatune.data.rows import EncodedRow
from llamatune.forward.attention import agrees_end_to_end
from llamatune.forward.collate import Collator
from llamatune.forward.cutting import cut
from llamatune.forward.memory import free_memory, one_row_too_many, within_memory
from llamatune.forward.outputs import apply_head
from llamatune.forward.pairs import (
    SeparateReplies,
    SharedBeginnings,
    SharedPrompts,
    with_shared_beginning,
)
from llamatune.forward.sharding import is_sharded
from llamatune.forward.singles import EndToEnd, PaddedRows
from llamatune.models.heads import score_head
from llamatune.models.probing import sampling_mode, without_adapter
from llamatune.runs.status import busy

_BUDGET = 4096
"""Tokens in a forward pass without gradients; halved when memory runs out."""
_KNOWN = ("pair_labels", "scores")
"""What a batch holds for the loss, and not for the model."""


def scores_at(model: torch.nn.Module, inner: PreTrainedModel, inputs: Mapping[str, Any]) -> torch.Tensor:
    """Scores at the positions `score_at` of a collated batch, in float32 and of its shape.

    Args:
        model: what to call, possibly wrapped for several processes.
        inner: the reward model itself.
    """
    inputs = {name: value for name, value in inputs.items() if name not in _KNOWN}
    positions = inputs.pop("score_at")
    hidden = _last_hidden(model, inner, inputs).flatten(0, 1)[positions]
    return apply_head(score_head(inner), hidden)


def _last_hidden(model: torch.nn.Module, inner: PreTrainedModel, inputs: Mapping[str, Any]) -> torch.Tensor:
    """(rows, tokens, hidden) of the last layer."""
    if torch.is_grad_enabled() or is_sharded(inner):
        # What wraps the model for several processes, or spreads its weights over them, must see the call.
        outputs = model(**inputs, use_cache=False, output_hidden_states=True)
        last: torch.Tensor = outputs.hidden_states[-1]
        return last
    whole = without_adapter(inner)
    # The other layers' states need not be kept.
    last = whole.base_model(**inputs, use_cache=False).last_hidden_state
    return last


def pair_collator(model: PreTrainedModel, max_length: int) -> Collator:
    """Collates pairs with each prompt computed once where the model can do that; its attention is set to do it."""
    return SharedPrompts() if can_share_prompts(model, max_length) else SeparateReplies(_pad_id(model))


def row_collator(model: PreTrainedModel, max_length: int) -> Collator:
    """Collates single conversations, end to end where the model can do that; its attention is set to do it."""
    return EndToEnd() if can_share_prompts(model, max_length) else PaddedRows(_pad_id(model))


def _pad_id(model: PreTrainedModel) -> int:
    pad_id: int = model.config.pad_token_id
    return pad_id


def can_share_prompts(model: PreTrainedModel, max_length: int) -> bool:
    """Whether this model, asked to, computes a pair's prompt once; if so, its attention is set to do it.

    Tried on the model itself: pairs and rows that lie end to end must get the scores that each gets alone.
    """
    rows, pad_id = _sample_pairs(model), _pad_id(model)
    alone = [_tried(model, way, rows) for way in (SeparateReplies(pad_id), PaddedRows(pad_id))]
    return agrees_end_to_end(
        model, max_length, alone, lambda: [_tried(model, way, rows) for way in (SharedPrompts(), EndToEnd())]
    )


def _sample_pairs(model: PreTrainedModel) -> list[EncodedRow]:
    vocabulary = model.config.vocab_size
    return [
        {
            "input_ids": [(first * 31 + step * 17) % vocabulary for step in range(sum(pair))],
            "pair": [*pair, 0, 1, 1],
        }
        for first, pair in ((1, (4, 3, 5)), (2, (6, 5, 2)))
    ]


def _tried(model: PreTrainedModel, collate: Collator, rows: Sequence[EncodedRow]) -> torch.Tensor:
    with sampling_mode(model):
        return scores_at(model, model, send_to_device(collate(rows), model.device))


def score_rows(model: PreTrainedModel, rows: Sequence[EncodedRow]) -> np.ndarray:
    """The scores of rows, in the order given: (rows, 2), chosen and rejected, of preference pairs, else (rows,).

    Raises:
        OutOfMemoryError: memory does not hold a single row.
    """
    are_pairs = "pair" in rows[0]
    longest = max(len(row["input_ids"]) for row in rows)
    collate = (pair_collator if are_pairs else row_collator)(model, longest)
    return np.stack(_scored(model, rows, collate))


def score_groups(model: PreTrainedModel, groups: Sequence[Sequence[list[int]]]) -> list[np.ndarray]:
    """The scores of sequences of token ids, (sequences,) for each group. What all of a group begin with, such as a
    prompt, is computed once, where the model can do that.

    Raises:
        OutOfMemoryError: memory does not hold a single group.
    """
    longest = max(len(tokens) for group in groups for tokens in group)
    if max(map(len, groups)) > 1 and can_share_prompts(model, longest):
        return _scored(model, [with_shared_beginning(group) for group in groups], SharedBeginnings())
    flat = score_rows(model, [{"input_ids": tokens} for group in groups for tokens in group])
    return np.split(flat, np.cumsum([len(group) for group in groups])[:-1])


def _scored(model: PreTrainedModel, rows: Sequence[EncodedRow], collate: Collator) -> list[np.ndarray]:
    """What each row's scores are, (scores of a row,), or a single number."""
    lengths = [collate.tokens(row) for row in rows]
    found: dict[int, np.ndarray] = {}
    budget, waiting = _BUDGET, list(range(len(rows)))
    with sampling_mode(model):
        while waiting:
            first = cut([lengths[index] for index in waiting], budget, padded=collate.padded)[0]
            chosen = [waiting[position] for position in first]
            with busy("scoring replies"):
                scores = within_memory(_scores_of, model, collate([rows[index] for index in chosen]))
            if scores is None:
                if len(chosen) == 1:
                    raise one_row_too_many(lengths[chosen[0]])
                budget = max(sum(lengths[index] for index in chosen) // 2, 1)
                free_memory()
                continue
            found |= zip(
                chosen, _by_row(scores.cpu().numpy(), [rows[index] for index in chosen]), strict=True
            )
            waiting = [index for index in waiting if index not in found]
    return [found[index] for index in range(len(rows))]


def _by_row(scores: np.ndarray, rows: Sequence[EncodedRow]) -> Sequence[np.ndarray]:
    """Scores of a batch, of the shape of its `score_at`, row by row."""
    if "parts" in rows[0]:
        return np.split(scores, np.cumsum([len(row["parts"]) - 1 for row in rows])[:-1])
    return list(scores.T)


def _scores_of(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor:
    return scores_at(model, model, send_to_device(batch, model.device))
