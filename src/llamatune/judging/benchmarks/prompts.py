"""From what a task asks to tokens: in the run's chat format, or as plain text.

The harness hands over a text and a continuation, and leaves it to the model to make tokens of them. What goes wrong
there goes wrong in silence: a choice begins with another token than in any training row, BOS is missing or there twice,
special tokens in a question become control tokens. In chats, the text here is the list of messages itself, so that a
request has the very tokens that `ChatFormat` gives a training row of the same messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.control_tokens import TextTokens
from llamatune.data.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenPair = tuple[Sequence[int], Sequence[int]]
"""Tokens that are given, and tokens whose probability is asked for."""


class Prompting(Protocol):
    """How a task's texts become tokens."""

    def context(self, text: str) -> list[int]:
        """Tokens that a model goes on from."""
        ...

    def pair(self, text: str, continuation: str) -> TokenPair:
        """A text's tokens, and those of what may follow it."""
        ...

    def reply(self, text: str, tokens: Sequence[int]) -> str:
        """What sampled tokens say after a text."""
        ...

    def shown(self, text: str) -> str:
        """The text as the model sees it, for people."""
        ...


class ChatPrompts:
    """Texts are lists of messages as JSON, which `written` makes; the last one is the user's, or an answer that has
    been begun for the model."""

    def __init__(self, chat: ChatFormat) -> None:
        self.chat = chat
        self._plain = PlainPrompts(chat.tokenizer)
        self._bos: dict[tuple[str, ...], int] = {}
        self._last: tuple[Sequence[Message], tuple[int, ...]] = ((), ())

    @staticmethod
    def written(messages: Sequence[Mapping[str, str]]) -> str:
        """Messages as a text that the harness hands on."""
        return json.dumps([{"role": one["role"], "content": one["content"]} for one in messages])

    def context(self, text: str) -> list[int]:
        """See `Prompting`."""
        messages, begun = _read(text)
        ids = list(self._prompt(messages))
        return ids if begun is None else ids + self._common(messages, begun, begun + " and")

    def pair(self, text: str, continuation: str) -> TokenPair:
        """See `Prompting`. Blanks around an answer are the template's business; without a text, it is no chat."""
        if not text:
            return self._plain.pair(text, continuation)
        messages, begun = _read(text)
        ids = self._prompt(messages)
        if begun is None:
            return ids, self._without_blanks(self._answer(messages, continuation.strip()))
        same = len(self._common(messages, begun, begun + continuation.rstrip()))
        whole = self._without_blanks(self._answer(messages, begun + continuation.rstrip()))
        return [*ids, *whole[:same]], whole[same:]

    def reply(self, text: str, tokens: Sequence[int]) -> str:
        """See `Prompting`. What goes on from a beginning keeps its blanks."""
        ids = list(tokens)
        end = next((at for at, token in enumerate(ids) if token in self.chat.stop_ids), len(ids))
        said = str(self.chat.tokenizer.decode(ids[:end], skip_special_tokens=True))
        return said.strip() if _read(text)[1] is None else said

    def shown(self, text: str) -> str:
        """See `Prompting`."""
        return str(self.chat.tokenizer.decode(self.context(text)))

    def _prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Of the choices of a question, which come one after the other, the same tuple."""
        if messages == self._last[0]:
            return self._last[1]
        ids = tuple(self.chat.prompt_ids(messages))
        self._last = messages, ids
        bos = self.chat.tokenizer.bos_token_id
        if bos is not None:
            assert ids.count(bos) == self._bos_of(messages), "another number of BOS than in a training row"
        return ids

    def _bos_of(self, messages: Sequence[Message]) -> int:
        """How often BOS is in a chat of as many turns: once, or once in each exchange, as the template has it."""
        roles = tuple(one.role for one in messages)
        if roles not in self._bos:
            plain = [Message(one.role, "text") for one in messages]
            self._bos[roles] = self.chat.prompt_ids(plain).count(self.chat.tokenizer.bos_token_id)
        return self._bos[roles]

    def _common(self, messages: Sequence[Message], one: str, other: str) -> list[int]:
        """The tokens that two answers begin with: a template may write blanks after an answer."""
        pairs = zip(self._answer(messages, one), self._answer(messages, other), strict=False)
        return [token for token, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]

    def _without_blanks(self, ids: list[int]) -> list[int]:
        """Without the blanks that a template writes between an answer and its end."""
        end = len(ids)
        while end > 1 and not str(self.chat.tokenizer.decode(ids[end - 1 : end])).strip():
            end -= 1
        return ids[:end]

    def _answer(self, messages: Sequence[Message], text: str) -> list[int]:
        """The tokens of an answer in a training row, without the one that ends it."""
        before = len(messages)
        [turn] = self.chat.turn_ids([*messages, Message("assistant", text)], "benchmark", start=before)
        ids = turn.ids[: self.chat.end_of_answer(turn.ids)]
        return ids[:-1] if ids and ids[-1] in self.chat.stop_ids else ids


class PlainPrompts:
    """Texts as they are, each beginning with BOS where the tokenizer has one, as documents do in pre-training."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._tokens = TextTokens(tokenizer)
        self._bos = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]

    def context(self, text: str) -> list[int]:
        """See `Prompting`."""
        ids = self._bos + self._tokens.plain(text)
        assert ids.count(self._bos[0]) == 1 if self._bos else True, "BOS is there twice"
        return ids

    def pair(self, text: str, continuation: str) -> TokenPair:
        """See `Prompting`. As the harness's own models do: blanks at the end of a text belong to what follows, and the
        tokens of both together are cut where those of the text end."""
        blanks = len(text) - len(text.rstrip())
        if blanks:
            text, continuation = text[:-blanks], text[-blanks:] + continuation
        before = self.context(text)
        if not text and not before:
            begins = self.tokenizer.eos_token_id
            assert begins is not None, "nothing that a text could begin with"
            before = [int(begins)]
            return before, self._tokens.plain(continuation)
        return before, self.context(text + continuation)[len(before) :]

    def reply(self, text: str, tokens: Sequence[int]) -> str:
        """See `Prompting`."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def shown(self, text: str) -> str:
        """See `Prompting`."""
        return str(self.tokenizer.decode(self.context(text)))


def _read(text: str) -> tuple[list[Message], str | None]:
    """The messages up to the last question, and the answer that has been begun."""
    messages = [Message(one["role"], one["content"]) for one in json.loads(text)]
    begun = messages.pop().content if messages[-1].role == "assistant" else None
    return [
        Message(one.role, one.content.strip()) if one.role == "assistant" else one for one in messages
    ], begun
