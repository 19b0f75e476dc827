"""Conversations with a score become tokens up to the end token of the last reply, where the score is learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.control_tokens import check_padding
from llamatune.data.encode.pairs import longest_that_fits, scored
from llamatune.data.rows import Conversation, Encoded, Message, Row

SCORED_VERSION = 1
"""Part of the fingerprint, and so of the cache's keys: raise it when the same row would be stored differently."""


class ScoredEncoder:
    """An `Encoder` for conversations with a score. Arguments and errors are those of `PairEncoder`."""

    def __init__(
        self, chat: ChatFormat, *, max_length: int, too_long: Literal["error", "drop", "truncate"] = "error"
    ) -> None:
        check_padding(chat.tokenizer, chat.stop_ids, place=f"chat.template: {chat.chat.template}")
        self.chat = chat
        self.max_length = max_length
        self.too_long = too_long
        state = f"scored {SCORED_VERSION} {chat.fingerprint} {max_length} {too_long}"
        self.fingerprint = hashlib.sha256(state.encode()).hexdigest()

    def encode(self, row: Row) -> Iterator[Encoded]:
        """The conversation, labelled at its last token.

        Raises:
            DataError: control tokens under `reject`.
            RowRejected: too long, and the recipe says to leave such rows out.
        """
        assert isinstance(row, Conversation)
        self.chat.check_control_tokens(row.messages, row.place)
        if self.too_long == "error":
            yield self._encode(row, row.messages[:-1])
            return
        yield longest_that_fits(
            row.messages[:-1],
            lambda prompt: self._encode(row, prompt),
            max_length=self.max_length,
            too_long=self.too_long,
        )

    def _encode(self, row: Conversation, prompt: tuple[Message, ...]) -> Encoded:
        """The row after a shorter prompt."""
        return replace(scored(self.chat, (*prompt, row.messages[-1]), row.place), score=row.score)
