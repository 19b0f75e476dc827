"""What is read off a forward pass: logits, hidden states and values at chosen positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from llamatune.models.heads import score_head
from llamatune.models.inner import without_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def logits_at(
    model: PreTrainedModel, inputs: Mapping[str, Any], positions: torch.Tensor, *, padding_free: bool
) -> torch.Tensor:
    """(tokens, vocabulary) at flat positions; where rows lie end to end, no other logits are computed."""
    if padding_free:
        logits: torch.Tensor = model(**inputs, use_cache=False, logits_to_keep=positions).logits[0]
        return logits
    whole: torch.Tensor = model(**inputs, use_cache=False).logits.flatten(0, 1)
    return whole[positions]


def hidden_at(model: PreTrainedModel, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
    """(tokens, hidden) of the last layer."""
    hidden: torch.Tensor = model.base_model(**inputs, use_cache=False).last_hidden_state
    return hidden.flatten(0, 1)[positions]


def values_at(critic: PreTrainedModel, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
    """(tokens,) in float32. The critic may carry an adapter."""
    return apply_head(score_head(critic), hidden_at(without_adapter(critic), inputs, positions))


def apply_head(head: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    with torch.autocast(hidden.device.type, enabled=False):
        values: torch.Tensor = head(hidden.to(next(head.parameters()).dtype))[..., 0]
    return values.float()
