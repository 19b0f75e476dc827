"""The scalar head of a reward model (paper, section 3.2.2).

A reward model is a chat model whose output layer is replaced by one number at the last token. That is just what
transformers' sequence classification with a single label is, so anybody can load what llamatune saves. The head is
drawn here, from the recipe's seed: left to the libraries, it would be different in each process, and missing
from an adapter.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from llamatune.models.base import HEAD
from llamatune.models.probing import without_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def draw_head(model: PreTrainedModel, seed: int) -> None:
    """Draw the head's weights: normal with deviation 1 / sqrt(hidden + 1), so that first scores are small."""
    weight: torch.Tensor = getattr(model, HEAD).weight
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(weight.shape, generator=generator) / (weight.shape[1] + 1) ** 0.5
    with torch.no_grad():
        weight.copy_(drawn)


def hold_in_float32(model: PreTrainedModel) -> None:
    """Hold the head's weights in float32, so that an adapter's head is what its file says, and let it accept the
    output of a model of any precision."""

    def to_its_own(head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(hidden.to(next(head.parameters()).dtype) for hidden in inputs)

    head = getattr(model, HEAD).float()
    head.register_forward_pre_hook(to_its_own)


def set_padding(model: PreTrainedModel, pad_id: int) -> None:
    """Scoring of padded batches looks for the last token that is not this one; it is never the end token."""
    model.config.pad_token_id = pad_id


def score_head(model: PreTrainedModel) -> torch.nn.Module:
    """The head, also inside an adapter."""
    head: torch.nn.Module = getattr(without_adapter(model), HEAD)
    return head


def value_model_of(policy: PreTrainedModel) -> PreTrainedModel:
    """A critic with a copy of the policy's layers and a head of zeros: every state is worth 0 at first."""
    config = copy.deepcopy(policy.config)
    config.num_labels = 1
    from transformers import AutoModelForSequenceClassification

    critic = AutoModelForSequenceClassification.from_config(
        config, dtype=policy.dtype, attn_implementation=policy.config._attn_implementation
    )
    critic.base_model.load_state_dict(policy.base_model.state_dict())
    nn.init.zeros_(getattr(critic, HEAD).weight)
    return critic.to(policy.device)


def zero_head(model: PreTrainedModel) -> nn.Linear:
    """hidden -> 1, zeros, on the model's device."""
    head = nn.Linear(model.config.get_text_config().hidden_size, 1, bias=False, device=model.device)
    nn.init.zeros_(head.weight)
    return head
