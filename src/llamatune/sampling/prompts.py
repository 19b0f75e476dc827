"""The prompts of rollouts: rows of a dataset, conversations or plain text, and how they become token ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.mix import permutation
from llamatune.data.rows import Message
from llamatune.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

PromptRow = Mapping[str, Any]


class Order:
    """Which rows each batch takes: an endless sequence of permutations, one for each pass over the rows, so that the
    rest of one pass is followed by the next one, and every row comes up equally often."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self._passes: dict[int, list[int]] = {}

    def rows_of(self, batch: int, batch_size: int) -> list[int]:
        """The rows of a batch, by its number alone."""
        places = range(batch * batch_size, (batch + 1) * batch_size)
        return [self._pass(place // self.size)[place % self.size] for place in places]

    def _pass(self, number: int) -> list[int]:
        if number not in self._passes:
            order = permutation(self.size, self.seed + number)
            self._passes = {**self._passes, number: order} if len(self._passes) < 2 else {number: order}
        return self._passes[number]


class Prompts:
    """A dataset with a column `prompt`: text, or messages that end with the user's.

    Args:
        chat: how conversations become tokens; None where the tokenizer has no chat template.
        max_length: most tokens of a prompt; a longer one is an error.

    A row that already has `input_ids` is taken as it is; without a column `prompt`, their text is the prompt. Further
    columns reach the reward functions; `is_safety` says for which prompts the safety reward model decides.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        chat: ChatFormat | None,
        *,
        max_length: int | None,
        seed: int = 0,
    ) -> None:
        if not {"prompt", "input_ids"} & set(dataset.column_names):
            raise DataError(
                "E145",
                f"the dataset has neither a column `prompt` nor `input_ids`, but {', '.join(dataset.column_names)}",
                hint="rename the column that holds the prompts: text, or a list of messages",
            )
        if not len(dataset):
            raise DataError("E132", "the dataset of prompts has no row")
        self.dataset = dataset
        self._rows = dataset.with_format(None)  # plain Python, whatever format the dataset is set to
        self.tokenizer = tokenizer
        self.chat = chat
        self.max_length = max_length
        self._order = Order(len(dataset), seed)

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def are_conversations(self) -> bool:
        """A column has one type: all prompts are text, or none is."""
        return not isinstance(self[0]["prompt"], str)

    def rows_of(self, iteration: int, batch_size: int) -> list[int]:
        """The rows of an iteration."""
        return self._order.rows_of(iteration, batch_size)

    def __getitem__(self, row: int) -> PromptRow:
        found = dict(self._rows[row])
        if "prompt" not in found:
            ids = found["input_ids"]
            found["prompt"] = str(self.tokenizer.decode(ids, skip_special_tokens=True)) if ids else None
        return found

    def ids(self, row: PromptRow) -> list[int]:
        """The token ids that the policy continues.

        Raises:
            DataError: no prompt, or one longer than `max_length`.
        """
        _check_type(row["prompt"], row.get("place"))
        ids = list(row["input_ids"]) if row.get("input_ids") else self._encode(row["prompt"])
        if not ids:
            raise DataError("E145", "a prompt is empty", place=row.get("place"))
        if self.max_length is not None and len(ids) > self.max_length:
            raise DataError(
                "E130",
                f"a prompt has {len(ids):,} tokens, the longest allowed is {self.max_length:,}: "
                f"{text_of(row['prompt'])[:80]!r}",
                place=row.get("place"),
                why="cut silently, it would ask something else",
                hint="leave such prompts out, or raise `max_prompt_length`",
            )
        return ids

    def _encode(self, prompt: str | Sequence[Mapping[str, str]]) -> list[int]:
        if isinstance(prompt, str):
            return list(self.tokenizer.encode(prompt))
        if self.chat is None:
            raise DataError(
                "E145",
                "the prompts are conversations, and the tokenizer has no chat template",
                hint="set `tokenizer.chat_template`, or give prompts as text",
            )
        messages = messages_of(prompt)
        if not messages or messages[-1].role != "user":
            raise DataError(
                "E145",
                "a prompt does not end with a user message",
                hint="leave out the messages after the user's last one: the policy writes the answer",
            )
        return self.chat.prompt_ids(messages)


def _check_type(prompt: Any, place: str | None) -> None:
    """Raises DataError for a prompt that is neither text nor messages, such as null or a number."""
    if isinstance(prompt, str) or are_messages(prompt):
        return
    raise DataError(
        "E145",
        f"a prompt is neither text nor a list of messages: {prompt!r:.60}",
        place=place,
        why="each prompt is a string, or a list of {role, content} with text",
        hint="leave such rows out, or convert the column `prompt`",
    )


def are_messages(value: Any) -> bool:
    """Whether it is a list of {role, content} with text."""
    return isinstance(value, list) and all(
        isinstance(one, Mapping) and all(isinstance(one.get(key), str) for key in ("role", "content"))
        for one in value
    )


def messages_of(prompt: Sequence[Mapping[str, str]]) -> list[Message]:
    return [Message(message["role"], message["content"]) for message in prompt]  # type: ignore[arg-type]


def asked_by_user(
    prompt: str | Sequence[Mapping[str, str]], place: str | None = None
) -> list[dict[str, str]]:
    """The messages of a prompt that somebody gave: of a question, one of the user's.

    Raises:
        DataError: E145, it does not end with the user's message.
    """
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(map(dict, prompt))
    if not are_messages(messages) or not messages or messages[-1]["role"] != "user":
        raise DataError(
            "E145",
            f"a prompt does not end with a user message: {json.dumps(messages, ensure_ascii=False)[:80]}",
            place=place,
            hint="a prompt is a question, or messages {role, content} of which the last one is the user's",
        )
    return messages


def text_of(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """For readers: a prompt's text, or its last message."""
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]
