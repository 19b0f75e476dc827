"""The canonical rows that every file format becomes, and what a row becomes for the trainer.

A source file yields raw rows; `formats` turns them into `Conversation` or `Document`; an `Encoder` (the chat
format, or plain text) turns those into token ids and labels. Nothing here knows about files or tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]

IGNORED = -100
"""Label of a token that is not trained (torch's cross-entropy convention)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `train` overrides the recipe's `loss_on` for this message; None leaves it to the recipe.

    `input` is the second half of an Alpaca request, which the alpaca template shows in a part of its own;
    other templates join the two by a blank line.
    """

    role: Role
    content: str
    train: bool | None = None
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """An optional system message, then user and assistant in turn. `place` is `file:line` of the row."""

    messages: tuple[Message, ...]
    place: str


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text for pre-training. `place` is `file:line` of the row."""

    text: str
    place: str


Row = Conversation | Document


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of one training sequence.

    `input_ids` and `labels` have equal length; a label is the token's own id where it is trained and
    `IGNORED` elsewhere (the model shifts them). `truncated`: turns were cut off. `escaped`: control tokens
    that stood in the text and were encoded as plain text.
    """

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False
    escaped: int = 0

    @property
    def trained(self) -> int:
        return sum(label != IGNORED for label in self.labels)


class Reason(StrEnum):
    """Why a row was left out; counted, printed and stored."""

    DUPLICATE = "duplicate"
    TOO_LONG = "longer than max_length"
    NO_ROOM = "no trained token left after truncation"
    NO_REPLY = "no reply to train on"


class RowRejected(Exception):
    """An encoder left this row out for a reason the recipe allows (`too_long: drop | truncate`)."""

    def __init__(self, reason: Reason, tokens: int) -> None:
        self.reason = reason
        self.tokens = tokens
        super().__init__(f"{reason.value} ({tokens} tokens)")


class Encoder(Protocol):
    """Turns a row into training sequences; one for a conversation, one or more for a document.

    `fingerprint` changes whenever the same row would give other tokens (tokenizer, template, policies), so it
    keys the token cache. `encode` raises `DataError` for a row that the recipe does not allow and
    `RowRejected` for one that it says to leave out.
    """

    @property
    def fingerprint(self) -> str: ...

    def encode(self, row: Row) -> Iterator[Encoded]: ...
