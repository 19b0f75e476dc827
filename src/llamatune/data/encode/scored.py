"""Conversations with a score become tokens up to the end token of the last reply, where the score is learnt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.pairs import check_padding, scored_ids, shorter_prompts
from llamatune.data.rows import IGNORED, Conversation, Encoded, Reason, Row, RowRejected

SCORED_VERSION = 1
"""Part of the fingerprint, and so of the cache's keys: raise it when the same row would be stored otherwise."""


class ScoredEncoder:
    """An `Encoder` for conversations with a score. Arguments and errors are those of `PairEncoder`."""

    def __init__(
        self, chat: ChatFormat, *, max_length: int, too_long: Literal["error", "drop", "truncate"] = "error"
    ) -> None:
        check_padding(chat)
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
        ids = scored_ids(self.chat, row.messages, row.place)
        truncated = len(ids) > self.max_length and self.too_long != "error"
        if truncated:
            ids = self._shortened(row, len(ids))
        yield Encoded(ids, [IGNORED] * (len(ids) - 1) + ids[-1:], truncated=truncated, score=row.score)

    def _shortened(self, row: Conversation, tokens: int) -> list[int]:
        if self.too_long == "drop":
            raise RowRejected(Reason.TOO_LONG, tokens)
        for prompt in shorter_prompts(row.messages[:-1]):
            ids = scored_ids(self.chat, (*prompt, row.messages[-1]), row.place)
            if len(ids) <= self.max_length:
                return ids
        raise RowRejected(Reason.NO_ROOM, tokens)
