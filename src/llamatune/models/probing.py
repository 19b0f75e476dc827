"""Look at a model without changing it: what is inside its adapter, its logits for fixed tokens, and the mode that such
looks are made in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def without_adapter(model: Any) -> Any:
    """The base model inside an adapter, with the adapter's layers in place; a model without an adapter as it is."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def probe_logits(model: PreTrainedModel) -> torch.Tensor:
    """(2, 16, vocabulary): logits for fixed token ids, in float32."""
    import torch

    vocabulary = model.config.vocab_size
    tokens = (torch.arange(32) * 7919 % vocabulary).reshape(2, 16).to(model.device)
    with sampling_mode(model):
        logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits.float().cpu()


def sees_ahead(model: PreTrainedModel) -> bool:
    """Whether what a model says of a token depends on later ones, as in an encoder; False for a reward model, which
    says one thing of a whole text."""
    import torch

    tokens = torch.arange(1, 9) * 7919 % model.config.vocab_size
    other = torch.cat([tokens[:6], tokens[:2]])
    with sampling_mode(model):
        one, two = (
            model(input_ids=row[None].to(model.device), use_cache=False).logits.float()
            for row in (tokens, other)
        )
    if one.shape[1] != len(tokens):
        return False
    return not torch.allclose(
        one[:, :6], two[:, :6], atol=1e-3 * float(one.nan_to_num().abs().max()), equal_nan=True
    )


@contextmanager
def sampling_mode(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without gradients, and back. Flash-attention, which has no float32, computes in 16 bits."""
    import torch

    was_training = model.training
    needs_half = model.dtype == torch.float32 and model.config._attn_implementation.startswith(
        "flash_attention"
    )
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16, enabled=needs_half):
            yield
    finally:
        model.train(was_training)
