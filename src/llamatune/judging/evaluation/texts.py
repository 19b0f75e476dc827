"""How well models predict texts: perplexity by token, and bits per byte, which models of any tokenizer share.

A text is read in windows of `max_length` tokens, end to end, each after the token that begins texts (BOS, or EOS where
there is none), which is not predicted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from llamatune.data.encode.control_tokens import TextTokens
from llamatune.forward.outputs import token_logprobs
from llamatune.judging.evaluation.estimates import Estimate, ratio
from llamatune.models.probing import sampling_mode
from llamatune.runs.shards import InParts, Part
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import cannot

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llamatune.sampling.policy import Policy

PREDICTED = "predicted"
"""The folder of a run that holds how well models predict texts."""
_TEXTS = 16
"""Of a part."""


class TextScores(InParts[list[str]]):
    """What a model thinks of texts: records {text, nats, tokens, bytes}, a text each; nats and tokens by window.

    Args:
        folder: holds those of all models.
        texts: none empty.
        max_length: most tokens of a window, the first one included.

    Raises:
        ModelError: E240, the policy's backend only samples.
    """

    def __init__(self, folder: Path, policy: Policy, texts: Sequence[str], max_length: int) -> None:
        if not isinstance(policy.sampler, GenerateSampler):
            raise cannot(
                "vllm",
                "and `data.texts` needs a model's probabilities",
                hint="`sampling.backend=generate`, or evaluate without `data.texts`",
            )
        self.model: PreTrainedModel = policy.sampler.model
        self.tokens = TextTokens(policy.chat.tokenizer)
        tokenizer = policy.chat.tokenizer
        begins = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        self.begins = int(begins)
        self.room = max_length - 1
        key = {"policy": policy.digest, "template": policy.chat.fingerprint, "max_length": max_length}
        different = list(dict.fromkeys(texts))
        blocks = [different[at : at + _TEXTS] for at in range(0, len(different), _TEXTS)]
        super().__init__(folder, key, {_part(block): block for block in blocks})

    def _made(self, part: Part, block: list[str]) -> Iterator[dict[str, Any]]:
        for text in block:
            ids = self.tokens.plain(text)
            windows = [ids[at : at + self.room] for at in range(0, len(ids), self.room)]
            yield {
                "text": _digest(text),
                "nats": [self._nats([self.begins, *window]) for window in windows],
                "tokens": list(map(len, windows)),
                "bytes": len(text.encode("utf-8", "replace")),
            }

    def _nats(self, ids: list[int]) -> float:
        """-log P of all but the first of these tokens."""
        read = torch.tensor([ids], device=self.model.device)
        with sampling_mode(self.model):
            logits = self.model(input_ids=read, use_cache=False).logits[0, :-1]
            return float(-token_logprobs(logits, read[0, 1:]).double().sum())


def predicted(records: Sequence[dict[str, Any]], *, times: int, seed: int) -> dict[str, Estimate]:
    """`perplexity` and `bits per byte`, with intervals by window: a long text is many. Of a text's bytes, each window
    has as large a part as of its tokens."""
    nats = [nats for one in records for nats in one["nats"]]
    tokens = [tokens for one in records for tokens in one["tokens"]]
    sizes = [one["bytes"] * tokens / sum(one["tokens"]) for one in records for tokens in one["tokens"]]
    by_token = ratio(nats, tokens, times=times, seed=seed)
    by_byte = ratio(nats, sizes, times=times, seed=seed)
    assert by_token is not None and by_byte is not None
    return {
        "perplexity": _changed(by_token, math.exp),
        "bits per byte": _changed(by_byte, lambda nats: nats / math.log(2)),
    }


def _changed(one: Estimate, unit: Callable[[float], float]) -> Estimate:
    """In another unit."""
    return Estimate(unit(one.value), unit(one.low), unit(one.high), one.of)


def _part(block: Sequence[str]) -> Part:
    """A part's name says which texts."""
    names = "\n".join(map(_digest, block))
    return Part(hashlib.sha256(names.encode()).hexdigest()[:32], len(block))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
