import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.recognise import Recognised, recognise_rows
from llamatune.data.read.readers import read_rows
from llamatune.data.read.survey import recognise
from llamatune.data.rows import Adjustment, Message, Reason, RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns


def user(content: str, **more: Any) -> Message:
    return Message("user", content, **more)


def assistant(content: str, **more: Any) -> Message:
    return Message("assistant", content, **more)


def system(content: str) -> Message:
    return Message("system", content)


def convert(raw: dict, **given: Any) -> list[Message]:
    found = recognise_rows([raw], kind="conversations", **given)
    return list(canonical(raw, found, "f:1").messages)


def fails(raw: dict, **given: Any) -> str:
    with pytest.raises(DataError) as caught:
        convert(raw, **given)
    return str(caught.value)


def turns(*roles: str) -> dict:
    return {"messages": [{"role": role, "content": f"{role} {n}"} for n, role in enumerate(roles)]}


# ---- golden rows of each format ---------------------------------------------------------------------------


def test_messages() -> None:
    raw = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello", "train": False},
            {"role": "user", "content": "Bye"},
            {"role": "assistant", "content": "Ciao", "train": True},
        ]
    }
    assert convert(raw) == [
        system("Be brief."),
        user("Hi"),
        assistant("Hello", train=False),
        user("Bye"),
        assistant("Ciao", train=True),
    ]


def test_sharegpt() -> None:
    said = [("human", "Hi"), ("gpt", "Hello"), ("user", "Bye"), ("bard", "Ciao")]
    raw = {
        "id": "7",
        "conversations": [{"from": who, "value": what} for who, what in said],
        "system": "Be brief.",
    }
    assert convert(raw) == [
        system("Be brief."),
        user("Hi"),
        assistant("Hello"),
        user("Bye"),
        assistant("Ciao"),
    ]
    assert recognise_rows([raw]).ignored == ("id",)


def test_alpaca_keeps_the_input_apart() -> None:
    raw = {"instruction": "Add.", "input": "1 + 1", "output": "2", "text": "Below is an instruction ..."}
    assert convert(raw) == [user("Add.", input="1 + 1"), assistant("2")]
    assert convert({"instruction": "Add.", "input": "", "output": "2"}) == [user("Add."), assistant("2")]
    assert convert({"instruction": "Add.", "output": "2", "system": ""}) == [user("Add."), assistant("2")]


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("instruction", "response")],
)
def test_prompt_completion(prompt: str, completion: str) -> None:
    raw = {prompt: "1 + 1?", completion: "2"}
    assert recognise_rows([raw]).format == "prompt_completion"
    assert convert(raw) == [user("1 + 1?"), assistant("2")]


def test_columns_of_other_names() -> None:
    raw = {"frage": "1 + 1?", "antwort": "2", "rolle": "Sei kurz."}
    columns = Columns(prompt="frage", completion="antwort", system="rolle")
    assert convert(raw, columns=columns) == [system("Sei kurz."), user("1 + 1?"), assistant("2")]


def test_text() -> None:
    found = recognise_rows([{"text": "Once.", "url": "x"}], kind="documents")
    assert canonical({"text": "Once."}, found, "f:3").text == "Once."
    assert found.format == "text" and found.ignored == ("url",)


def test_text_is_chosen_for_documents_and_a_chat_format_for_conversations() -> None:
    row = {"prompt": "1 + 1?", "completion": "2", "text": "1 + 1? 2"}
    assert recognise_rows([row], kind="documents").format == "text"
    assert recognise_rows([row], kind="conversations").format == "prompt_completion"


# ---- recognition that fails -------------------------------------------------------------------------------


def test_unknown_columns_list_what_was_found_and_what_each_format_expects() -> None:
    message = fails({"foo": "1", "bar": "2"})
    assert "error[E120]" in message and "'foo', 'bar'" in message
    for word in ("messages", "sharegpt", "alpaca", "prompt_completion", "`instruction`", "`completion`"):
        assert word in message


def test_ambiguous_columns_are_not_guessed() -> None:
    raw = {"messages": turns("user", "assistant")["messages"], "prompt": "a", "completion": "b"}
    assert "error[E121]" in fails(raw)
    assert len(convert(raw, format="messages")) == 2
    assert "error[E121]" in fails({"question": "q", "answer": "a", "response": "r"})


def test_rows_of_other_stages() -> None:
    assert "preference rows" in fails({"prompt": "a", "chosen": "b", "rejected": "c"})
    assert "stage: pretrain" in fails({"text": "plain"})
    with pytest.raises(DataError, match="E127"):
        recognise_rows([{"prompt": "a", "completion": "b"}], format="prompt_completion", kind="documents")


def test_row_18_column_missing_or_renamed() -> None:
    message = fails({"prompts": "a", "completion": "b"}, format="prompt_completion")
    assert (
        "column 'prompt' of format `prompt_completion` is missing; found 'prompts', 'completion'" in message
    )
    assert "did you mean 'prompts'?" in message
    assert "E122" in fails({"a": "1", "b": "2"}, columns=Columns(prompt="aa", completion="b"))
    with pytest.raises(DataError, match=r"E122\] f:9: column 'completion'"):
        columns = Columns(prompt="prompt", completion="completion")
        canonical({"prompt": "a"}, Recognised("prompt_completion", columns), "f:9")
    assert "column 'content' of turn 1 is missing" in fails({"messages": [{"role": "user", "txt": "x"}]})


@pytest.mark.parametrize(
    ("value", "named"), [(None, "null"), (["a"], "a list"), (7, "a number (7)"), (True, "a boolean")]
)
def test_row_18_values_of_other_types(value: Any, named: str) -> None:
    message = fails({"prompt": value, "completion": "b"})
    assert message.startswith(f"error[E123] f:1: column 'prompt' must be text, found {named}.")
    message = fails({"messages": [{"role": "user", "content": value}]})
    assert f"'content' of turn 1 (user) must be text, found {named}" in message
    assert f"must be text, found {named}" in fails({"instruction": value, "output": "b"})


def test_row_18_turns_that_are_no_list() -> None:
    given = {"format": "messages"}
    assert "must be a list of turns, found null" in fails({"messages": None}, **given)
    assert "turn 1 of 'messages' must be an object, found str" in fails({"messages": ["hi"]}, **given)
    assert "'train' of turn 1 must be true or false" in fails(
        {"messages": [{"role": "user", "content": "a", "train": "yes"}]}
    )


# ---- roles (row 19) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (("user", "user", "assistant"), "turns 1 and 2 are both from the user"),
        (("user", "assistant", "assistant"), "turns 2 and 3 are both from the assistant"),
        (("user", "assistant", "system", "user", "assistant"), "turn 3 is a system message"),
    ],
)
def test_row_19_roles_in_the_wrong_order(roles: tuple[str, ...], words: str) -> None:
    message = fails(turns(*roles))
    assert message.startswith("error[E125] f:1: ") and words in message
    assert "roles: " + " ".join(roles) in message


def test_row_19_unknown_roles() -> None:
    message = fails(turns("user", "asistant"))
    assert "turn 2 has the unknown role 'asistant'; roles: user 'asistant'" in message
    assert "did you mean 'assistant'?" in message
    assert "uses tools" in fails(turns("user", "tool", "assistant"))
    assert "E124" in fails({"conversations": [{"from": "narrator", "value": "x"}]})
    assert "E124" in fails({"messages": [{"role": ["user"], "content": "x"}]})
    raw = turns("user", "assistant")
    raw["messages"][1]["tool_calls"] = [{"name": "search"}]
    assert "uses tools" in fails(raw)


def test_row_19_empty_content() -> None:
    raw = turns("user", "assistant")
    raw["messages"][0]["content"] = " \n"
    assert "error[E126] f:1: turn 1 (user) is empty; roles: user assistant" in fails(raw)
    assert "E126" in fails({"instruction": "", "output": "b"})
    with pytest.raises(DataError, match="E126"):
        canonical({"text": " "}, Recognised("text", Columns(text="text")), "f:1")


def test_row_19_two_system_messages() -> None:
    raw = turns("system", "user", "assistant") | {"system": "Another."}
    assert "two system messages" in fails(raw)


def test_an_empty_system_message_is_none() -> None:
    raw = {"messages": [{"role": "system", "content": ""}, *turns("user", "assistant")["messages"]]}
    assert [message.role for message in convert(raw)] == ["user", "assistant"]


def test_turns_without_a_partner_are_dropped_and_counted() -> None:
    said = ("gpt", "gpt", "human", "gpt", "human")
    raw = {"conversations": [{"from": who, "value": "x"} for who in said]}
    adjusted = Counter[Adjustment]()
    row = canonical(raw, Recognised("sharegpt", Columns(messages="conversations")), "f:1", adjusted)
    assert [message.role for message in row.messages] == ["user", "assistant"]
    assert adjusted == {Adjustment.LEADING_ASSISTANT: 2, Adjustment.TRAILING_USER: 1}


@pytest.mark.parametrize(
    "raw",
    [
        {"conversations": [{"from": "human", "value": "x"}]},
        {"conversations": [{"from": "gpt", "value": "x"}]},
        {"instruction": "x", "output": ""},
        {"prompt": "x", "completion": "\n"},
        {"prompt": "x", "completion": None},
    ],
)
def test_rows_without_a_reply_are_rejected_by_name(raw: dict) -> None:
    with pytest.raises(RowRejected) as caught:
        convert(raw)
    assert caught.value.reason is Reason.NO_REPLY


# ---- real files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format", "rows"),
    [
        ("alpaca_en_demo.json", "alpaca", 999),
        ("identity.json", "alpaca", 91),
        ("sharegpt_dummy_conversation.json", "sharegpt", 500),
        ("gsm8k_train_1500.jsonl", "prompt_completion", 1500),
        ("kto_en_demo.json", "messages", 300),
        ("c4_demo.jsonl", "text", 300),
        ("wiki_demo.txt", "text", 30),
    ],
)
def test_real_files_are_recognised_and_read_fully(real_data: Path, name: str, format: str, rows: int) -> None:
    found = recognise(real_data / name)
    assert found.format == format
    for place, raw in read_rows(real_data / name):
        canonical(raw, found, place)
        rows -= 1
    assert rows == 0


def test_real_preference_files_are_refused_for_sft(real_data: Path) -> None:
    for name in ("dpo_en_demo.json", "hh_harmless_pairs.jsonl"):
        with pytest.raises(DataError, match="preference rows"):
            recognise(real_data / name, kind="conversations")


def test_formats_and_readers_are_light() -> None:
    code = (
        "import sys, llamatune.data.formats.canonical, llamatune.data.read.sources, llamatune.data.read.cards;"
        "print([m for m in ('torch', 'datasets', 'transformers', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
