"""Preference pairs become tokens: the shared prompt once, then both replies, scored at their end tokens.

The tokens are those of the chat format, so that a reward model reads what training shows a chat model and what
sampling yields: the prompt is exactly `ChatFormat.prompt_ids`, and prompt and reply together are the tokens of
the whole conversation, up to the end token of the last reply. What a template writes after that token is left out,
because a sampled reply does not have it, either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.control_tokens import check_padding
from llamatune.data.rows import IGNORED, RATINGS, Encoded, Message, Pair, Preference, Reason, Row, RowRejected

PAIRS_VERSION = 1
"""Part of the fingerprint, and so of the cache's keys: raise it when the same row would be stored differently."""


_FIRST_EXCHANGES = 32
"""How many exchanges of a prompt are tried at first, if a longer one is cut or left out."""


class PairEncoder:
    """An `Encoder` for preferences.

    Args:
        chat: the chat format; its own `max_length` and `too_long` are not used.
        max_length: most tokens of the prompt with the longer reply.
        too_long: `error` (a longer pair is yielded as it is: `prepare` counts them all), `drop`, or `truncate`:
            take whole exchanges off the front of the prompt; the system message and the last question stay.

    Raises:
        ModelError: the padding token ends a reply, too.
    """

    def __init__(
        self,
        chat: ChatFormat,
        *,
        max_length: int,
        too_long: Literal["error", "drop", "truncate"] = "error",
    ) -> None:
        self.chat = chat
        self.max_length = max_length
        self.too_long = too_long
        check_padding(chat.tokenizer, chat.stop_ids, place=f"chat.template: {chat.chat.template}")
        state = f"pairs {PAIRS_VERSION} {chat.fingerprint} {max_length} {too_long}"
        self.fingerprint = hashlib.sha256(state.encode()).hexdigest()

    def encode(self, row: Row) -> Iterator[Encoded]:
        """The pair as one sequence: prompt, chosen, rejected; labelled where the two scores are read.

        Raises:
            DataError, ModelError: control tokens under `reject`; a template that changes the prompt once a reply
                follows.
            RowRejected: replies with the same tokens; too long, and the recipe says to leave such pairs out.
        """
        assert isinstance(row, Preference)
        self.chat.check_control_tokens((*row.prompt, *row.chosen, *row.rejected), row.place)
        if self.too_long == "error":
            yield self._encode(row)
            return
        yield longest_that_fits(
            row.prompt,
            lambda prompt: self._encode(replace(row, prompt=prompt)),
            max_length=self.max_length,
            too_long=self.too_long,
        )

    def _encode(self, row: Preference) -> Encoded:
        start = len(row.prompt)
        parts = (
            scored(self.chat, row.prompt, row.place),
            scored(self.chat, row.prompt + row.chosen, row.place, start=start),
            scored(self.chat, row.prompt + row.rejected, row.place, start=start),
        )
        prompt, chosen, rejected = (part.input_ids for part in parts)
        if chosen == rejected:  # templates may strip what made the texts differ
            raise RowRejected(Reason.IDENTICAL, len(prompt) + len(chosen))
        return Encoded(
            prompt + chosen + rejected,
            [IGNORED] * len(prompt) + parts[1].labels + parts[2].labels,
            escaped=sum(part.escaped for part in parts),
            altered=sum(part.altered for part in parts),
            default_system=parts[0].default_system,
            pair=Pair(
                len(prompt),
                len(chosen),
                len(rejected),
                -1 if row.rating is None else RATINGS.index(row.rating),
                -1 if row.chosen_safe is None else int(row.chosen_safe),
                -1 if row.rejected_safe is None else int(row.rejected_safe),
            ),
        )


def longest_that_fits(
    prompt: tuple[Message, ...],
    encode: Callable[[tuple[Message, ...]], Encoded],
    *,
    max_length: int,
    too_long: Literal["drop", "truncate"],
) -> Encoded:
    """The row of a prompt; under `truncate`, without as many exchanges at its front as have to go. The system message
    and the last question stay.

    A few exchanges are tried at first, then four times as many: of thousands, most are not even rendered.

    Raises:
        RowRejected: too long, or no room for the last question.
    """
    system = prompt[:1] if prompt[0].role == "system" else ()
    most = (len(prompt) - len(system) - 1) // 2

    def with_last(exchanges: int) -> Encoded:
        return encode(system + prompt[len(prompt) - 1 - 2 * exchanges :])

    best: Encoded | None = None
    fits, tried = -1, min(_FIRST_EXCHANGES, most)
    while (encoded := with_last(tried)).length <= max_length:
        if tried == most:
            return encoded
        best, fits, tried = encoded, tried, min(4 * tried, most)
    tokens = longer = encoded.length
    if too_long == "drop":
        raise RowRejected(Reason.TOO_LONG, tokens)
    # `fits` exchanges fit, and `tried` do not: the number between the two is guessed by their tokens.
    while tried - fits > 1:
        shorter = best.length if best else 0
        guess = fits + (tried - fits) * (max_length - shorter) // (longer - shorter)
        guess = min(max(guess, fits + 1), tried - 1)
        encoded = with_last(guess)
        if encoded.length <= max_length:
            best, fits = encoded, guess
        else:
            longer, tried = encoded.length, guess
    if best is None:
        raise RowRejected(Reason.NO_ROOM, tokens)
    return replace(best, truncated=True)


def scored_ids(chat: ChatFormat, messages: Sequence[Message]) -> list[int]:
    """Tokens of a conversation that ends with a reply; its score is read at the last of them."""
    return scored(chat, messages, "conversation").input_ids


def scored(chat: ChatFormat, messages: Sequence[Message], place: str, start: int = 0) -> Encoded:
    """The conversation from message `start` on, up to the end token of a reply, labelled at the last token."""
    ids: list[int] = []
    escaped = altered = 0
    for turn in chat.turn_ids(messages, place, start=start):
        ids += turn.ids
        escaped += turn.escaped
        altered += turn.altered
    if messages[-1].role == "assistant":
        ids = ids[: chat.end_of_answer(ids)]
    return Encoded(
        ids, _at_end(ids), escaped=escaped, altered=altered, default_system=chat.adds_system(messages)
    )


def _at_end(ids: list[int]) -> list[int]:
    return [IGNORED] * (len(ids) - 1) + ids[-1:]
