"""Attention over rows that lie end to end, each seeing only itself.

Registered with transformers under a name of its own, through the documented interface for attention functions.
With the boundaries of `PaddingFree` it runs torch's variable-length flash kernel (16 bits on a GPU) or one causal
product for each document (elsewhere: on a CPU this was faster than any mask); without them, as in sampling and
scoring, it is transformers' own scaled dot-product attention. Where flash-attention is installed, that is used
instead, and understands the same boundaries.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from llamatune.data.rows import EncodedRow
from llamatune.errors import ModelError
from llamatune.forward.collate import Padded, PaddingFree
from llamatune.forward.memory import ran_out_of_memory
from llamatune.models.probing import sampling_mode, without_adapter

NAME = "llamatune_documents"

_MORE = ("softcap", "s_aux")
"""What some architectures do with scores in addition, and ours does not: cap them (Gemma 2), add a sink (gpt-oss)."""

_sdpa = AttentionInterface()["sdpa"]
_sdpa_mask = AttentionMaskInterface()["sdpa"]


def document_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    shared_prompts: Sequence[Sequence[int]] | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """(1, heads, tokens, size) queries and (1, key heads, tokens, size) keys and values -> (1, tokens, heads, size).

    `cu_seq_lens_q`: where each document begins, and the end. `shared_prompts`: of each prompt with its replies, the
    tokens of the prompt and of each reply. Without either, plain attention.
    """
    if more := [name for name in _MORE if others.get(name) is not None]:
        raise ValueError(f"attention with {', '.join(more)} cannot be computed here")
    if shared_prompts is not None:
        return _replies(query, key, value, shared_prompts, scaling, dropout), None
    if cu_seq_lens_q is None:
        plain: tuple[torch.Tensor, None] = _sdpa(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **others
        )
        return plain
    if query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and not dropout:
        return _flash(query, key, value, cu_seq_lens_q, max_length_q, scaling), None
    lengths = cu_seq_lens_q.diff().tolist()
    parts = (torch.split(part, lengths, 2) for part in (query, key, value))
    documents = [
        scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=True
        )
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(documents, 2).transpose(1, 2), None


def _replies(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    shared: Sequence[Sequence[int]],
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """A prompt and its first reply are one document; each further reply sees the prompt and itself."""
    outputs = []
    tokens = [sum(parts) for parts in shared]
    split = (torch.split(part, tokens, 2) for part in (query, key, value))
    for (prompt, reply, *others), q, k, v in zip(shared, *split, strict=True):
        first = prompt + reply
        common: dict[str, Any] = {"scale": scaling, "dropout_p": dropout, "enable_gqa": True}
        outputs.append(
            scaled_dot_product_attention(
                q[:, :, :first], k[:, :, :first], v[:, :, :first], is_causal=True, **common
            )
        )
        if others:
            reply_of = torch.repeat_interleave(torch.tensor(others))
            sees = torch.ones(sum(others), prompt + sum(others), dtype=torch.bool).tril(prompt)
            sees[:, prompt:] &= reply_of[:, None] == reply_of
            sees = sees.to(q.device)
            k, v = (torch.cat([part[:, :, :prompt], part[:, :, first:]], 2) for part in (k, v))
            outputs.append(scaled_dot_product_attention(q[:, :, first:], k, v, attn_mask=sees, **common))
    return torch.cat(outputs, 2).transpose(1, 2)


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    boundaries: torch.Tensor,
    longest: int | None,
    scaling: float | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    assert longest is not None
    output = varlen_attn(
        query,
        key,
        value,
        boundaries,
        boundaries,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=True,
    )
    assert isinstance(output, torch.Tensor)
    return output[None]


def _mask(*args: Any, attention_mask: torch.Tensor | None = None, **others: Any) -> torch.Tensor | None:
    """No mask where documents are told apart by their boundaries: a row of them has no padding."""
    whole = others.get("q_length") == others.get("kv_length")
    if attention_mask is None and whole:
        return None
    mask: torch.Tensor | None = _sdpa_mask(*args, attention_mask=attention_mask, **others)
    return mask


AttentionInterface.register(NAME, document_attention)
AttentionMaskInterface.register(NAME, _mask)


def can_be_padding_free(model: PreTrainedModel, max_length: int) -> bool:
    """Whether this model can keep apart rows that lie end to end; if so, its attention is set to do it.

    Tried on the model itself: two rows end to end must give the logits that each gives alone, in the attention that
    the model came with.
    """
    inner = without_adapter(model)
    if "logits_to_keep" not in inspect.signature(inner.forward).parameters:
        return False
    rows = _sample_rows(model)
    alone = torch.cat([_logits(model, Padded(pad_id=0)([row]))[0] for row in rows])
    # Flash attention of any version keeps documents apart by itself.
    own = inner.config._attn_implementation.startswith("flash_attention")
    return agrees_end_to_end(
        model,
        max_length,
        [alone],
        lambda: [_logits(model, PaddingFree()(rows))[0]],
        attention=inner.config._attn_implementation if own else NAME,
    )


def agrees_end_to_end(
    model: PreTrainedModel,
    max_length: int,
    alone: Sequence[torch.Tensor],
    together: Callable[[], Sequence[torch.Tensor]],
    *,
    attention: str = NAME,
) -> bool:
    """Whether rows of up to `max_length` tokens that lie end to end give what they give `alone`.

    If so, the model's attention stays set to `attention`; if not, it is as before. Some architectures ignore where a
    document begins, some do more in their attention than ours does, and a sliding window shorter than a row would need
    a mask.
    """
    inner = without_adapter(model)
    window = getattr(inner.config, "sliding_window", None)
    if window and window < max_length:  # some say 0 where they have none
        return False
    before = inner.config._attn_implementation
    try:
        if attention != before:
            inner.set_attn_implementation(attention)
        if all(_equal(one, other, model) for one, other in zip(together(), alone, strict=True)):
            return True
    except (TypeError, ValueError, RuntimeError) as error:  # whatever a foreign architecture makes of it
        if ran_out_of_memory(error):
            raise
    inner.set_attn_implementation(before)
    return False


def _sample_rows(model: PreTrainedModel) -> list[EncodedRow]:
    vocabulary = model.config.vocab_size
    return [
        {"input_ids": tokens, "labels": tokens}
        for tokens in (
            [(first * 31 + step * 17) % vocabulary for step in range(length)]
            for first, length in ((1, 5), (2, 9))
        )
    ]


def _logits(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor:
    batch = {name: part.to(model.device) if torch.is_tensor(part) else part for name, part in batch.items()}
    del batch["labels"]
    with sampling_mode(model):
        logits: torch.Tensor = model(**batch, use_cache=False).logits
    return logits.float()


def _equal(one: torch.Tensor, other: torch.Tensor, model: PreTrainedModel) -> bool:
    """Whether two ways of computing gave the same: leakage changes results by far more than this tolerates, 16-bit
    kernels by less. A model that gives nothing but NaN is left for the training to report."""
    tolerance = 1e-4 if model.dtype == torch.float32 else 5e-2
    scale = float(other.nan_to_num().abs().max())
    return torch.allclose(one, other, atol=tolerance * scale, equal_nan=True)


def require_isolation(model: PreTrainedModel) -> None:
    """Make sure that packed documents do not see each other in padded batches of this model.

    Two packed rows that differ in their first document must give the very same logits in the second.

    Raises:
        ModelError: they do not; some architectures ignore where a document begins.
    """
    vocabulary = model.config.vocab_size
    documents = [[(first * 31 + step * 17) % vocabulary for step in range(8)] for first in (1, 2, 3)]
    first, second = (
        _logits(model, Padded(pad_id=0)([{"input_ids": row, "labels": row, "seq_lengths": [8, 8]}]))[0, 8:]
        for row in (before + documents[2] for before in documents[:2])
    )
    if not _equal(first, second, model):
        raise ModelError(
            "E222",
            "this model's attention crosses the boundaries of packed documents",
            place="data.packing",
            why="each document would be trained to continue its unrelated neighbour",
            hint="set `data.packing: false`",
        )
