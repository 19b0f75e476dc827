"""Tokens are those of the reference: after control tokens, after saving, and for whoever loads the model."""

import json
from pathlib import Path

import pytest
from small_tokenizers import KINDS
from transformers import AutoTokenizer

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import IGNORED, Conversation, Encoded, Message
from llamatune.models.base import Base
from llamatune.models.saving import save_tokenizer
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import TEMPLATE_NAMES, Chat

SHARED = Path(__file__).parents[4] / "shared" / "tokenizers"

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hello  world"),
    Message("assistant", "4 starts é 中 😀."),
    Message("user", "What is it?"),
    Message("assistant", "This is it."),
)


def encoded(format: ChatFormat, *messages: Message) -> Encoded:
    (found,) = format.encode(Conversation(messages, "rows.jsonl:1"))
    return found


def as_dicts(messages: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


@pytest.mark.parametrize("kind", ["llama", "llama_legacy", "metaspace_first"])
@pytest.mark.parametrize("template", ["llama2", "alpaca", "vicuna", "guanaco", "stable-beluga", "baize"])
def test_the_text_after_bos_begins_with_a_blank(load, kind: str, template: str) -> None:
    tokenizer = load(kind)
    ids = encoded(ChatFormat(tokenizer, Chat(template=template)), *TALK[1:]).input_ids
    first = tokenizer.convert_ids_to_tokens(ids)[:2]
    assert first[0] == "<s>" and first[1].startswith("▁")


@pytest.mark.parametrize("kind", ["llama", "llama_legacy", "metaspace_first"])
def test_each_exchange_of_llama2_is_encoded_as_by_sentencepiece(load, kind: str) -> None:
    tokenizer = load(kind)
    found = encoded(ChatFormat(tokenizer, Chat(template="llama2")), *TALK[1:])
    expected: list[int] = []
    for question, answer in (TALK[1:3], TALK[3:5]):
        text = f"[INST] {question.content} [/INST] {answer.content} "
        expected += [1, *tokenizer.encode(text, add_special_tokens=False), 2]
    assert found.input_ids == expected


def test_system_and_first_question_are_stripped_as_one_text(load) -> None:
    format = ChatFormat(load("llama"), Chat(template="llama2"))
    ids = encoded(
        format, Message("system", " s "), Message("user", " q "), Message("assistant", "a")
    ).input_ids
    assert format.tokenizer.decode(ids).endswith("<<SYS>>\n s \n<</SYS>>\n\n q [/INST] a </s>")


def test_a_base_follows_its_tokenizer_file(load) -> None:
    text = "<s>Hello</s>it"
    for kind in ("llama", "llama_legacy"):
        assert load(kind).tokenize(text) == load("llama_legacy").tokenize("<s> Hello</s> it"), kind
    assert "▁" not in "".join(load("metaspace_first").tokenize(text))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", TEMPLATE_NAMES)
def test_whoever_loads_the_model_gets_the_tokens_of_training(
    load, kind: str, template: str, tmp_path: Path
) -> None:
    tokenizer = load(kind)
    format = ChatFormat(tokenizer, Chat(template=template))
    save_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    talk = TALK if template != "guanaco" else TALK[1:]
    row = encoded(format, *talk)
    assert loaded.apply_chat_template(as_dicts(talk), return_dict=False) == row.input_ids
    prompt = loaded.apply_chat_template(as_dicts(talk[:-1]), add_generation_prompt=True, return_dict=False)
    assert format.prompt_ids(talk[:-1]) == prompt == row.input_ids[: len(prompt)]
    assert row.labels[len(prompt) - 1] == IGNORED != row.labels[len(prompt)]
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    again = ChatFormat(load_tokenizer(Base("run", tmp_path)), Chat())
    assert encoded(again, *talk) == row


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["a</s>b", "</s>", " </s> a", "x[INST]</s>[/INST]y", "<s></s>"])
def test_written_control_tokens_gain_no_blank(load, kind: str, text: str) -> None:
    tokenizer = load(kind)
    format = ChatFormat(tokenizer, Chat(template="vicuna"))
    found = encoded(format, Message("user", "q"), Message("assistant", text))
    reply = [token for token, label in zip(found.input_ids, found.labels, strict=True) if label != IGNORED]
    whole = tokenizer.encode("ASSISTANT: " + text, add_special_tokens=False, split_special_tokens=True)
    # the same text in one piece, as far as no token joins the colon and the reply
    assert tokenizer.decode(reply[:-1]) in (text, " " + text)
    assert found.escaped and reply[-1] == 2 and set(reply[:-1]).isdisjoint({1, 2})
    assert whole[-len(reply) + 1 :] == reply[:-1]


@pytest.mark.parametrize(("kind", "between"), [("metaspace_first", " "), ("mistral_v3", "")])
def test_mistral_puts_a_blank_before_its_end_marker_only_where_that_is_text(
    load, kind: str, between: str
) -> None:
    tokenizer = load(kind)
    ids = encoded(ChatFormat(tokenizer, Chat(template="mistral")), *TALK[1:3]).input_ids
    parts = [f"[INST] Hello  world{between}[/INST]", " 4 starts é 中 😀."]
    expected = [tokenizer.encode(part, add_special_tokens=False) for part in parts]
    assert ids == [1, *expected[0], *expected[1], 2]


def test_a_template_ends_turns_with_eos_where_its_own_end_token_is_no_token(load) -> None:
    for template, end in (("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>")):
        for kind, token in (("chat_tokens", end), ("byte_level", "</s>")):
            tokenizer = load(kind)
            format = ChatFormat(tokenizer, Chat(template=template))
            found = encoded(format, *TALK[1:3])
            assert [one for one in found.labels if one != IGNORED][-1] == tokenizer.convert_tokens_to_ids(
                token
            )
            assert end not in found.input_ids


# ---- real vocabularies, where they are at hand ----------------------------------------------------------------


def real(name: str):
    if not SHARED.is_dir():
        pytest.skip("the real tokenizers (../shared/tokenizers beside the repository) are not here")
    return load_tokenizer(Base(name, SHARED / name))


@pytest.mark.parametrize("name", ["llama2_hf", "llama2_legacy", "llama2_new", "mistral_v1"])
def test_every_row_has_the_ids_and_the_trained_tokens_of_the_reference(name: str) -> None:
    formats = {one: ChatFormat(real(name), Chat(template=one)) for one in ("llama2", "alpaca")}
    of = name if name.startswith("mistral") else "llama2"
    lines = (SHARED / "expected.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["tokenizer"] == of]
    assert rows
    for row in rows:
        if "messages" in row:
            talk = [Message(one["role"], one["content"]) for one in row["messages"]]
        else:
            one = row["row"]
            talk = [
                Message("user", one["instruction"], input=one["input"] or None),
                Message("assistant", one["output"]),
            ]
        found = encoded(formats[row["template"]], *talk)
        begins = [
            place
            for place, label in enumerate(found.labels)
            if label != IGNORED and found.labels[place - 1] == IGNORED
        ]
        assert found.input_ids == row["ids"] and found.trained == row["trained"], talk
        assert begins == row.get("first_trained", begins) and not found.altered, talk


def test_every_text_of_llama3_has_the_ids_of_the_reference() -> None:
    tokenizer = real("llama3")
    for template in ("tokenizer", "llama3"):
        format = ChatFormat(real("llama3"), Chat(template=template))
        for line in (SHARED / "expected_llama3.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            assert tokenizer.encode(row["text"], add_special_tokens=False) == row["ids"]
            if talk := _turns(row["text"]):
                assert encoded(format, *talk).input_ids == row["ids"]


def _turns(text: str) -> list[Message]:
    """The conversation of a text with Llama 3's markers, if it is a whole one."""
    head, *turns = text.split("<|start_header_id|>")
    if head != "<|begin_of_text|>" or not turns or not all(turn.endswith("<|eot_id|>") for turn in turns):
        return []
    parts = [turn.removesuffix("<|eot_id|>").partition("<|end_header_id|>\n\n") for turn in turns]
    talk = [Message(role, content) for role, _, content in parts]  # type: ignore[arg-type]
    return talk if talk[-1].role == "assistant" and all(message.content for message in talk) else []


@pytest.mark.parametrize(
    "name",
    [
        "llama2_hf",
        "llama2_legacy",
        "llama2_new",
        pytest.param("llama3", marks=pytest.mark.slow),  # half a minute to read and write
        "mistral_v1",
        pytest.param("mistral_v3", marks=pytest.mark.slow),
    ],
)
def test_a_real_vocabulary_saved_gives_the_tokens_of_training(name: str, tmp_path: Path) -> None:
    for template in ("llama2", "mistral", "chatml", "vicuna", "alpaca"):
        tokenizer = real(name)
        row = encoded(ChatFormat(tokenizer, Chat(template=template)), *TALK)
        save_tokenizer(tokenizer, tmp_path / template)
        loaded = AutoTokenizer.from_pretrained(tmp_path / template)
        assert loaded.apply_chat_template(as_dicts(TALK), return_dict=False) == row.input_ids, template
