"""The canonical rows that every file format becomes, and what a row becomes for the trainer.

A source file yields raw rows; they become a `Conversation`, a `Document`, a `Preference` or a `Prompt`; an `Encoder`
(the chat format, plain text, pairs or prompts) turns those into token ids and labels. Nothing here knows about files or
tokenizers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, get_args

from llamatune.wording import counted

Role = Literal["system", "user", "assistant"]

Rating = Literal["significantly_better", "better", "slightly_better", "negligibly_better"]
"""How much better the chosen reply of a pair is, in the four steps of the Llama 2 paper (section 3.2.1)."""

RATINGS: tuple[Rating, ...] = get_args(Rating)
"""From the largest to the smallest; a rating's position here is its number in a `Pair`."""

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
    """An optional system message, then user and assistant in turn. `place` is `file:line` of the row.

    `score`: how good the last reply is, where rows are for score regression; of labelled rows, 1 good and 0 bad.
    """

    messages: tuple[Message, ...]
    place: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text for pre-training. `place` is `file:line` of the row."""

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class Preference:
    """Two ways in which one conversation goes on, the chosen one better. `place` is `file:line` of the row.

    The prompt holds all messages that both share and ends with the user's; `chosen` and `rejected` are what
    follows it, normally one message each, and start and end with the assistant's. Safety labels say whether a
    reply is safe; None where nobody said.
    """

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    place: str
    rating: Rating | None = None
    chosen_safe: bool | None = None
    rejected_safe: bool | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a policy is asked: messages that end with the user's. `place` is `file:line` of the row.

    `is_safety`: the prompt asks for something unsafe, as far as its source says (paper, section 3.2.3). `category`: the
    risk that it is about, and `attack`: how it goes about it, as its row says; empty where nobody said. `reference`:
    the reply that the row has to it, if any.
    """

    messages: tuple[Message, ...]
    place: str
    is_safety: bool = False
    category: str = ""
    attack: str = ""
    reference: str = ""


Row = Conversation | Document | Preference | Prompt


class Pair(NamedTuple):
    """What is known about an encoded pair in addition to its tokens; stored as a list of numbers, in this order."""

    prompt: int
    """Tokens of the shared prompt."""
    chosen: int
    """Tokens of the chosen reply, its end token included."""
    rejected: int
    """Tokens of the rejected reply."""
    rating: int = -1
    """Position in RATINGS, or -1."""
    chosen_safe: int = -1
    """1 safe, 0 unsafe, -1 unknown."""
    rejected_safe: int = -1
    """1 safe, 0 unsafe, -1 unknown."""

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """Where the prompt, the chosen and the rejected reply are in the sequence."""
        both = self.prompt + self.chosen
        return slice(0, self.prompt), slice(self.prompt, both), slice(both, both + self.rejected)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of one training sequence.

    `input_ids` and `labels` have equal length; a label is the token's own id where it is trained and
    `IGNORED` elsewhere (the model shifts them). `truncated`: turns were cut off. `escaped`: control tokens that were
    in the text and were encoded as plain text.

    A pair is one sequence: prompt, chosen reply, rejected reply. Its two labels are at the last token of
    each reply, where the score is read.
    """

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False
    escaped: int = 0
    altered: int = 0
    """Messages of which the template does not show all text."""
    default_system: bool = False
    """The template put a system message of its own before the conversation."""
    pair: Pair | None = None
    score: float | None = None
    """How good the reply is, for score regression."""
    prompt: list[dict[str, str]] | None = None
    """The messages of a prompt, each {role, content}; none of its tokens is trained."""
    is_safety: bool = False
    category: str = ""
    attack: str = ""
    reference: str = ""
    """Of a prompt, like `is_safety`: see `Prompt`."""

    @property
    def trained(self) -> int:
        return sum(label != IGNORED for label in self.labels)

    @property
    def length(self) -> int:
        """Tokens that the model reads as one row, which `max_length` limits: for a pair, the prompt with the longer
        reply."""
        if self.pair is None:
            return len(self.input_ids)
        return self.pair.prompt + max(self.pair.chosen, self.pair.rejected)


EncodedRow = Mapping[str, Any]
"""A row of a prepared data set: `input_ids`, `labels`, and what else its kind has (see `prepare.Prepared`)."""


BAD_ROW = "bad row: "
"""What the reasons of rows begin with that cannot be read or encoded, and are left out."""


class Reason(StrEnum):
    """Why a row was left out; counted, printed and stored."""

    DUPLICATE = "duplicate"
    TOO_LONG = "longer than max_length"
    NO_ROOM = "no trained token left after truncation"
    NO_REPLY = "no reply to train on"
    NO_PROMPT = "no user message to answer"
    EMPTY_TURN = "an empty turn"
    IDENTICAL = "chosen and rejected are the same"
    CHOSEN_UNSAFE = "chosen reply unsafe, the other one safe"
    OTHER_LABEL = "labelled otherwise than the recipe asks"
    TIE = "no reply is better than the others"
    FEW_WORDS = "fewer words than clean.min_words"
    MANY_WORDS = "more words than clean.max_words"
    FEW_LETTERS = "fewer words with letters than clean.min_letters"
    REPEATED_LINES = "more repeated lines than clean.max_repeated_lines"
    OTHER_LANGUAGE = "in none of clean.languages"
    NEAR_DUPLICATE = "nearly the same as an earlier one"


class Adjustment(StrEnum):
    """What was changed in a row before training; counted, printed and stored."""

    TRAILING_USER = "unanswered user turns dropped at the end"
    LEADING_ASSISTANT = "assistant turns dropped at the start"
    JOINED = "turns joined to the one before, of the same speaker"
    UNFOLDED = "lists of turns read out of a text"
    SPLIT = "texts with Human: and Assistant: read as turns"
    LATER_QUESTIONS = "later questions left out, which need an answer first"


_OF_ONE = {
    Adjustment.TRAILING_USER: "unanswered user turn dropped at the end",
    Adjustment.LEADING_ASSISTANT: "assistant turn dropped at the start",
    Adjustment.JOINED: "turn joined to the one before, of the same speaker",
    Adjustment.UNFOLDED: "list of turns read out of a text",
    Adjustment.SPLIT: "text with Human: and Assistant: read as turns",
    Adjustment.LATER_QUESTIONS: "later question left out, which needs an answer first",
}


def with_reason(number: int, reason: str) -> str:
    """`2 turns joined to the one before`, `1 turn joined to the one before`.

    Args:
        reason: a `Reason` or an `Adjustment`, perhaps one that was stored, which has the words for many.
    """
    return counted(number, {str(key): one for key, one in _OF_ONE.items()}.get(reason, reason), reason)


class RowRejected(Exception):
    """An encoder left this row out for a reason the recipe allows (`too_long: drop | truncate`)."""

    def __init__(self, reason: Reason, tokens: int) -> None:
        self.reason = reason
        self.tokens = tokens
        super().__init__(f"{reason.value} ({counted(tokens, 'token')})")


class Encoder(Protocol):
    """Turns a row into training sequences; one for a conversation, a pair or a prompt, one or more for a document.

    `fingerprint` changes whenever the same row would give other tokens (tokenizer, template, policies), so it is the
    key of the token cache. `encode` raises `DataError` for a row that the recipe does not allow and
    `RowRejected` for one that it says to leave out.
    """

    @property
    def fingerprint(self) -> str: ...

    def encode(self, row: Row) -> Iterator[Encoded]: ...
