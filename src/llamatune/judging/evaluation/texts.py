"""How well models predict texts: perplexity by token, and bits per byte, which models of any tokenizer share.

A text is read in windows of `max_length` tokens, end to end, each after the token that begins texts (BOS, or EOS where
there is none), which is not predicted. The reply that a row has is read whole, after its prompt, in the model's own
chat format, and predicted up to the token that ends it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from llamatune.data.encode.control_tokens import TextTokens
from llamatune.data.rows import IGNORED, Conversation, Message
from llamatune.errors import DataError
from llamatune.forward.outputs import token_logprobs
from llamatune.judging.evaluation.estimates import Estimate, ratio
from llamatune.models.probing import sampling_mode
from llamatune.runs.shards import InParts, Part
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import cannot

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llamatune.data.encode.chat import ChatFormat
    from llamatune.sampling.policy import Policy

PREDICTED = "predicted"
"""The folder of a run that holds how well models predict texts."""
_MOST_NATS = 709.0
"""Whose exponential a float still holds."""
_TEXTS = 16
"""Of a part."""


@dataclass(frozen=True)
class Passage:
    """What is predicted of a text: windows of (tokens that are only read, tokens that are predicted), and how many
    bytes these are. `name` is a digest of the windows."""

    windows: Sequence[tuple[list[int], list[int]]]
    size: int

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps(self.windows).encode()).hexdigest()

    @property
    def longest(self) -> int:
        """Tokens of the longest window."""
        return max(len(before) + len(wanted) for before, wanted in self.windows)


def text_passage(text: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Passage:
    """A text in windows of `max_length` tokens, the first one of each included."""
    begins = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    ids, room = TextTokens(tokenizer).plain(text), max_length - 1
    return Passage([([int(begins)], ids[at : at + room]) for at in range(0, len(ids), room)], _size(text))


def reply_passage(prompt: Sequence[Message], reply: str, chat: ChatFormat) -> Passage:
    """A reply after its prompt, as a row of training has it."""
    asked = [replace(one, train=False) if one.role == "assistant" else one for one in prompt]
    [row] = chat.encode(Conversation((*asked, Message("assistant", reply)), "reply"))
    trained = [number for number, label in enumerate(row.labels) if label != IGNORED]
    first, last = trained[0], trained[-1] + 1
    return Passage([(row.input_ids[:first], row.input_ids[first:last])], _size(reply))


class TextScores(InParts[list[Passage]]):
    """What a model thinks of texts: records {text, nats, tokens, bytes}, a passage each; nats and tokens by window.

    Args:
        folder: holds those of all models.
        passages: none empty.

    Raises:
        ModelError: E240, the policy's backend only samples.
        DataError: E147, while they are made: a model that gives a text no finite number.
    """

    def __init__(self, folder: Path, policy: Policy, passages: Sequence[Passage]) -> None:
        if not isinstance(policy.sampler, GenerateSampler):
            raise cannot(
                "vllm",
                "and `data.texts` and `perplexity` need a model's probabilities",
                hint="`sampling.backend=generate`, or evaluate without them",
            )
        self.model: PreTrainedModel = policy.sampler.model
        self.tokenizer = policy.chat.tokenizer
        different = list({one.name: one for one in passages}.values())
        blocks = [different[at : at + _TEXTS] for at in range(0, len(different), _TEXTS)]
        super().__init__(
            folder,
            {"policy": policy.digest},
            {Part.of([one.name for one in block]): block for block in blocks},
        )

    def _made(self, part: Part, block: list[Passage]) -> Iterator[dict[str, Any]]:
        for one in block:
            nats = [self._nats(*window) for window in one.windows]
            if not all(map(math.isfinite, nats)):
                raise self._not_finite(one, nats)
            yield {
                "text": one.name,
                "nats": nats,
                "tokens": [len(wanted) for _, wanted in one.windows],
                "bytes": one.size,
            }

    def _not_finite(self, one: Passage, nats: Sequence[float]) -> DataError:
        at = next(at for at, value in enumerate(nats) if not math.isfinite(value))
        begins = self.tokenizer.decode(one.windows[at][1][:20])
        return DataError(
            "E147",
            f"the model's log-probability of a text is {-nats[at]}",
            place=f"window {at + 1} of {len(nats)}, which begins {begins!r}",
            why="perplexity would be no number; replies and what was predicted so far are kept",
            hint="`model.dtype=float32` where half precision overflows; a model that computes no numbers there either "
            "is broken, and can be evaluated without `perplexity` and `data.texts`",
        )

    def _nats(self, before: list[int], wanted: list[int]) -> float:
        """-log P of the tokens that are wanted."""
        read = torch.tensor([[*before, *wanted]], device=self.model.device)
        with sampling_mode(self.model):
            logits = self.model(input_ids=read, use_cache=False).logits[0, len(before) - 1 : -1]
            return float(-token_logprobs(logits, read[0, len(before) :]).double().sum())


def predicted(records: Sequence[dict[str, Any]], *, times: int, seed: int) -> dict[str, Estimate]:
    """`perplexity` and `bits per byte`, with intervals by window: a long text is many. Of a text's bytes, each window
    has as large a part as of its tokens. A perplexity that no float holds is the largest one: JSON has no infinity."""
    nats = [nats for one in records for nats in one["nats"]]
    tokens = [tokens for one in records for tokens in one["tokens"]]
    sizes = [one["bytes"] * tokens / sum(one["tokens"]) for one in records for tokens in one["tokens"]]
    by_token = ratio(nats, tokens, times=times, seed=seed)
    by_byte = ratio(nats, sizes, times=times, seed=seed)
    assert by_token is not None and by_byte is not None
    return {
        "perplexity": _changed(by_token, lambda nats: math.exp(min(nats, _MOST_NATS))),
        "bits per byte": _changed(by_byte, lambda nats: nats / math.log(2)),
    }


def _changed(one: Estimate, unit: Callable[[float], float]) -> Estimate:
    """In another unit."""
    return Estimate(unit(one.value), unit(one.low), unit(one.high), one.of)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
