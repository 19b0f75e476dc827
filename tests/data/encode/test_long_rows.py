"""Conversations of thousands of turns are cut in time, and exactly as if each cut had been tried."""

import time
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.pairs import PairEncoder
from llamatune.data.encode.prompts import PromptEncoder
from llamatune.data.encode.scored import ScoredEncoder
from llamatune.data.rows import (
    Conversation,
    Encoded,
    Encoder,
    Message,
    Preference,
    Prompt,
    Reason,
    Row,
    RowRejected,
)
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Chat

TEMPLATES = ["tokenizer", "llama2"]
SYSTEM = (Message("system", "Be brief."),)


def talk(turns: int, *, system: bool = False) -> tuple[Message, ...]:
    said = (
        Message("assistant" if n % 2 else "user", f"turn {n} " + "and on " * (n % 5)) for n in range(turns)
    )
    return (*(SYSTEM if system else ()), *said)


def row(kind: str, messages: tuple[Message, ...]) -> Row:
    if kind == "pairs":
        return Preference(messages[:-1], messages[-1:], (Message("assistant", "No."),), "f:1")
    if kind == "prompts":
        return Prompt(messages[:-1], "f:1")
    return Conversation(messages, "f:1", 1.0)


def encoder(kind: str, template: Any, **policy: Any) -> Encoder:
    tokenizer = load_tokenizer(find("pico").base)
    if kind == "chat":
        return ChatFormat(tokenizer, Chat(template=template), **policy)
    kinds = {"pairs": PairEncoder, "scored": ScoredEncoder, "prompts": PromptEncoder}
    return kinds[kind](ChatFormat(tokenizer, Chat(template=template)), **policy)


def cuts(kind: str, messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """Every shorter conversation that a cut may leave, longest first."""
    start = int(messages[0].role == "system")
    if kind == "chat":
        return [messages[:end] for end in range(len(messages) - 2, start, -2)]
    return [messages[:start] + messages[begin:] for begin in range(start + 2, len(messages) - 1, 2)]


@pytest.mark.parametrize("kind", ["chat", "pairs", "scored"])
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("system", [False, True])
def test_as_many_exchanges_are_kept_as_fit(kind: str, template: str, system: bool) -> None:
    messages = talk(100, system=system)
    whole = encoder(kind, template, max_length=1 << 20)
    possible: list[Encoded] = [one for cut in cuts(kind, messages) for one in whole.encode(row(kind, cut))]
    for limit in (120, 400, 700):
        expected = next(one for one in possible if one.length <= limit)
        (found,) = encoder(kind, template, max_length=limit, too_long="truncate").encode(row(kind, messages))
        assert (found.input_ids, found.labels) == (expected.input_ids, expected.labels)
        assert found.truncated and not expected.truncated


@pytest.mark.parametrize(
    ("kind", "too_long"),
    [
        *product(["chat", "pairs", "scored"], ["truncate", "drop", "error"]),
        ("chat", "truncate_reply"),
        *product(["prompts"], ["drop", "error"]),
    ],
)
@pytest.mark.parametrize("room", [1024, 60_000])
def test_five_thousand_turns(kind: str, too_long: str, room: int) -> None:
    encode = encoder(kind, "tokenizer", max_length=room, too_long=too_long)
    started = time.process_time()
    if too_long == "drop":
        with pytest.raises(RowRejected) as caught:
            list(encode.encode(row(kind, talk(5000))))
        assert caught.value.reason is Reason.TOO_LONG and caught.value.tokens > room
    else:
        (found,) = encode.encode(row(kind, talk(5000)))
        assert found.length > 60_000 if too_long == "error" else room - 100 < found.length <= room
    # Measured at most 1.5 seconds; trying every cut takes hours, and rendering every turn anew a minute.
    assert time.process_time() - started < 5


def test_nothing_trained_in_thousands_of_turns() -> None:
    """The longest part that fits decides: shorter ones teach nothing, either."""
    ignored = tuple(replace(message, train=False) for message in talk(5000))
    encode = encoder("chat", "tokenizer", max_length=60_000, too_long="truncate")
    started = time.process_time()
    with pytest.raises(RowRejected) as caught:
        list(encode.encode(row("chat", ignored)))
    assert caught.value.reason is Reason.NO_ROOM
    assert time.process_time() - started < 5
