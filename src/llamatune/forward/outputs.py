"""What is read off a forward pass: hidden states, values and logits at chosen positions; log-probabilities, entropies.

The logits at a position already predict the token of the same position: the caller has shifted them. Whole
distributions are large (a thousand tokens of Llama 3: half a gigabyte in float32), so they exist for a piece of the
batch at a time and are computed again in the backward pass, instead of being kept for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from llamatune.forward.cutting import POSITIONS
from llamatune.models.heads import score_head
from llamatune.models.probing import without_adapter

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
    """(..., hidden) to (...) in float32, whatever autocast says: in 16 bits, scores that are close would be equal."""
    with torch.autocast(hidden.device.type, enabled=False):
        values: torch.Tensor = head(hidden.to(next(head.parameters()).dtype))[..., 0]
    return values.float()


def token_logprobs(logits: torch.Tensor, tokens: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """(...): log softmax(logits / temperature) at `tokens`, in float32.

    Args:
        logits: (..., vocab), of any floating type.
        tokens: (...), each in the vocabulary; padding is any token, and is masked later.
    """
    return _in_pieces(partial(_logprobs, temperature=temperature), logits, tokens)


def logprobs_and_entropies(
    logits: torch.Tensor, tokens: torch.Tensor, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """`token_logprobs`, and the entropies of softmax(logits / temperature) in nats: (...) each, in float32 and both
    with gradients, for one pass over the logits."""
    both = _in_pieces(partial(_logprobs_and_entropies, temperature=temperature), logits, tokens)
    return both[..., 0], both[..., 1]


def _in_pieces(
    function: Callable[..., torch.Tensor], logits: torch.Tensor, *others: torch.Tensor
) -> torch.Tensor:
    """`function` of a few rows of each tensor at a time; keeps its inputs only for the backward pass."""
    single = logits.dim() == 1
    if single:
        logits, others = logits[None], tuple(other[None] for other in others)
    rows = max(1, POSITIONS // max(1, logits.shape[1:-1].numel()))
    pieces = zip(*(torch.split(tensor, rows) for tensor in (logits, *others)), strict=True)
    found = torch.cat(
        [checkpoint(function, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    )
    return found[0] if single else found


def _logprobs(logits: torch.Tensor, tokens: torch.Tensor, *, temperature: float) -> torch.Tensor:
    scaled = logits.float() / temperature
    return _at(scaled, tokens) - scaled.logsumexp(-1)


def _logprobs_and_entropies(
    logits: torch.Tensor, tokens: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(..., 2)."""
    scaled = logits.float() / temperature
    total = scaled.logsumexp(-1)
    return torch.stack([_at(scaled, tokens) - total, _entropy(scaled, total)], dim=-1)


def _at(scaled: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return scaled.gather(-1, tokens[..., None]).squeeze(-1)


def _entropy(scaled: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """-sum p log p, from scaled logits (..., vocab) and their logsumexp (...)."""
    # Finite, so that an impossible token (logit -inf) gives 0 x a large number and not 0 x inf.
    logprobs = (scaled - total[..., None]).clamp(min=torch.finfo(scaled.dtype).min)
    return -(logprobs.exp() * logprobs).sum(-1)
