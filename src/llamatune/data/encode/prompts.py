"""Prompts become the tokens that the policy continues; none of them is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import IGNORED, Encoded, Message, Prompt, Reason, Row, RowRejected


class PromptEncoder:
    """An `Encoder` for prompts.

    Args:
        chat: renders them; its own `max_length` and `too_long` are not used.
        max_length: longest prompt, in tokens.
        too_long: `error` (a longer prompt is yielded as it is: `prepare` counts them all) or `drop`.
    """

    def __init__(
        self, chat: ChatFormat, *, max_length: int, too_long: Literal["error", "drop"] = "error"
    ) -> None:
        self.chat = chat
        self.max_length = max_length
        self.too_long = too_long
        state = f"prompts {chat.fingerprint} {max_length} {too_long}"
        self.fingerprint = hashlib.sha256(state.encode()).hexdigest()

    def encode(self, row: Row) -> Iterator[Encoded]:
        """The prompt's tokens, those of `ChatFormat.prompt_ids`.

        Raises:
            DataError: control tokens under `reject`.
            RowRejected: too long, under `drop`.
        """
        assert isinstance(row, Prompt)
        self.chat.check_control_tokens(row.messages, row.place)
        ids: list[int] = []
        escaped = altered = 0
        for turn in self.chat.turn_ids(row.messages, row.place):
            ids += turn.ids
            escaped += turn.escaped
            altered += turn.altered
        if len(ids) > self.max_length and self.too_long == "drop":
            raise RowRejected(Reason.TOO_LONG, len(ids))
        yield Encoded(
            ids,
            [IGNORED] * len(ids),
            escaped=escaped,
            altered=altered,
            default_system=self.chat.adds_system(row.messages),
            prompt=[{"role": one.role, "content": _content(one)} for one in row.messages],
            is_safety=row.is_safety,
            category=row.category,
            attack=row.attack,
            reference=row.reference,
        )


def _content(message: Message) -> str:
    """The second half of an Alpaca request comes after the first, unless the template shows it apart."""
    return "\n\n".join(filter(None, (message.content, message.input)))
