"""Next-token prediction mixed into the policy's updates: PPO-ptx (Ouyang et al. 2022, equation 2).

The policy maximises its PPO objective plus `ptx_coef` times the log-likelihood of the pretraining distribution, so
that it forgets less of what it knew. Here the log-likelihood is the mean over the trained tokens of a step's whole
batch, at temperature 1: how the batch is cut, or dealt out to processes, changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.documents import TextEncoder
from llamatune.data.formats.values import checked_text, wrong_type
from llamatune.data.rows import IGNORED, Conversation, Document, Encoded
from llamatune.errors import DataError, ModelError
from llamatune.forward import processes
from llamatune.forward.outputs import token_logprobs
from llamatune.forward.rollouts import Rollout, collate
from llamatune.ppo.checks import context_of
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.roles.passes import Passes
from llamatune.sampling.prompts import Order, are_messages, messages_of
from llamatune.sampling.sampler import seed_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_COLUMNS = ("input_ids", "messages", "text")


@dataclass(frozen=True)
class MixRow:
    """A row in the shape of a rollout, whose completion begins at the first trained token; and its labels."""

    rollout: Rollout
    labels: list[int]

    @property
    def trained(self) -> int:
        return sum(label != IGNORED for label in self.labels)


class PretrainingMix:
    """Documents or conversations, and their part in the policy's gradients.

    Args:
        dataset: a column `input_ids`, with `labels` (-100 is not trained) or without; or `messages`, of which the
            answers are trained as `chat` says; or `text`, which gets its begin and end tokens.
        max_length: the model's context; None if it has no limit.
        seed: with the number of a step, decides which rows it takes.

    Raises:
        LlamatuneError: a row that cannot be trained on; all of them are checked.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        chat: ChatFormat | None,
        *,
        batch_size: int,
        max_length: int | None,
        seed: int,
    ) -> None:
        if not len(dataset):
            raise DataError("E132", "`ptx_dataset` has no row")
        column = next((name for name in _COLUMNS if name in dataset.column_names), None)
        if column is None:
            raise DataError(
                "E120",
                f"`ptx_dataset` has columns {', '.join(dataset.column_names)}, and none of {', '.join(_COLUMNS)}",
                hint="rename the column that holds the documents to `text`, or conversations to `messages`",
            )
        if column == "messages" and chat is None:
            raise DataError(
                "E120",
                "`ptx_dataset` holds conversations, and the tokenizer has no chat template",
                hint="set `tokenizer.chat_template`, or give documents in a column `text`",
            )
        self.dataset = dataset
        self.column = column
        self.chat = chat
        self.documents = TextEncoder(tokenizer, max_length=1 << 30)
        self.batch_size = batch_size
        self.max_length = max_length
        self._order = Order(len(dataset), seed)
        for row in range(len(dataset)):
            self.sample(row)

    def batch(self, step: int) -> list[MixRow]:
        """The rows of an optimizer step, by its number alone."""
        return [self.sample(row) for row in self._order.rows_of(step, self.batch_size)]

    def sample(self, row: int) -> MixRow:
        """Raises DataError for a row without a trained token, ModelError for one longer than the context."""
        place = f"ptx_dataset row {row}"
        encoded = self._encode(self.dataset[row], place)
        ids, labels = encoded.input_ids, encoded.labels
        if self.max_length is not None and len(ids) > self.max_length:
            raise ModelError(
                "E221",
                f"a row of {len(ids):,} tokens is longer than the model's context of {self.max_length:,}",
                place=place,
                hint="split such documents, or leave them out",
            )
        # The first token is predicted from nothing.
        first = next((n for n in range(1, len(ids)) if labels[n] != IGNORED), None)
        if first is None:
            raise DataError("E213", "no token of this row is trained", place=place, hint="leave it out")
        return MixRow(Rollout(row, ids[:first], ids[first:], ended=True), labels[first:])

    def _encode(self, row: Mapping[str, Any], place: str) -> Encoded:
        if self.column == "text":
            text = checked_text(row["text"], "column 'text'", place)
            return next(self.documents.encode(Document(text, place)))
        if self.column == "messages":
            assert self.chat is not None
            if not are_messages(row["messages"]):
                raise wrong_type("column 'messages'", row["messages"], place, "a list of {role, content}")
            return next(self.chat.encode(Conversation(tuple(messages_of(row["messages"])), place)))
        if row["input_ids"] is None:
            raise wrong_type("column 'input_ids'", None, place, "a list of tokens")
        ids = list(row["input_ids"])
        labels = ids if row.get("labels") is None else list(row["labels"])
        if len(labels) != len(ids):
            raise DataError("E123", f"{len(ids)} `input_ids` and {len(labels)} `labels`", place=place)
        return Encoded(ids, labels)

    def add_gradients(
        self, step: int, passes: Passes, coefficient: float, again: Callable[[], object]
    ) -> float:
        """Add a step's gradients to those of the policy; returns this process's part of the loss.

        Args:
            coefficient: the weight of the loss.
            again: makes the step's other gradients once more, after memory ran out and all of them were dropped.
        """
        batch = self.batch(step)
        tokens = sum(sample.trained for sample in batch)
        own = processes.own_share([sample.rollout.length for sample in batch], passes.accelerator)
        mine = [batch[number] for number in own]

        def start_again() -> None:
            passes.roles.zero_grad()
            again()

        def backward(rollouts: Sequence[Rollout], numbers: Sequence[int]) -> float:
            labels = torch.tensor([label for number in numbers for label in mine[number].labels])
            return self._backward(passes, rollouts, labels, coefficient, tokens)

        return math.fsum(
            passes.over("policy", [sample.rollout for sample in mine], backward, again=start_again)
        )

    def _backward(
        self,
        passes: Passes,
        rollouts: Sequence[Rollout],
        labels: torch.Tensor,
        coefficient: float,
        tokens: int,
    ) -> float:
        """One forward and backward pass; its share of the mean over `tokens`."""
        roles, device = passes.roles, passes.args.device
        batch = collate(rollouts, padding_free=roles.padding_free, pad_id=passes.pad_id)
        trained = labels != IGNORED
        with passes.acting("policy"):
            positions = batch.positions[trained].to(device)
            logits = roles("policy", send_to_device(batch.inputs, device), positions)
            loss = -token_logprobs(logits, labels[trained].to(device)).sum() / tokens
            passes.backward(coefficient * loss)
        return float(loss.detach())


def open_mix(
    dataset: Dataset | None,
    args: PPOConfig,
    tokenizer: PreTrainedTokenizerBase,
    chat: ChatFormat | None,
    policy: PreTrainedModel,
) -> PretrainingMix | None:
    """What `ptx_dataset` and `args.ptx_coef` ask for.

    Raises:
        ModelError: one of the two without the other.
    """
    if (dataset is None) != (args.ptx_coef == 0):
        given, missing = ("ptx_coef", "ptx_dataset") if dataset is None else ("ptx_dataset", "ptx_coef")
        raise ModelError(
            "E240",
            f"`{given}` is given and `{missing}` is not",
            place=f"PPOTrainer({missing}=...)" if dataset is None else "PPOConfig.ptx_coef",
            why="nothing would be mixed in",
            hint="give both `ptx_dataset` and `ptx_coef`, or neither",
        )
    if dataset is None:
        return None
    return PretrainingMix(
        dataset,
        tokenizer,
        chat,
        batch_size=args.ptx_batch_size or args.rollouts_per_update,
        max_length=context_of(policy),
        seed=seed_of(args.data_seed if args.data_seed is not None else args.seed, "ptx"),
    )
