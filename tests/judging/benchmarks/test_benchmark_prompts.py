"""What a task asks becomes the tokens of a training row; and plain text those of a document."""

from typing import Any

import pytest

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.documents import TextEncoder
from llamatune.data.rows import Conversation, Document, Message
from llamatune.judging.benchmarks.prompts import ChatPrompts, PlainPrompts
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Chat

SHOTS = [
    {"role": "system", "content": "Answer the questions."},
    {"role": "user", "content": "Q: What is two plus three?\nA:"},
    {"role": "assistant", "content": " five "},
    {"role": "user", "content": "Q: What rhymes with </s> lake?\nA:"},
]


@pytest.fixture(params=["llama2", "chatml", "llama3", "zephyr", "tokenizer"])
def chat(request: pytest.FixtureRequest) -> ChatFormat:
    tokenizer = load_tokenizer(find("pico").base)
    return ChatFormat(tokenizer, Chat(template=request.param))


def row_of(chat: ChatFormat, answer: str) -> list[int]:
    messages = [Message(one["role"], one["content"].strip() if one["role"] == "assistant" else one["content"])
                for one in SHOTS]  # fmt: skip
    row = Conversation((*messages, Message("assistant", answer)), "row")
    [encoded] = chat.encode(row)
    return encoded.input_ids


@pytest.mark.parametrize("choice", [" make", "make", "A", " (B)"])
def test_a_choice_has_the_tokens_that_it_has_in_a_training_row(chat: ChatFormat, choice: str) -> None:
    prompts = ChatPrompts(chat)
    given, answer = prompts.pair(prompts.written(SHOTS), choice)
    row = row_of(chat, choice.strip())
    whole = [*given, *answer]
    assert row[: len(whole)] == whole, "another beginning than that of the training row"
    rest = row[len(whole) :]
    end = next(at for at, token in enumerate(rest) if token in chat.stop_ids)
    assert not chat.tokenizer.decode(rest[:end]).strip(), "the answer goes on"
    assert not set(answer) & chat.stop_ids
    assert list(given) == prompts.context(prompts.written(SHOTS))


def test_an_answer_that_has_been_begun_goes_on_in_the_same_tokens(chat: ChatFormat) -> None:
    prompts = ChatPrompts(chat)
    begun = prompts.written([*SHOTS, {"role": "assistant", "content": "The word is"}])
    given, answer = prompts.pair(begun, " make")
    row = row_of(chat, "The word is make")
    assert row[: len(given) + len(answer)] == [*given, *answer] and answer
    assert row[: len(prompts.context(begun))] == prompts.context(begun)


def test_control_tokens_in_a_question_are_text(chat: ChatFormat) -> None:
    prompts = ChatPrompts(chat)
    plain = [{**one, "content": one["content"].replace("</s>", "a")} for one in SHOTS]
    end = chat.tokenizer.convert_tokens_to_ids("</s>")
    counts = [prompts.context(prompts.written(messages)).count(end) for messages in (SHOTS, plain)]
    assert counts[0] == counts[1]


def test_bos_is_there_once_in_a_single_question() -> None:
    tokenizer = load_tokenizer(find("pico").base)
    prompts = ChatPrompts(ChatFormat(tokenizer, Chat(template="llama2")))
    ids = prompts.context(prompts.written(SHOTS[-1:]))
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id


def test_plain_text_begins_like_a_document() -> None:
    tokenizer = load_tokenizer(find("pico").base)
    prompts = PlainPrompts(tokenizer)
    text = "Question: What is two plus three?\nAnswer:"
    [document] = TextEncoder(tokenizer, max_length=500).encode(Document(f"{text} five", "row"))
    given, answer = prompts.pair(text, " five")
    assert [*given, *answer] == document.input_ids[:-1], "all but the end of the document"
    assert list(given) == prompts.context(text)
    # a blank at the end of a text belongs to what follows
    assert prompts.pair(f"{text} ", "five") == (given, answer)
    assert prompts.context("</s><s>").count(tokenizer.bos_token_id) == 1


def test_without_a_text_the_answer_comes_after_bos() -> None:
    tokenizer = load_tokenizer(find("pico").base)
    chat = ChatPrompts(ChatFormat(tokenizer, Chat()))
    for prompts in (PlainPrompts(tokenizer), chat):
        given, answer = prompts.pair("", "five")
        assert list(given) == [tokenizer.bos_token_id] and answer


def test_messages_survive_as_text() -> None:
    prompts: Any = ChatPrompts
    assert (
        prompts.written([{"role": "user", "content": 'a "b"\n'}])
        == '[{"role": "user", "content": "a \\"b\\"\\n"}]'
    )
