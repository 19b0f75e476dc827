"""Scores from a reward model: for training, for its evaluation, and for whoever needs a reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from transformers import PreTrainedModel

from llamatune.models.memory import free_memory, one_row_too_many, ran_out_of_memory
from llamatune.models.reward_model import score_head
from llamatune.models.sampling import sampling_mode
from llamatune.training.attention import NAME, equal
from llamatune.training.batches import cut
from llamatune.training.pairs import SeparateReplies, SharedPrompts

_BUDGET = 4096


def scores_at(model: torch.nn.Module, inner: PreTrainedModel, inputs: Mapping[str, Any]) -> torch.Tensor:
    """Scores at the positions `score_at` of a collated batch, in float32 and of its shape.

    Args:
        model: what to call, possibly wrapped for several processes.
        inner: the reward model itself.
    """
    inputs = {name: value for name, value in inputs.items() if name != "pair_labels"}
    positions = inputs.pop("score_at")
    outputs = model(**inputs, use_cache=False, output_hidden_states=True)
    hidden = outputs.hidden_states[-1].flatten(0, 1)[positions]
    head = score_head(inner)
    scores: torch.Tensor = head(hidden)[..., 0]
    return scores.float()


def can_share_prompts(model: PreTrainedModel, max_length: int) -> bool:
    """Whether this model, asked to, computes a pair's prompt once; if so, its attention is set to do it.

    Tried on the model itself: two small pairs must get the scores that their replies get alone.
    """
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    window = getattr(inner.config, "sliding_window", None)
    if window is not None and window < max_length:
        return False
    before = inner.config._attn_implementation
    inner.set_attn_implementation(NAME)
    vocabulary = model.config.vocab_size
    rows = [
        {"input_ids": [(first * 31 + step * 17) % vocabulary for step in range(sum(pair))], "pair": [*pair, 0, 1, 1]}
        for first, pair in ((1, (4, 3, 5)), (2, (6, 5, 2)))
    ]
    with sampling_mode(model):
        together, alone = (
            scores_at(model, model, send_to_device(collate(rows), model.device))
            for collate in (SharedPrompts(), SeparateReplies(pad_id=model.config.pad_token_id))
        )
    if equal(together, alone, model):
        return True
    inner.set_attn_implementation(before)
    return False


def score_pairs(model: PreTrainedModel, rows: Sequence[Mapping[str, Any]], *, pad_id: int) -> np.ndarray:
    """(pairs, 2): the scores of the chosen and the rejected reply of each row, in the order given.

    Raises:
        OutOfMemoryError: memory does not hold a single pair.
    """
    shared = can_share_prompts(model, max(len(row["input_ids"]) for row in rows))
    collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]
    collate = SharedPrompts() if shared else SeparateReplies(pad_id)
    scores = np.empty((len(rows), 2), dtype=np.float32)
    lengths = [len(row["input_ids"]) for row in rows]
    budget = _BUDGET
    waiting = list(range(len(rows)))
    with sampling_mode(model):
        while waiting:
            first = cut([lengths[index] for index in waiting], budget, padded=not shared)[0]
            chosen = [waiting[position] for position in first]
            found = _within_memory(model, collate([rows[index] for index in chosen]))
            if found is None:
                if len(chosen) == 1:
                    raise one_row_too_many(lengths[chosen[0]])
                budget = max(sum(lengths[index] for index in chosen) // 2, 1)
                free_memory()
                continue
            scores[chosen] = found.T.cpu().numpy()
            done = set(chosen)
            waiting = [index for index in waiting if index not in done]
    return scores


def _within_memory(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor | None:
    try:
        return scores_at(model, model, send_to_device(batch, model.device))
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    return None
