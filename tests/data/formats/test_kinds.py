"""Files as people really have them: each kind is read in the right way, or refused with what mends it."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamatune.commands.preview import preview_rows, recipe_for_file
from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.recognise import Recognised, check_prompts_alone, check_usable, recognise_rows
from llamatune.data.prepare import Prepared, prepare
from llamatune.data.read.readers import read_rows
from llamatune.data.read.sources import open_source
from llamatune.data.read.survey import Survey, in_columns, survey_of
from llamatune.data.rows import (
    Adjustment,
    Conversation,
    Document,
    Message,
    Preference,
    Prompt,
    Reason,
    Row,
    RowRejected,
)
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns, Data, Kind, Source


def write(folder: Path, text: str, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(raw: dict[str, Any], kind: Kind | None = None, **given: Any) -> Row:
    found = recognise_rows([raw], kind=kind, **given)
    check_usable(found, given.get("label"), "f")
    return canonical(raw, found, "f:1", label=given.get("label"))


def said(row: Row) -> list[tuple[str, str]]:
    assert isinstance(row, (Conversation, Prompt))
    return [
        (message.role, "\n\n".join(filter(None, (message.content, message.input))))
        for message in row.messages
    ]


def trained(row: Row) -> list[bool | None]:
    assert isinstance(row, Conversation)
    return [message.train for message in row.messages]


def replies(row: Row) -> tuple[str, str]:
    assert isinstance(row, Preference)
    return row.chosen[0].content, row.rejected[0].content


def fails(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments, **named)
    return str(caught.value)


U, A = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
HI = [("user", "Hi"), ("assistant", "Hello")]


# ---- columns ------------------------------------------------------------------------------------------------


def test_columns_are_those_of_all_rows(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": str(n)} for n in range(30)]
    late = {"question": "Sum?", "answer": "3", "context": "1, 2", "system": "Be brief.", "note": "x"}
    path = write(tmp_path, lines(*rows, late))
    opened = open_source(Source(path=str(path)), tmp_path, kind="conversations")
    names = {"prompt": "question", "completion": "answer", "input": "context", "system": "system"}
    assert opened.recognised.columns.names == names
    assert opened.recognised.ignored == ("note",)
    assert opened.survey.count == 31


def test_keys_of_turns_that_are_not_used_are_listed(tmp_path: Path) -> None:
    plain = {"messages": [U, A]}
    late = {"messages": [U, {**A, "thinking": "Greet back.", "name": None}]}
    seen = survey_of(read_rows(write(tmp_path, lines(*[plain] * 25, late))))
    assert recognise_rows(seen.rows).ignored == ("messages.thinking",)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"context": "in 1990"}, [("user", "When?\n\nin 1990"), ("assistant", "1990")]),
        ({"input": "in 1990", "topic": "x"}, [("user", "When?\n\nin 1990"), ("assistant", "1990")]),
        ({"system_prompt": "Be brief."}, [("system", "Be brief."), ("user", "When?"), ("assistant", "1990")]),
        ({"system_message": ""}, [("user", "When?"), ("assistant", "1990")]),
        ({"history": [["Who?", "Ann."]]},
         [("user", "Who?"), ("assistant", "Ann."), ("user", "When?"), ("assistant", "1990")]),
        ({"history": [U, A]}, [*HI, ("user", "When?"), ("assistant", "1990")]),
        ({"history": []}, [("user", "When?"), ("assistant", "1990")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", [("instruction", "output"), ("question", "answer")])
def test_parts_of_a_prompt_are_used(names: tuple[str, str], more: dict, expected: list) -> None:
    row = {names[0]: "When?", names[1]: "1990", **more}
    assert said(read(row, "conversations")) == expected
    assert said(read(row, "prompts")) == expected[:-1]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("conversations", {"images": ["a.png"]}),
        ("conversations", {"chat_template_kwargs": {"custom_instructions": "Ann came.", "xml_tools": []}}),
        ("conversations", {"image": b"png"}),
        ("conversations", {"passage": "Ann came."}),
        ("conversations", {"history": "Ann came."}),
        ("conversations", {"tools": [{"f": "x"}]}),
        ("prompts", {"passage": "Ann came."}),
        ("labels", {"passage": "Ann came."}),
    ],
)
def test_parts_of_a_prompt_that_are_not_understood_are_asked_for(kind: Kind, more: dict) -> None:
    row = {"prompt": "Who?", "completion": "Ann.", "label": True, **more}
    if "history" in more:
        assert "`ignore: [history]`" in fails(read, row, kind, label=None if kind == "labels" else True)
    else:
        assert "E135" in fails(read, row, kind, label=None if kind == "labels" else True)
    left = read(row, kind, ignore=list(more), label=None if kind == "labels" else True)
    assert said(left)[0] == ("user", "Who?")


@pytest.mark.parametrize("nothing", ["[]", "", None, [], "null", "nan"])
def test_a_cell_without_a_value_is_no_part_of_a_prompt(nothing: Any) -> None:
    assert recognise_rows([{"messages": [U, A], "tools": nothing}]).doubtful == ()


def test_a_column_is_not_used_where_it_cannot_be_what_its_name_says() -> None:
    """HotpotQA's context is a list of passages; the rating of distilabel's pairs has two grades."""
    passages = {"title": ["a"], "sentences": [["b"]]}
    found = recognise_rows([{"question": "Hi", "answer": "Hello", "context": passages}])
    assert found.columns.input is None and found.doubtful == ("context",)
    for rating in ([9.0, 8.0], "[9.0, 8.0]", {"a": 1}):
        row = {"prompt": "Hi", "chosen": "Hello", "rejected": "No.", "rating": rating}
        assert recognise_rows([row]).ignored == ("rating",)
        assert replies(read(row)) == ("Hello", "No.")


def test_rows_of_single_turns_are_refused() -> None:
    """Data bases and OpenAssistant's messages have a row for each turn, which would become plain text."""
    rows = [
        {"chat": 1, "role": "user", "content": "Hi"},
        {"chat": 1, "role": "assistant", "content": "Hello"},
    ]
    for kind in (None, "conversations", "prompts"):
        assert "E120" in fails(recognise_rows, rows, kind=kind)
    assert recognise_rows(rows, kind="documents").format == "text"
    assert recognise_rows([{**rows[0], "role": "Ann"}]).format == "text"


def test_turns_without_a_reply_are_prompts() -> None:
    """Sets for reinforcement learning have questions as `messages`, beside the answer that is checked."""
    row = {"messages": [{"role": "system", "content": "Add."}, U], "ground_truth": "3"}
    assert recognise_rows([row]).kind == "prompts"
    assert recognise_rows([row, {"messages": [U, A]}]).kind == "conversations"
    assert recognise_rows([row], kind="conversations").kind == "conversations"


def test_prompts_with_replies_are_not_taken_for_prompts_alone() -> None:
    for more in ({"completions": ["Hello", "No."]}, {"response_a": "Hello", "response_b": "No.", "grade": 1}):
        found = recognise_rows([{"prompt": "Hi", **more}])
        message = fails(check_prompts_alone, found, "f")
        assert "E120" in message and next(iter(more)) in message
    for more in (
        {"good": "Hello", "bad": "No."},
        {"response_win": "Hello"},
        {"candidates": ["Hello", "No."]},
    ):
        message = fails(check_prompts_alone, recognise_rows([{"prompt": "Hi", **more}]), "f")
        assert "E120" in message and next(iter(more)) in message
    check_prompts_alone(recognise_rows([{"prompt": "Hi", "response_length": 3, "num_responses": 2}]), "f")
    assert "E120" in fails(recognise_rows, [{"prompt": "Hi", "chosen": ["Hello"], "rejected": ["No."]}])


@pytest.mark.parametrize("lines", [
    ["User: Hi", "Assistant: Hello", "User: Bye", "Assistant: Ciao"],
    ["Human: Hi", "Assistant: Hello"],
    ["<|im_start|>user", "Hi<|im_end|>", "<|im_start|>assistant", "Hello<|im_end|>"],
])  # fmt: skip
def test_chats_with_a_turn_a_line_are_refused(lines: list[str]) -> None:
    rows = [{"text": line} for line in lines]
    message = fails(recognise_rows, rows)
    assert "E120" in message and "lines of chats" in message and "`stage: pretrain`" in message
    assert recognise_rows(rows, kind="documents").format == "text"
    assert recognise_rows([*rows, *[{"text": "Once."}] * 20]).format == "text"


def test_columns_of_other_languages_are_named_in_the_hint() -> None:
    message = fails(recognise_rows, [{"Frage": "Wer?", "Antwort": "Ann."}])
    assert "`columns: {prompt: Frage, completion: Antwort}`" in message
    assert "above it" in fails(recognise_rows, [{"Who is Ann?": "Who is Bo?", "A doctor.": "A baker."}])


def test_the_hint_of_an_unused_column_can_be_followed() -> None:
    row = {"question": "Who?", "answer": "Ann.", "passage": "Ann came."}
    hint = "`columns: {prompt: question, completion: answer, input: passage}`"
    assert hint in fails(read, row, "conversations")
    columns = Columns(prompt="question", completion="answer", input="passage")
    assert said(read(row, "conversations", columns=columns)) == [
        ("user", "Who?\n\nAnn came."),
        ("assistant", "Ann."),
    ]


def test_a_prompt_that_the_used_columns_say_too_is_no_loss() -> None:
    row = {"prompt": "Hi", "messages": [U, A], "image": None}
    assert said(read(row, "conversations")) == HI


# ---- turns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "train"),
    [
        ({"weight": 0}, False), ({"weight": 1.0}, True), ({"train": False}, False), ({"training": False}, False),
        ({"loss": False}, False), ({"mask": True}, False), ({"masked": 0}, True), ({"weight": None}, None),
        ({"loss_mask": 0}, False), ({"ignore": True}, False), ({"compute_loss": False}, False), ({"skip": 1}, False),
        ({"train": "false"}, False), ({"weight": "0"}, False), ({"weight": float("nan")}, None),
    ],
)  # fmt: skip
def test_every_spelling_of_do_not_train_this_turn(mark: dict, train: bool | None) -> None:
    assert trained(read({"messages": [U, {**A, **mark}, U, A]})) == [None, train, None, None]


def test_a_turn_of_sharegpt_may_be_left_untrained() -> None:
    talk = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello", "weight": 0}]
    assert trained(read({"conversations": talk})) == [None, False]


def test_marks_of_a_question_leave_it_untrained() -> None:
    assert trained(read({"messages": [{**U, "weight": 1}, A]})) == [None, None]
    assert trained(read({"messages": [{**U, "weight": 0}, A]})) == [False, None]
    assert trained(read({"messages": [{**U, "train": True}, A]})) == [True, None]


@pytest.mark.parametrize(
    "mark",
    [{"weight": 0.5}, {"loss": "no"}, {"train": True, "weight": 0}, {"train_detail": [{"begin_offset": 0}]}],
)
def test_marks_that_are_not_understood_are_refused(mark: dict) -> None:
    assert "E123" in fails(read, {"messages": [U, {**A, **mark}]})


@pytest.mark.parametrize(
    "turns",
    [
        [{"from": "human", "content": "Hi"}, {"from": "gpt", "content": "Hello"}],
        [{"role": "user", "value": "Hi"}, {"role": "model", "value": "Hello"}],
        [{"role": "Human", "content": "Hi"}, {"role": "ASSISTANT", "content": "Hello"}],
        [{"role": "User: ", "content": "Hi"}, {"role": "gpt-4", "content": "Hello"}],
        [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}],
        [{"speaker": "user", "utterance": "Hi"}, {"speaker": "chatbot", "utterance": "Hello"}],
        [{"role": None, "content": None, "from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        [
            {"role": "user", "content": [{"text": "Hi"}]},
            {"role": "assistant", "content": {"type": "text", "text": "Hello"}},
        ],
        [
            json.dumps({"role": "user", "content": "Hi"}),
            json.dumps({"content": "Hello", "role": "assistant"}),
        ],
        [
            {"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "input_text", "text": "i"}]},
            A,
        ],
    ],
)
@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_turns_of_mixed_styles(column: str, turns: list) -> None:
    assert said(read({column: turns})) == HI


def test_a_role_that_is_not_known_is_not_taken_for_the_other_speaker() -> None:
    message = fails(read, {"messages": [U, {"role": "answer", "content": "Hello"}]})
    assert "E124" in message and "did you mean" not in message


def test_a_key_that_stands_beside_the_one_that_is_read_is_listed() -> None:
    assert recognise_rows([{"messages": [{**U, "text": "Hey"}, A]}]).ignored == ("messages.text",)


def test_developer_messages_are_system_messages() -> None:
    row = {"messages": [{"role": "developer", "content": "Be brief."}, U, A]}
    assert said(read(row)) == [("system", "Be brief."), *HI]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"messages": [A, U, A]}, "conversations"),
        ({"conversations": [{"from": "gpt", "value": "Hello"}, {"from": "human", "value": "Hi"}]}, "prompts"),
        ({"prompt": [A, U]}, "prompts"),
        ({"chosen": [A, U, A], "rejected": [A, U, {**A, "content": "No."}]}, "preferences"),
    ],
)  # fmt: skip
def test_a_greeting_is_dropped_and_counted(row: dict, kind: Kind) -> None:
    adjusted = Counter[Adjustment]()
    canonical(row, recognise_rows([row], kind=kind), "f:1", adjusted)
    assert adjusted == {Adjustment.LEADING_ASSISTANT: 1}


def test_parts_that_are_no_text_are_refused_by_name() -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    assert "a part of type 'image_url'" in fails(read, {"messages": [{**U, "content": [image]}, A]})
    assert "a part of type 'image'" in fails(read, {"prompt": [{"type": "image"}], "completion": "x"})


# ---- lists of turns in other places -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [U], "completion": [A]},
        {"prompt": [U], "completion": A},
        {"prompt": "Hi", "completion": [A]},
        {"question": [{"from": "human", "value": "Hi"}], "answer": [{"from": "gpt", "value": "Hello"}]},
        {"prompt": json.dumps([U]), "completion": "Hello"},
        {"prompt": "Hi", "response": str([A])},
        {"messages": json.dumps([U, A])},
        {"conversations": str([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}])},
        {"messages": {"role": ["user", "assistant"], "content": ["Hi", "Hello"]}},
        {"conversations": {"from": ["human", "gpt"], "value": ["Hi", "Hello"], "weight": [None, None]}},
        {"chat_messages": [{"sender": "human", "text": "Hi"}, {"sender": "assistant", "text": "Hello"}]},
        {"messages": [{"role": "system", "content": None}, U, A]},
        {"inputs": "Hi", "targets": "Hello"},
        {"document": "Hi", "summary": "Hello", "id": 3},
        {"dialogue": "Hi", "summary": "Hello"},
        {" Prompt": "Hi", "completion ": "Hello"},
        {"data": ["Hi", "Hello"]},
        {"conversations": ["Hi", "Hello"]},
        {"prompt": "\n\nHuman: Hi\n\nAssistant:", "completion": " Hello"},
        {"instruction": "Human: Hi\n\nAssistant:", "output": "Hello"},
        {"prompt": "Human: Hi\nAI:", "completion": "Hello"},
        {"instruction": "", "input": "Hi", "output": "Hello"},
    ],
)
def test_conversations_in_all_their_shapes(row: dict) -> None:
    assert said(read(row, "conversations")) == HI
    assert said(read(row, "prompts")) == HI[:1]


def test_a_reply_in_a_column_beside_its_prompts() -> None:
    """Logs of chats: the turns up to a question, and what was answered. Without that column, the reply would be lost,
    and the one before it trained."""
    row = {"messages": [U, A, {**U, "content": "Bye"}], "response": "Ciao"}
    assert said(read(row)) == [*HI, ("user", "Bye"), ("assistant", "Ciao")]
    assert trained(read(row)) == [None, False, None, None]
    assert said(read({"conversations": [U], "output": "Hello"})) == HI
    assert said(read({"messages": [U, A], "response": "Ciao"})) == HI
    told = Columns(messages="messages")
    assert recognise_rows([row], columns=told).format == "messages"


WHO, ME = {**U, "content": "Who?"}, {**A, "content": "Me."}


def in_words_of_sharegpt(*turns: dict) -> list[dict]:
    return [{"from": turn["role"], "value": turn["content"]} for turn in turns]


@pytest.mark.parametrize("many", [1, 30])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("messages", lambda *turns: list(turns)),
        ("conversations", in_words_of_sharegpt),
        ("conversations", lambda *turns: [turn["content"] for turn in turns]),
    ],
    ids=["messages", "sharegpt", "alternating"],
)
def test_a_reply_beside_the_turns_of_some_rows(
    tmp_path: Path, column: str, written: Callable[..., list], name: str, many: int
) -> None:
    """Each reply is joined to its row: it would be lost, and the one before it trained. Which of two is meant is not
    guessed, and all this is seen however late in the file it begins."""
    rows = [
        *[{column: written(WHO, ME), "answer": "", "system": "Be."}] * many,
        {column: written(WHO, ME, U), "answer": "Hello", "system": ""},
        {column: written(U), "answer": "Hello", "system": ""},
        {column: written(U, A), "answer": " Hello", "system": ""},
        {column: written(U), "answer": "", "system": ""},
        {column: written(U, A), "answer": "Ciao", "system": ""},
    ]
    if name == "a.csv":
        cells = [[json.dumps(row[column]), row["answer"], row["system"]] for row in rows]
        with (path := tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([list(rows[0]), *cells])
    else:
        path = write(tmp_path, lines(*rows))
    found = recognise_rows(survey_of(read_rows(path)).rows, kind="conversations")
    check_usable(found, None, "f")
    *_, whole, joined, alone, twice, silent, two = [raw for _, raw in read_rows(path)]
    before = [("user", "Who?"), ("assistant", "Me.")]
    assert said(canonical(whole, found, "f")) == [("system", "Be."), *before]
    row = canonical(joined, found, "f")
    assert said(row) == [*before, *HI] and trained(row) == [None, False, None, None]
    assert said(canonical(alone, found, "f")) == said(canonical(twice, found, "f")) == HI
    with pytest.raises(RowRejected):
        canonical(silent, found, "f")
    assert "E125" in fails(canonical, two, found, "f:9") and "ignore: [answer]" in fails(
        canonical, two, found, "f"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("instruction", "output", "response"),
        ("instruction", "response", "output"),
        ("prompt", "completion", "answer"),
    ],
)
def test_replies_in_two_columns_are_named(names: tuple[str, str, str]) -> None:
    """Two files were joined to one table: half of its rows would have no reply."""
    rows = [dict(zip(names, cells, strict=True)) for cells in (("Hi", "Hello", None), ("Bye", "", "Ciao"))]
    assert "E121" in fails(recognise_rows, rows, kind="conversations")
    assert recognise_rows(rows, ignore=[names[2]], kind="conversations").columns.completion == names[1]
    assert recognise_rows([{**rows[0], names[2]: "Hm."}]).columns.completion in names, "each has one"


@pytest.mark.parametrize(
    "names", [("A", "B"), ("option_a", "option_b"), ("opa", "opb"), ("choice1", "choice2")]
)
def test_answers_to_choose_from_are_part_of_the_prompt(names: tuple[str, str]) -> None:
    """As exams in tables have them: the letter of an answer that is not shown cannot be learnt."""
    row = {"question": "2 + 2?", names[0]: "three", names[1]: "four", "answer": "B"}
    assert recognise_rows([row]).doubtful == names and not recognise_rows([row]).usable
    assert not recognise_rows([{"question": "Hi", "answer": "Hello", names[1]: "x"}]).doubtful, (
        "one is no choice"
    )


@pytest.mark.parametrize("column", ["messages", "conversations", "chat"])
@pytest.mark.parametrize("style", [lambda turn: turn["content"], lambda turn: turn, lambda turn: [turn]])
def test_pairs_with_a_chat_before_them(column: str, style: Callable[[dict], Any]) -> None:
    """`init` took the chat for prompts of ppo, and left both replies out."""
    row = {column: [WHO, ME, U], "chosen": style(A), "rejected": style({**A, "content": "No."})}
    found = read(row)
    assert isinstance(found, Preference) and replies(found) == ("Hello", "No.")
    assert [turn.content for turn in found.prompt] == ["Who?", "Me.", "Hi"]


def test_a_chat_that_is_beside_whole_pairs_is_not_their_prompt() -> None:
    """UltraFeedback, binarised, has the chosen chat once more as `messages`."""
    whole = {"chosen": [U, A], "rejected": [U, {**A, "content": "No."}], "messages": [U, A]}
    for row in (whole, {"prompt": "Hi", **whole}, {"prompt": "Hi", **whole, "messages": [U]}):
        found = recognise_rows([row])
        assert found.format == "preference" and found.columns.messages is None
        assert replies(read(row)) == ("Hello", "No.")


def test_a_reply_beside_turns_is_taken_from_one_column() -> None:
    rows = [{"messages": [WHO, ME]}, {"messages": [U], "answer": "Hello", "response": "Hm."}]
    assert "E121" in fails(recognise_rows, rows)
    told = recognise_rows(rows, columns=Columns(messages="messages", completion="response"))
    assert [turn for _, turn in said(canonical(rows[1], told, "f"))] == ["Hi", "Hm."]
    for one in (rows, rows[1:]):
        assert recognise_rows(one, ignore=["answer", "response"]).columns.names == {"messages": "messages"}
    final = [{"messages": [WHO, ME], "answer": "42"}]
    assert recognise_rows(final).columns.completion is None, "no row waits for it"
    other = [{"log": [WHO, ME], "gold": ""}, {"log": [U], "gold": "Hello"}]
    told = recognise_rows(other, columns=Columns(messages="log", completion="gold"))
    assert said(canonical(other[1], told, "f")) == HI


@pytest.mark.parametrize("kind", ["prompts", "labels"])
def test_a_reply_beside_the_turns_of_some_rows_is_for_other_stages_too(kind: Kind) -> None:
    rows = [
        {"messages": [WHO, ME], "answer": None, "label": True},
        {"messages": [U], "answer": "Hello", "label": False},
    ]
    found = recognise_rows(rows, kind=kind)
    row = canonical(rows[1], found, "f")
    assert isinstance(row, Prompt if kind == "prompts" else Conversation)
    assert said(row) == (HI[:1] if kind == "prompts" else HI)
    assert row.reference == "Hello" if isinstance(row, Prompt) else row.score == 0.0


def test_several_forms_of_one_chat_are_no_question() -> None:
    """Magpie and NuminaMath have each chat as a question with its answer and as turns."""
    row = {"problem": "Hi", "solution": "Hello", "messages": [U, A]}
    assert recognise_rows([row, row]).format == "messages"
    assert "E121" in fails(recognise_rows, [row, {**row, "solution": "Hm."}])
    assert "E121" in fails(recognise_rows, [row, {"problem": "Hi", "solution": "Hello"}])


def test_a_text_of_turns_is_read_where_it_is_named() -> None:
    """The transcripts of Anthropic's red team."""
    row = {"transcript": "\n\nHuman: Hi\n\nAssistant: Hello", "rating": 3.0}
    assert said(read(row, "conversations", columns=Columns(messages="transcript"))) == HI


def test_several_replies_in_one_column_are_told_apart() -> None:
    assert "`chosen` and `rejected`" in fails(read, {"instruction": "Hi", "output": ["Hello", "No."]})


@pytest.mark.parametrize("text", [
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user"
    "<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>",
    "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello</s>\n",
    "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s>",
    "### System: Be brief.\n\n### User: Hi\n\n### Assistant: Hello",
    "SYSTEM: Be brief. USER: Hi ASSISTANT: Hello</s>",
    "System: Be brief.\nUser: Hi\nAssistant: Hello",
])  # fmt: skip
@pytest.mark.parametrize("column", ["text", "conversation"])
def test_a_chat_that_a_template_has_written_is_read(column: str, text: str) -> None:
    assert said(read({column: text})) == [("system", "Be brief."), *HI]
    assert recognise_rows([{"text": text}], kind="documents").format == "text"
    assert recognise_rows([{"text": text}, {"text": "Once."}]).format == "text"


@pytest.mark.parametrize("text", [
    "Below is an instruction that describes a task. Answer it.\n\n### Instruction:\nHi\n\n### Response:\nHello",
    "A chat between a curious user and an artificial intelligence assistant. It is polite. USER: Hi ASSISTANT: Hello",
    "### Human: Hi### Assistant: Hello",
    "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>",
    "<|header_start|>user<|header_end|>\n\nHi<|eot|><|header_start|>assistant<|header_end|>\n\nHello<|eot|>",
    "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>Hello<｜end▁of▁sentence｜>",
    "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello<|END_OF_TURN_TOKEN|>",
    "Human: Hi\nAI: Hello",
    "\n\nHuman: Hi\n\nAssistant: Hello",
    json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]),
    json.dumps([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]),
])  # fmt: skip
def test_a_column_for_text_may_hold_chats(text: str) -> None:
    assert said(read({"text": text})) == HI
    document = read({"text": text}, "documents")
    assert isinstance(document, Document) and document.text == text


def test_a_chat_that_is_written_again_as_text_is_read_from_its_columns() -> None:
    row = {"instruction": "Hi", "output": "Hello", "text": "### Instruction:\nHi\n\n### Response:\nHello"}
    assert recognise_rows([row]).format == "alpaca"


def test_what_a_template_wrote_around_prompts_and_replies_is_no_part_of_them() -> None:
    prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert said(read({"prompt": prompt, "completion": "Hello<|im_end|>\n"})) == HI
    assert replies(read({"prompt": prompt, "chosen": "Hello<|im_end|>", "rejected": "No.<|im_end|>"})) == (
        "Hello",
        "No.",
    )
    both = {
        side: f"User: Hi\nAssistant: {reply}" for side, reply in (("chosen", "Hello"), ("rejected", "No."))
    }
    assert replies(read(both)) == ("Hello", "No.")


def test_long_blanks_in_a_chat_take_no_time() -> None:
    blank = " " * 200_000
    assert said(read({"text": f"### Human: Hi{blank}### Assistant: Hello{blank}</s>"})) == HI
    assert recognise_rows([{"text": f"{blank}Once{blank}."}]).format == "text"


def test_a_reply_may_quote_a_chat() -> None:
    quoted = "User: Hi\nAssistant: Hello"
    assert said(read({"prompt": "Write a chat.", "completion": quoted}))[1] == ("assistant", quoted)
    pair = {"prompt": "Write a chat.", "chosen": quoted, "rejected": "User: No\nAssistant: No."}
    assert replies(read(pair))[0] == quoted


@pytest.mark.parametrize("nothing", ["", " ", None])
def test_an_empty_turn_at_the_end_is_a_place_for_a_reply(nothing: str | None) -> None:
    asked = [U, {"role": "assistant", "content": nothing}]
    assert said(read({"messages": asked, "answer": "Hello"})) == HI
    assert said(read({"messages": [U, A, *asked]})) == HI
    with pytest.raises(RowRejected, match="no reply"):
        read({"messages": asked})
    with pytest.raises(RowRejected, match="no reply"):  # a label is about the reply that is missing
        read({"messages": [U, A, *asked], "label": True}, "labels")
    assert said(read({"prompt": asked, "completion": "Hello"})) == HI


@pytest.mark.parametrize("names", [
    ("chosen_response", "rejected_response"), ("response_chosen", "response_rejected"), ("accepted", "rejected"),
    ("preferred", "dispreferred"),
])  # fmt: skip
def test_other_names_of_the_two_replies(names: tuple[str, str]) -> None:
    row = {"prompt": "Hi", names[0]: "Hello", names[1]: "No."}
    assert replies(read(row)) == ("Hello", "No.")
    assert "E127" in fails(read, row, "conversations")


def test_thoughts_and_tools_that_are_not_read_are_listed() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Hello"}]
    row = {"messages": [U, {"role": "assistant", "content": parts}]}
    assert said(read(row)) == HI and recognise_rows([row]).ignored == ("messages.content.thinking",)
    pair = {"preferred_output": [A], "non_preferred_output": [{**A, "content": "No."}]}
    found = recognise_rows([{"input": {"messages": [U], "tools": [{"type": "function"}]}, **pair}])
    assert found.ignored == ("input.tools",)


def test_exchanges_beside_a_pair_are_not_its_prompt() -> None:
    row = {
        "conversation": [{"input": "Hi", "output": "Hello"}],
        "chosen": [U, A],
        "rejected": [U, {**A, "content": "No."}],
    }
    assert replies(read(row)) == ("Hello", "No.")


def test_what_was_read_out_of_a_text_is_counted() -> None:
    row = {"messages": json.dumps([U, A])}
    adjusted = Counter[Adjustment]()
    canonical(row, recognise_rows([row]), "f:1", adjusted)
    assert adjusted == {Adjustment.UNFOLDED: 1}


def test_a_list_that_cannot_be_read_out_of_a_text_is_refused() -> None:
    """As numpy prints lists of objects: without commas."""
    row = {"prompt": "Hi", "completion": "[{'role': 'assistant', 'content': 'Hello'}\n {'role': 'user'}]"}
    assert "neither JSON nor Python" in fails(read, row, "conversations")
    about_json = {"prompt": "Show a turn", "completion": "[{'role': 'user'}] is a list of one turn."}
    assert said(read(about_json, "conversations"))[1][1] == about_json["completion"]


def test_replies_in_a_prompt_are_not_trained() -> None:
    row = {"prompt": "\n\nHuman: Who?\n\nAssistant: Me.\n\nHuman: Hi\n\nAssistant:", "response": " Hello"}
    assert said(read(row, "conversations")) == [("user", "Who?"), ("assistant", "Me."), *HI]
    assert trained(read(row, "conversations")) == [None, False, None, None]
    turns = {"prompt": [{**U, "content": "Who?"}, {**A, "content": "Me."}, U], "completion": [A]}
    assert trained(read(turns, "conversations")) == [None, False, None, None]
    assert said(read({"prompt": row["prompt"]}, "prompts")) == said(read(row, "conversations"))[:-1]


def test_an_openassistant_tree_gives_the_branch_of_the_best_ranks() -> None:
    def node(role: str, text: str, *replies: dict, **more: Any) -> dict:
        return {"role": role, "text": text, "replies": list(replies), **more}

    tree = node(
        "prompter", "Hi",
        node("assistant", "Bad.", rank=1),
        node("assistant", "Hello", node("prompter", "More!", node("assistant", "Gone.", rank=0, deleted=True)), rank=0),
    )  # fmt: skip
    row = {"message_tree_id": "x", "prompt": tree}
    adjusted = Counter[Adjustment]()
    found = recognise_rows([row], kind="conversations")
    assert found.format == "oasst" and said(canonical(row, found, "f:1", adjusted)) == HI
    assert adjusted == {Adjustment.TRAILING_USER: 1}


@pytest.mark.parametrize(
    "row",
    [
        {"question_id": 1, "turns": ["Hi", "Shorter."]},
        {"prompt": ["Hi", "Shorter."]},
        {"prompt": '["Hi", "Shorter."]', "response_a": '["Hello", "."]'},
    ],
)
def test_lists_of_questions_become_their_first_one(row: dict) -> None:
    """As MT-Bench and LMSYS's Kaggle set have them."""
    adjusted = Counter[Adjustment]()
    assert said(canonical(row, recognise_rows([row], kind="prompts"), "f:1", adjusted)) == HI[:1]
    assert adjusted == {Adjustment.LATER_QUESTIONS: 1}


# ---- pairs --------------------------------------------------------------------------------------------------


def test_which_reply_is_better_is_not_guessed() -> None:
    row = {"prompt": "A fruit?", "response_0": "Apple", "response_1": "Stone", "better_response_id": 0}
    assert replies(read(row, "preferences")) == ("Apple", "Stone")
    assert replies(read({**row, "better_response_id": 1}, "preferences")) == ("Stone", "Apple")
    columns = {
        "prompt": "prompt",
        "first": "response_0",
        "second": "response_1",
        "better": "better_response_id",
    }
    assert replies(read(row, "preferences", columns=Columns(**columns))) == ("Apple", "Stone")
    other = {"q": "A fruit?", "a": "Apple", "b": "Stone", "winner": "model_a"}
    named = {"prompt": "q", "first": "a", "second": "b", "better": "winner"}
    message = fails(read, other, "preferences", columns=Columns(**named))
    assert "E128" in message and "better: winner, better_is: [0, 1]}" in message
    told = Columns(**named, better_is=["model_a", "model_b"])
    assert replies(read(other, "preferences", columns=told)) == ("Apple", "Stone")
    assert replies(read({**other, "winner": "model_b"}, "preferences", columns=told)) == ("Stone", "Apple")
    assert "known: model_a, model_b" in fails(
        read, {**other, "winner": "model_c"}, "preferences", columns=told
    )


def test_one_pair_is_shown_where_a_column_says_which_reply_is_better(tmp_path: Path) -> None:
    row = {"history": "A fruit?", "human_ref_A": "Apple", "human_ref_B": "Stone", "labels": 0.0}
    opened = open_source(Source(path=str(write(tmp_path, lines(row)))), tmp_path, kind="preferences")
    assert any("'Stone' is better than 'Apple'" in line for line in opened.describe())


def test_the_number_of_a_reply_is_believed_in_its_own_columns_only() -> None:
    row = {"prompt": "A fruit?", "response_1": "Apple", "response_2": "Stone", "better_response_id": 1}
    named = {
        "prompt": "prompt",
        "first": "response_1",
        "second": "response_2",
        "better": "better_response_id",
    }
    assert "E128" in fails(read, row, "preferences", columns=Columns(**named))
    told = Columns(**named, better_is=[1, 2])
    assert replies(read(row, "preferences", columns=told)) == ("Apple", "Stone")


def test_a_column_that_is_named_as_the_choice_is_no_label_of_one_reply() -> None:
    row = {"info": {"post": "p"}, "summaries": [{"text": "a"}, {"text": "b"}], "preferred": 1}
    named = Columns(prompt="info", replies="summaries", better="preferred", better_is=[0, 1])
    assert replies(read(row, "preferences", columns=named)) == ("b", "a")


@pytest.mark.parametrize("prompt", ["A  fruit?", "A\r\nfruit?", "A fruit\u00a0?", "Caf\u00e9?"])
def test_two_copies_of_a_prompt_may_differ_in_white_space_and_forms_of_letters(prompt: str) -> None:
    other = " ".join(prompt.replace("\u00e9", "e\u0301").split())
    row = {"prompt": prompt, "chosen": [{**U, "content": other}, {**A, "content": "Apple"}],
           "rejected": [{**U, "content": other + "\n"}, {**A, "content": "Stone"}]}  # fmt: skip
    assert replies(read(row, "preferences")) == ("Apple", "Stone")


@pytest.mark.parametrize(
    "prompt",
    ["\n\nHuman: Hi\n\nAssistant: ", "Human: Hi\n\nAssistant:", "Hi", "\r\n\r\nHuman: Hi\r\n\r\nAssistant:"],
)
def test_a_prompt_beside_texts_that_hold_it(prompt: str) -> None:
    text = "\n\nHuman: Hi\n\nAssistant: "
    row = {"prompt": prompt, "chosen": text + "Hello", "rejected": text + "No."}
    found = read(row, "preferences")
    assert replies(found) == ("Hello", "No.") and [turn.content for turn in found.prompt] == ["Hi"]


@pytest.mark.parametrize("end", ["\n", "\r\n\r\n"])
@pytest.mark.parametrize("greeting", ["", "Assistant: Welcome{end}"])
def test_texts_of_turns_whatever_divides_them(end: str, greeting: str) -> None:
    prompt = f"{greeting.format(end=end)}Human: Hi{end}Assistant:"
    for kind, row in (
        ("conversations", {"prompt": prompt, "completion": " Hello"}),
        ("prompts", {"prompt": prompt}),
        ("preferences", {"prompt": prompt, "chosen": " Hello", "rejected": " No."}),
        ("preferences", {"chosen": f"{prompt} Hello", "rejected": f"{prompt} No."}),
    ):
        found = read(row, kind)
        turns = found.messages if kind != "preferences" else found.prompt
        assert turns[0].content == "Hi", (kind, row)


def test_an_input_belongs_to_turns_in_a_prompt_too() -> None:
    for prompt in ("Human: Hi\n\nAssistant:", [U]):
        found = read({"instruction": prompt, "input": "Hey", "output": "Hello"})
        assert found.messages[0].input == "Hey"


def test_a_prompt_of_one_turn_is_a_turn() -> None:
    assert said(read({"prompt": U, "completion": A})) == HI
    assert said(read({"prompt": json.dumps(U), "completion": json.dumps(A)})) == HI
    text = '{"role": "admin"}'
    assert read({"prompt": "JSON?", "completion": text}).messages[1].content == text


def test_a_chat_that_the_assistant_opened_has_no_first_question() -> None:
    for nothing in ("", None):
        row = {"prompt": "Hi", "completion": "Hello", "history": [[nothing, "Welcome"]]}
        assert said(read(row)) == HI


def test_a_greeting_in_front_of_a_pair_is_dropped() -> None:
    row = {"prompt": [A, U], "chosen": "Hello", "rejected": "No."}
    assert replies(read(row, "preferences")) == ("Hello", "No.")


def test_white_space_around_a_prompt_does_not_matter() -> None:
    side = [{**U, "content": "A fruit?"}]
    row = {
        "prompt": "A fruit? \n",
        "chosen": [*side, {**A, "content": "Apple"}],
        "rejected": [{**U, "content": " A fruit?"}, {**A, "content": "Stone"}],
    }
    assert replies(read(row, "preferences")) == ("Apple", "Stone")
    row["prompt"] = "A tree?"
    assert "E129" in fails(read, row, "preferences")


def test_contents_as_gemini_has_them() -> None:
    row = {
        "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}]},
            {"role": "model", "parts": [{"text": "Hello, "}, {"text": "you."}]},
        ],
    }
    assert said(read(row)) == [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello, you.")]
    picture = {"role": "user", "parts": [{"fileData": {"fileUri": "a.png"}}, {"text": "What is it?"}]}
    assert "E123" in fails(read, {"contents": [picture, row["contents"][1]]})


def test_arenas_and_their_ties() -> None:
    def chat(reply: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": reply}]

    chats = {"conversation_a": chat("good"), "conversation_b": chat("bad"), "turn": 1, "language": "English"}
    assert replies(read({**chats, "winner": "model_a"})) == ("good", "bad")
    assert replies(read({**chats, "winner": "model_b"})) == ("bad", "good")
    texts = {"prompt": "Hi", "response_a": "bad", "response_b": "good", "winner": "model_b"}
    assert replies(read(texts)) == ("good", "bad")
    mine = Columns(better_is=["A", "B"])
    assert replies(read({**texts, "winner": "A"}, columns=mine)) == ("bad", "good")
    for tie in ("tie", "tie (bothbad)", "Tie", "both", "neither", "Equally good"):
        with pytest.raises(RowRejected) as left_out:
            read({**chats, "winner": tie})
        assert left_out.value.reason is Reason.TIE
    with pytest.raises(DataError, match=r"E128.*'model_c'; known: model_a, model_b.*\n.*better_is: \[\.\.\."):
        read({**chats, "winner": "model_c"})
    with pytest.raises(DataError, match="E127"):
        read({**chats, "winner": "model_a"}, kind="conversations")


FLAGS = ("winner_model_a", "winner_model_b", "winner_tie")


def judged(*flags: int, **more: Any) -> dict[str, Any]:
    texts = {"id": 7, "model_a": "x", "model_b": "y"}
    lists = {"prompt": '["Hi", "Bye"]', "response_a": '["Hello", "Ciao"]', "response_b": '["No.", "No!"]'}
    return {**texts, **lists, **dict(zip(FLAGS, flags, strict=True)), **more}


def test_winners_as_flags() -> None:
    """LMSYS's Kaggle set: columns of 0 and 1 for each reply and for a tie, lists of prompts and replies as JSON."""
    pair = read(judged(1, 0, 0))
    assert isinstance(pair, Preference) and replies(pair) == ("Hello", "No.")
    assert pair.prompt == (Message("user", "Hi"),)
    assert pair.chosen[1:] == (Message("user", "Bye"), Message("assistant", "Ciao"))
    assert replies(read(judged(0, 1, 0))) == ("No.", "Hello")
    one = {"prompt": "Hi", "response_a": "Hello", "response_b": "[No.]"}
    assert replies(read(judged(0, 1, 0, **one))) == ("[No.]", "Hello")
    found = recognise_rows([judged(1, 0, 0)])
    assert found.format == "arena" and found.ignored == ("id", "model_a", "model_b")
    for flags in ((0, 0, 1), (0, 0, 0)):
        with pytest.raises(RowRejected) as left_out:
            read(judged(*flags))
        assert left_out.value.reason is Reason.TIE
    for flags in ((1, 1, 0), (0, 1, 1)):
        assert "E128 " in fails(read, judged(*flags)).replace("]", " ")
    with pytest.raises(RowRejected) as left_out:
        read(judged(1, 0, 0, response_a='["Hello", null]'))
    assert left_out.value.reason is Reason.NO_REPLY
    assert "3 in 'prompt', 2 in" in fails(read, judged(1, 0, 0, prompt='["a", "b", "c"]'))
    assert "E103" in fails(read, judged(1, 0, 0, prompt='["Hi", "\\ud83d"]'))
    with_one_flag = {name: value for name, value in judged(1, 0, 0).items() if name != "winner_model_b"}
    assert recognise_rows([with_one_flag]).kind == "prompts"


def test_flags_of_other_names_say_themselves_which_reply_is_better() -> None:
    row = {"q": "A fruit?", "a": "Apple", "b": "Stone", "a_wins": "False", "b_wins": "True"}
    named = Columns(prompt="q", first="a", second="b", better="a_wins", better_second="b_wins")
    assert replies(read(row, "preferences", columns=named)) == ("Stone", "Apple")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "response_1": "No.", "response_2": "Hello", "preference_strength": 2},
        {"prompt": "Hi", "response_1": "Hello", "response_2": "No.", "preference_strength": -3.0},
        {"context": [U], "response1": "Hello", "response2": "No.", "overall_preference": -1},
        {"prompt": "\n\nHuman: Hi\n\nAssistant: ",
         "answers": [{"answer": "No.", "rank": 3.0}, {"answer": "Hello", "rank": 1.0}]},
        {"question": "Hi", "answers": [{"text": "No.", "pm_score": 0}, {"text": "Hello", "pm_score": 4}]},
        {"question": "Hi", "response_j": "Hello", "response_k": "No."},
    ],
)  # fmt: skip
def test_strengths_ranks_and_scores_say_which_reply_is_better(row: dict) -> None:
    """HelpSteer2 and 3 (below 0: the first), Nectar (rank 1 is the best), and Stack Exchange's two sets."""
    assert replies(read(row)) == ("Hello", "No.")
    if "preference_strength" in row:
        with pytest.raises(RowRejected) as left_out:
            read({**row, "preference_strength": 0})
        assert left_out.value.reason is Reason.TIE


def test_preferences_as_openai_and_ultrafeedback_write_them() -> None:
    row = {"input": {"messages": [U], "tools": []}, "preferred_output": [A],
           "non_preferred_output": [{**A, "content": "No."}]}  # fmt: skip
    assert replies(read(row, "preferences")) == ("Hello", "No.")
    scored = [
        {"response": text, "fine-grained_score": score, "overall_score": 10 - score}
        for text, score in (("So.", 3.0), ("Hello", 4.5), ("No.", 1.0))
    ]
    row = {"source": "x", "instruction": "Hi", "completions": scored}
    assert replies(read(row, "preferences")) == ("Hello", "No.")
    equal = [{**one, "fine-grained_score": 3} for one in scored]
    for completions, reason in ((equal, Reason.TIE), ([], Reason.NO_REPLY)):
        with pytest.raises(RowRejected) as caught:
            canonical({**row, "completions": completions}, recognise_rows([row]), "f:1")
        assert caught.value.reason is reason


def test_a_mark_beside_each_reply_is_named_where_all_are_learnt_alike() -> None:
    rows = [{"prompt": f"q {mark}", "response": "a", "Score": mark} for mark in (0.1, 0.9)]

    def said(rows: list[dict], **how: Any) -> list[str]:
        return list(
            survey_of((f"f:{at}", row) for at, row in enumerate(rows, 1)).warnings(
                recognise_rows(rows, **how)
            )
        )

    [warning] = said(rows)
    assert "column `Score` may say how good a reply is" in warning and "`columns: {score: Score}`" in warning
    assert said(rows, columns=Columns(score="Score"), kind="scores") == []
    assert said(rows, ignore=["Score"]) == [] and said([row | {"Score": 1} for row in rows]) == []


@pytest.mark.parametrize(
    ("replies_of", "grades_of", "grades"),
    [
        ("responses", "scores", [0.4, 0.9, None]),
        ("answers", "ratings", [2, 5, 1]),
        ("outputs", "ranks", [2, 1, 3]),
    ],
)
def test_replies_beside_a_list_of_their_grades(replies_of: str, grades_of: str, grades: list) -> None:
    row = {"query": "Hi", replies_of: ["So.", "Hello", "No."], grades_of: grades}
    found = recognise_rows([row])
    assert found.format == "ultrafeedback" and not found.ignored
    worst = "So." if None in grades else "No."
    assert replies(canonical(row, found, "f:1")) == ("Hello", worst)
    with pytest.raises(DataError, match=r"E123.*has 3 replies, and column .* 2 grades"):
        canonical(row | {grades_of: grades[:2]}, found, "f:1")


def test_a_ranking_may_be_ranks_or_an_order() -> None:
    row = {"prompt": "Hi", "responses": ["Hello", "No.", "So."], "ranking": [2, 0, 1]}
    assert "E128" in fails(recognise_rows, [row])
    told = Columns(prompt="prompt", replies="responses", score="ranking")
    assert replies(canonical(row, recognise_rows([row], columns=told), "f:1")) == ("No.", "Hello")
    for clear in ([0, 1, 2], [0, 2, 1, 3], [1, 1, 2], []):
        row |= {"responses": list("abcd")[: len(clear)], "ranking": clear}
        assert recognise_rows([row]).format == "ultrafeedback"


def test_a_hint_names_columns_that_can_be_read() -> None:
    pairs = fails(recognise_rows, [{"chosen": "a", "rejected": "b"}])
    assert "columns: {prompt: ..., chosen: ..., rejected: ...}" in pairs
    squad = fails(recognise_rows, [{"title": "Rome", "paragraphs": [{"context": "..."}]}])
    assert "completion: paragraphs" not in squad and "(paragraphs) cannot be named" in squad
    assert "columns: {prompt: asked, completion: said}" in fails(
        recognise_rows, [{"asked": "a", "said": "b"}]
    )


@pytest.mark.parametrize("reply", [{"value": "Rome", "aliases": []}, [{"type": "PER"}], {"a": 1}])
def test_an_object_is_no_reply(reply: Any) -> None:
    assert "write it as the text that is to be learnt" in fails(read, {"prompt": "Hi", "completion": reply})


def test_a_history_of_exchanges() -> None:
    row = {"history": [{"user": "Ho", "assistant": "Hey"}], "prompt": "Hi", "completion": "Hello"}
    found = recognise_rows([row], columns=Columns(history="history"))
    assert said(canonical(row, found, "f:1")) == [("user", "Ho"), ("assistant", "Hey"), *HI]


@pytest.mark.parametrize(
    ("row", "format"),
    [
        ({"Question": "Hi", "Answer": "Hello"}, "prompt_completion"),
        ({"Instruction": "Hi", "INPUT": "", "Output": "Hello"}, "alpaca"),
        ({"Messages": [U, A]}, "messages"),
        ({"Prompt": "Hi", "Chosen": "Hello", "Rejected": "No."}, "preference"),
        ({"Prompt": "Hi", "Response_0": "No", "Response_1": "Yes", "Better_response_id": 1}, "pku"),
    ],
)
def test_capitals_in_the_names_of_columns_do_not_matter(row: dict, format: str) -> None:
    found = recognise_rows([row])
    assert found.format == format and set(found.columns.names.values()) == set(row)
    canonical(row, found, "f:1")


def test_a_column_is_not_guessed_where_two_have_its_name() -> None:
    row = {"prompt": "Hi", "completion": "Hello", "Prompt": "Ho"}
    assert recognise_rows([row]).columns.prompt == "prompt"
    del row["prompt"]
    assert "E120" in fails(recognise_rows, [{**row, "PROMPT": "x"}])


def test_numbers_are_not_written_out_by_guess() -> None:
    """Whether 72 or 72.0 is learnt is for the user to say."""
    for number in (72, 72.0):
        message = fails(read, {"question": "6 * 12?", "answer": number})
        assert f"found a number ({number})" in message and "write the number as text" in message


# ---- labels -------------------------------------------------------------------------------------------------

KTO = [{"prompt": f"{n}?", "completion": str(n), "label": n % 2 == 0} for n in range(6)]


@pytest.mark.parametrize(
    "row", [KTO[0], {"messages": [U, A], "label": False}, {"prompt": "a", "response": "b", "label": "True"}]
)
@pytest.mark.parametrize("kind", ["conversations", "ptx"])
def test_labelled_replies_are_never_trained_in_silence(kind: Kind, row: dict) -> None:
    message = fails(read, row, kind)
    assert "E127" in message and "set `label: true`" in message and "`loss.objective: labels`" in message
    assert isinstance(read(row, kind, ignore=["label"]), Conversation)


@pytest.mark.parametrize("name", ["kto_tag", "desirable", "Label", "thumbs_up", "is_safe", "correct"])
def test_labels_by_other_names_are_labels(name: str) -> None:
    row = {"prompt": "a", "completion": "b", name: False}
    assert "E127" in fails(read, row, "conversations") and f"column {name!r}" in fails(read, row)
    found = read(row, "labels")
    assert isinstance(found, Conversation) and found.score == 0.0


@pytest.mark.parametrize(
    "values",
    [
        ("good", "bad"),
        (1, -1),
        ("yes", "no"),
        ("thumbs_up", "thumbs_down"),
        ("positive", "negative"),
        ("safe", "unsafe"),
    ],
)
def test_labels_in_other_words_are_labels(values: tuple) -> None:
    rows = [{"prompt": "Hi", "completion": "Hello", "feedback": value} for value in values]
    assert "E127" in fails(check_usable, recognise_rows(rows, kind="conversations"), None, "a")
    recognised = recognise_rows(rows, kind="labels")
    assert [canonical(row, recognised, "a").score for row in rows] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("is_unsafe", False, True),
        ("harmful", "False", "True"),
        ("labels", 1, 0),
        ("safety", "safe", "unsafe"),
        ("verdict", "pass", "fail"),
        ("status", "approved", "rejected"),
        ("rating", "good", "bad"),
    ],
)
def test_labels_are_known_by_their_words_and_bad_names_turn_them_round(
    name: str, good: Any, bad: Any
) -> None:
    rows = [{"prompt": "Hi", "completion": "Hello", name: value} for value in (good, bad)]
    found = recognise_rows(rows, kind="conversations")
    assert "E127" in fails(check_usable, found, None, "a")
    assert canonical(rows[0], found, "a", label=True)
    with pytest.raises(RowRejected):
        canonical(rows[1], found, "a", label=True)
    graded = recognise_rows(rows, kind="labels")
    assert [canonical(row, graded, "a").score for row in rows] == [1.0, 0.0]


@pytest.mark.parametrize(
    "more",
    [
        [{"sentiment": "positive"}, {"sentiment": "negative"}],
        [{"difficulty": "low"}, {"difficulty": "high"}],
        [{"streamed": True}, {"streamed": False}],
        [{"prompt_safety": "safe"}, {"prompt_safety": "unsafe"}],
        [{"status": "approved"}, {"status": "approved"}],
        [{"completion": "pass", "answer_key": "pass"}, {"completion": "fail", "answer_key": "fail"}],
    ],
)
def test_words_that_may_say_something_else_are_no_labels(more: list[dict]) -> None:
    rows = [{"prompt": "Hi", "completion": "Hello"} | one for one in more]
    found = recognise_rows(rows, kind="conversations")
    check_usable(found, None, "a")
    assert found.marks == ()


def marks_of(rows: list[dict], **how: Any) -> list[str]:
    survey = survey_of((f"f:{at}", row) for at, row in enumerate(rows, 1))
    return list(survey.warnings(recognise_rows(survey.rows, **how)))


def test_a_mark_is_named_whatever_it_is_written_as_and_wherever_it_stands() -> None:
    def row(**more: Any) -> dict:
        return {"prompt": "Hi", "response": "Hello", **more}

    [warning] = marks_of([row(score="1"), row(score="5")])
    assert "column `score` may say" in warning and "`columns: {score: score}`" in warning
    [warning] = marks_of([row(quality="low"), row(quality="high")])
    assert warning.endswith("leave these out")
    named = Columns(prompt="prompt", completion="response")
    [warning] = marks_of([row(is_bad=True), row(is_bad=False)], columns=named)
    assert "`columns: {label: is_bad}` and `label: true`" in warning
    for key, good, bad in (("feedback", "thumbs_up", "thumbs_down"), ("score", 5, 1)):
        turns = [{"messages": [U, A | {key: value}]} for value in (good, bad)]
        [warning] = marks_of(turns)
        assert f"key `{key}` of turns in `messages`" in warning and "`train: false`" in warning
    assert marks_of([{"messages": [U | {"score": value}, A]} for value in (1, 5)]) == []


def test_what_a_column_holds_is_told_by_all_rows() -> None:
    """Sorted by class, the first rows are not like the others."""

    def found(name: str, first: Any, later: Any, row: dict) -> tuple[Survey, Recognised]:
        rows = [row | {name: value} for value in [first] * 300 + [later] * 300]
        survey = survey_of((f"f:{at}", row) for at, row in enumerate(rows, 1))
        assert len(survey.rows) < 30
        return survey, recognise_rows(survey.rows)

    reply = {"prompt": "Hi", "completion": "Hello"}
    assert found("label", 1, 3, reply)[1].columns.label is None
    assert found("label", 1, 0, reply)[1].columns.label == "label"
    survey, recognised = found("score", 5, 1, reply)
    assert any("column `score` may say" in line for line in survey.warnings(recognised))
    pair = {"prompt": "Hi", "chosen": "Hello", "rejected": "No."}
    assert found("rating", "3", "5", pair)[1].columns.rating is None
    turn = [{"messages": [U, A | {"score": value}]} for value in [5] * 300 + [1] * 300]
    survey = survey_of((f"f:{at}", row) for at, row in enumerate(turn, 1))
    assert any("key `score`" in line for line in survey.warnings(recognise_rows(survey.rows)))


def test_replies_that_begin_with_their_whole_prompt_are_named() -> None:
    asked = "Tell me of the sea."
    again = f"{asked} It is wide."
    rows: list[tuple[str, dict]] = [
        ("completion", {"prompt": asked, "completion": again}),
        ("chosen", {"prompt": asked, "chosen": again, "rejected": f"{asked} No."}),
        ("messages", {"messages": [U | {"content": asked}, A | {"content": again}]}),
    ]
    for column, row in rows:
        [warning] = marks_of([row] * 2)
        assert f"2 replies in `{column}` begin with the whole prompt again" in warning
    assert marks_of([rows[0][1], {"prompt": asked, "completion": "It is wide."}]) == []
    assert marks_of([{"prompt": "Hi", "completion": "Hi there."}]) == []


@pytest.mark.parametrize("names", [("score_chosen", "score_rejected"), ("chosen_rating", "rejected_rating")])
def test_pairs_that_their_own_scores_contradict_are_named(names: tuple[str, str]) -> None:
    def said(*scores: tuple[Any, Any]) -> list[str]:
        pair = {"prompt": "Hi", "chosen": "Hello", "rejected": "No."}
        return marks_of([pair | dict(zip(names, both, strict=True)) for both in scores])

    [warning] = said((1, 9), ("2", "8"), (9, 1))
    assert f"`{names[0]}` is below `{names[1]}` in 2 of 3 rows" in warning
    assert said((9, 1), (1, 9), (5, 5)) == []
    row = {"prompt": "Hi", "chosen": "Hello", "rejected": "No."} | dict(zip(names, (1, 9), strict=True))
    exchanged = Columns(prompt="prompt", chosen="rejected", rejected="chosen")
    assert marks_of([row], columns=exchanged, kind="preferences") == []


def test_a_score_beyond_all_numbers_is_refused() -> None:
    row = {"prompt": "Hi", "completion": "Hello", "score": 10**400}
    assert "E123" in fails(read, row, "scores")


def test_a_label_of_something_else_is_not_taken_for_one() -> None:
    assert isinstance(
        read({"prompt": "a", "completion": "b", "label": "sports"}, "conversations"), Conversation
    )


def prepared(path: Path, encoder: Any, lines: list[str] | None = None, **more: Any) -> Prepared:
    source = {name: more.pop(name) for name in ("label", "ignore") if name in more}
    data = Data(train=[Source(path=str(path), **source)], **more)
    report = (lambda line: None) if lines is None else lines.append
    return prepare(data, encoder, kind="conversations", seed=0, recipe_dir=Path(), report=report)


@pytest.mark.parametrize("label", [True, False])
def test_rows_of_one_label_are_taken_and_the_others_counted(
    tmp_path: Path, encoder: Any, label: bool
) -> None:
    found = prepared(write(tmp_path, lines(*KTO)), encoder, label=label)
    assert found.counts.kept == 3 and found.counts.dropped == {Reason.OTHER_LABEL.value: 3}
    assert {int(place.split(":")[-1]) % 2 for place in found.train["place"]} == {int(label)}


def test_labels_become_scores_of_one_and_zero() -> None:
    rows = [read(row, "labels") for row in KTO[:2]]
    assert [row.score for row in rows if isinstance(row, Conversation)] == [1.0, 0.0]
    assert "E128" in fails(read, {**KTO[0], "label": "maybe"}, "labels")
    assert "E122" in fails(read, {"prompt": "a", "completion": "b"}, "labels")


# ---- files --------------------------------------------------------------------------------------------------

ROWS = [{"instruction": "Say hi", "output": "Hi"}, {"instruction": "Say bye", "output": "Bye"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps({"version": "1.0", "data": ROWS}, indent=1)),
        ("a.json", json.dumps({"train": ROWS, "notes": []})),
        (
            "a.json",
            json.dumps({"instruction": {"0": "Say hi", "1": "Say bye"}, "output": {"0": "Hi", "1": "Bye"}}),
        ),
        ("a.json", json.dumps({"instruction": ["Say hi", "Say bye"], "output": ["Hi", "Bye"]})),
        ("a.jsonl", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("a.csv", "instruction;output\nSay hi;Hi\nSay bye;Bye\n"),
        ("a.csv", "instruction\toutput\nSay hi\tHi\nSay bye\tBye\n"),
        ("a.tsv", "instruction\toutput\nSay hi\tHi\nSay bye\tBye\n"),
        ("a.csv", "\ufeffsep=|\r\ninstruction|output\r\nSay hi|Hi\r\nSay bye|Bye\r\n"),
        ("a.ndjson", lines(*ROWS)),
        ("a.csv", "instruction,output\n,\nSay hi,Hi\nSay bye,Bye\n,\n"),
        ("a.json", json.dumps({"name": "x", "conversations": ROWS})),
        ("a.json", json.dumps({"data": {"train": ROWS}})),
        ("a.json", json.dumps({"rows": [{"row_idx": 0, "row": row, "truncated_cells": []} for row in ROWS]})),
        ("a.json", json.dumps({"q1": ROWS[0], "q2": ROWS[1]})),
        (
            "a.json",
            json.dumps(
                {
                    "columns": ["instruction", "output"],
                    "index": [0, 1],
                    "data": [list(row.values()) for row in ROWS],
                }
            ),
        ),
    ],
)
def test_files_of_other_shapes_hold_the_same_rows(tmp_path: Path, name: str, text: str) -> None:
    assert [row for _, row in read_rows(write(tmp_path, text, name))] == ROWS


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [U, A]},
        {"data": ["Hi", "Hello"]},
        {"prompt": [U], "completion": [A]},
        {"source": "x", "conversation": [{"input": "Hi", "output": "Hello"}]},
        {"id": "x", "items": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    ],
)
def test_a_file_of_one_row_is_that_row(tmp_path: Path, row: dict) -> None:
    assert [one for _, one in read_rows(write(tmp_path, json.dumps(row), "a.json"))] == [row]


def test_a_table_of_one_column_holds_its_rows(tmp_path: Path) -> None:
    for row in ({"text": ["One.", "Two."]}, {"messages": [[U, A], [U, A]]}):
        found = [one for _, one in read_rows(write(tmp_path, json.dumps(row), "a.json"))]
        assert found == [{name: cell} for name, cells in row.items() for cell in cells]


@pytest.mark.parametrize(
    ("whole", "code"), [({"data": []}, "E102"), ({"instruction": ["a", "b"], "output": ["c"]}, "E107")]
)
def test_a_file_without_whole_rows_says_so(tmp_path: Path, whole: dict, code: str) -> None:
    assert code in fails(list, read_rows(write(tmp_path, json.dumps(whole), "a.json")))


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("messages", "array([{'role': 'user'}], dtype=object)"),
        ("conversation", "[{'role': 'user'}\n {'role': 'x'}]"),
    ],
)
def test_a_list_that_no_format_fits_because_it_is_a_text_is_named(column: str, cell: str) -> None:
    assert "E123" in fails(recognise_rows, [{column: cell}], kind="conversations")


@pytest.mark.parametrize("column", ["data", "dialog"])
def test_texts_in_turn_are_read_out_of_a_text(column: str) -> None:
    assert said(read({column: json.dumps(["Hi", "Hello"])})) == HI


@pytest.mark.parametrize(
    ("name", "value", "offered"),
    [("article", "Long.", "input: article"), ("images", ["a.png"], ""), ("documents", ["a", "b"], ""),
     ("chat_history", [["a", "b"]], "history: chat_history"), ("persona", "Be.", "system: persona")],
)  # fmt: skip
def test_what_an_error_offers_can_be_used(name: str, value: Any, offered: str) -> None:
    row = {"prompt": "Hi", "completion": "Hello", name: value}
    message = fails(check_usable, recognise_rows([row], kind="conversations"), None, "a")
    assert "E135" in message and (offered in message if offered else "use it" not in message)
    if offered:
        field, _, column = offered.partition(": ")
        read(row, columns=Columns(prompt="prompt", completion="completion", **{field: column}))


def test_exchanges_are_read_as_turns(tmp_path: Path) -> None:
    asked = {"user": "Hi", "assistant": "Hello", "note": "x"}
    rows = [
        {"conversation": [{"system": "Be brief.", **asked}, {"user": "Bye", "assistant": "Bye!"}]},
        {"conversation": [{"user": "", "assistant": "Welcome"}, {"user": "Hi", "assistant": "Hello"}]},
    ]
    path = write(tmp_path, lines(*rows))
    found = recognise_rows(survey_of(read_rows(path)).rows, kind="conversations")
    assert found.format == "exchanges" and found.ignored == ("conversation.note",)
    first, second = (canonical(row, found, "a", is_safety=False) for row in rows)
    assert isinstance(first, Conversation) and isinstance(second, Conversation)
    assert [turn.role for turn in first.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [turn.content for turn in second.messages] == ["Hi", "Hello"], "a greeting answers nothing"
    broken = {"conversation": [asked, {"user": "Hi"}]}
    assert "exchange 2" in fails(canonical, broken, found, "a", is_safety=False)
    spoken = recognise_rows([{"human": "Hi", "bot": "Hello"}], kind="conversations")
    assert spoken.columns.names == {"prompt": "human", "completion": "bot"}


def test_rows_under_several_keys_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"train": ROWS, "data": ROWS}), "a.json")
    assert "rows under several keys: 'train', 'data'" in fails(list, read_rows(path))
    path = write(
        tmp_path, json.dumps({"train": ROWS, "test": ROWS, "features": [{"name": "prompt"}]}), "b.json"
    )
    assert "rows under several keys: 'train', 'test'" in fails(list, read_rows(path))


def test_columns_without_names_are_listed(tmp_path: Path) -> None:
    path = write(tmp_path, ",instruction,output,\n0,Say hi,Hi,\n", "a.csv")
    found = recognise_rows(survey_of(read_rows(path)).rows)
    assert found.format == "alpaca"
    assert found.ignored == ("column 1 without a name", "column 4 without a name")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_not_a_number_is_an_empty_cell(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"prompt": ["a"], "score": [float("nan")]}), path)
    else:
        row = '{"prompt": "a", "score": NaN}'
        path.write_text(row if suffix == ".jsonl" else f"[{row}]")
    assert [row for _, row in read_rows(path)] == [{"prompt": "a", "score": None}]


@pytest.mark.parametrize("array", [False, True])
def test_half_a_surrogate_and_a_key_twice_are_refused_where_they_are(tmp_path: Path, array: bool) -> None:
    def row(text: str) -> Path:
        good = '{"prompt": "\\ud83d\\ude00"}'
        return write(tmp_path, f"[{good},\n{text}]" if array else f"{good}\n{text}\n", "a.json")

    assert "error[E103]" in fails(list, read_rows(row('{"prompt": ["a \\uD83d"]}')))
    message = fails(list, read_rows(row('{"prompt": {"a": 1, "a": 2}}')))
    assert "error[E106]" in message and "a.json:2" in message and "'a' is in one object twice" in message


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_half_a_surrogate_in_a_list_that_is_a_text_is_refused(tmp_path: Path, name: str) -> None:
    """It is escaped twice, so the file itself is fine: as JSON and as Python writes it."""
    for turns in (json.dumps([U, {**A, "content": "\ud83d"}]), repr([U, {**A, "content": "\ud83d"}])):
        cell = '"' + turns.replace('"', '""') + '"'
        path = write(tmp_path, f"messages\n{cell}\n" if name == "a.csv" else lines({"messages": turns}), name)
        recipe = recipe_for_file(path, base="pico", template="tokenizer")
        message = fails(preview_rows, recipe, tmp_path, 1, colour=False)
        assert "error[E103]" in message and f"{path}:{2 if name == 'a.csv' else 1}" in message


@pytest.mark.parametrize(
    "turns",
    [
        '[{"role": "user", "content": "a", "content": "b"}]',
        "[{'role': 'user', 'content': 'a', 'content': 'b'}]",
    ],
    ids=["JSON", "Python"],
)
def test_a_key_twice_in_a_list_that_is_a_text_is_refused(tmp_path: Path, turns: str) -> None:
    path = write(tmp_path, lines({"messages": turns}))
    message = fails(
        preview_rows, recipe_for_file(path, base="pico", template="tokenizer"), tmp_path, 1, colour=False
    )
    assert (
        "error[E106]" in message and f"{path}:1" in message and "'content' is in one object twice" in message
    )


def test_bad_rows_are_left_out_by_choice_counted_by_reason_and_named(tmp_path: Path, encoder: Any) -> None:
    good = [{"prompt": f"{n}?", "completion": "x"} for n in range(6)]
    text = (
        lines(*good[:3])
        + '{"prompt": "cut\n'
        + lines({"prompt": 3, "completion": "x"}, *good[3:], {"prompt": "a"})
    )
    path = write(tmp_path, text)
    assert "E106" in fails(prepared, path, encoder, max_dropped=1)
    said_lines: list[str] = []
    found = prepared(path, encoder, said_lines, on_bad_row="drop", max_dropped=0.5)
    assert found.counts.read == 9 and found.counts.kept == 6
    assert found.counts.dropped == {
        "bad row: broken JSON": 1, "bad row: a value of a wrong type": 1, "bad row: a column is missing": 1,
    }  # fmt: skip
    named = next(line for line in said_lines if "bad rows left out" in line)
    assert f"{path}:4:" in named and f"{path}:5: column 'prompt' must be text" in named and "(E122)" in named
    assert "E131" in fails(prepared, path, encoder, on_bad_row="drop", max_dropped=0.2)


def test_placeholders_are_found_and_named(tmp_path: Path) -> None:
    row = {"prompt": "Who?", "completion": "I am {{name}} by {{ author }}."}
    path = write(
        tmp_path,
        lines(row, {**row, "completion": "{{name}}"}, {"prompt": "Code?", "completion": "{{ }} and {x}"}),
    )
    opened = open_source(Source(path=str(path)), tmp_path, kind="conversations")
    assert in_columns(opened.survey.placeholders, ["prompt", "completion"]) == {"name": 2, "author": 1}
    assert "{{name}} in 2 rows, {{author}} in 1 row" in list(opened.describe())[-1]


def test_cells_that_say_that_they_are_empty_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "instruction,input,output\nHi,nan,Hello\nBye,,Ciao\n", "a.csv")
    seen = survey_of(read_rows(path))
    (warning,) = seen.warnings(recognise_rows(seen.rows))
    assert "nan in 1 row" in warning


@pytest.mark.parametrize("chat", ["### Human: Hi### Assistant: Hello", "\n\nHuman: Hi\n\nAssistant: Hello"])
def test_plain_text_that_is_all_chats_is_named(tmp_path: Path, chat: str) -> None:
    path = write(tmp_path, lines(*[{"text": chat}] * 3, {"text": "Once."}))
    seen = survey_of(read_rows(path))
    (warning,) = seen.warnings(recognise_rows(seen.rows))
    assert "Human:" in warning and "in 3 rows" in warning and "plain text" in warning
    pages = write(tmp_path, lines({"text": chat}, *[{"text": "Once."}] * 3))
    seen = survey_of(read_rows(pages))
    assert not list(seen.warnings(recognise_rows(seen.rows)))


ASKED = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "reply", ["Hello<|im_end|>", "Hello</s>", "<start_of_turn>model\nHello", "<|assistant|>\nHello<|end|>"]
)
def test_what_a_template_has_left_in_replies_is_named(reply: str) -> None:
    seen = survey_of([("f:1", {"prompt": "Hi", "completion": reply})])
    (warning,) = seen.warnings(recognise_rows(seen.rows))
    assert "texts that a chat template has written" in warning and "in 1 row" in warning
    read_back = survey_of([("f:1", {"prompt": ASKED, "completion": "Hello<|im_end|>"})])
    assert "<|im_end|>" not in str(list(read_back.warnings(recognise_rows(read_back.rows))))


def test_what_is_in_columns_that_are_not_used_is_no_matter(tmp_path: Path) -> None:
    """Alpaca has each row as its template writes it, too, in a column of its own."""
    row = {
        "instruction": "Hi {{name}}",
        "output": "Hello {{name}}",
        "text": "### Instruction: {{other}}",
        "note": "nan",
    }
    seen = survey_of(read_rows(write(tmp_path, lines(row, row))))
    (warning,) = seen.warnings(recognise_rows(seen.rows))
    assert "{{name}} in 2 rows;" in warning


def test_texts_that_a_template_has_written_are_named(tmp_path: Path) -> None:
    prompts = [
        "Read: <s>[INST] Hi [/INST]",
        "<|im_start|>user\nHi<|im_end|>",
        "### Human: Hi\n### Assistant: Hello",
    ]
    prompts += ["Read this.\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye", "Read: [INST] Bye [/INST]"]
    silent = ["\n\nHuman: Hi\n\nAssistant:", "What do the words Human: and USER: mean?"]
    path = write(tmp_path, lines(*({"prompt": text} for text in prompts + silent)))
    opened = open_source(Source(path=str(path)), tmp_path, kind="prompts")
    found = {"[INST]": 2, "<|im_start|>": 1, "turns of ### Human:": 1, "Human:": 1}
    assert in_columns(opened.survey.templates, ["prompt"]) == {**found, "Human: and Assistant:": 1}
    said = list(opened.describe())[-1]
    assert "[INST] in 2 rows" in said and "Assistant:" not in said and "a message of its own" in said
    assert "turns of" not in said
    plain = write(tmp_path, lines({"text": prompts[0]}, {"text": "Once."}), "plain.jsonl")
    opened = open_source(Source(path=str(plain)), tmp_path, kind="documents")
    assert not [line for line in opened.describe() if "warning" in line]


def test_preview_says_which_rows_it_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, lines({"messages": []}, {"messages": [U, A]}))
    shown = preview_rows(recipe_for_file(path, base="pico", template="tokenizer"), tmp_path, 3, colour=False)
    assert "row 1: " in shown and "left out on the way: 1 no reply to train on" in shown


def test_preview_says_what_run_says(tmp_path: Path) -> None:
    path = write(tmp_path, lines({"prompt": "Who?", "completion": "I am {{name}}.", "note": "x"}))
    shown = preview_rows(recipe_for_file(path, base="pico", template="tokenizer"), tmp_path, 1, colour=False)
    assert "not used: note" in shown and "placeholders that nobody filled in: {{name}}" in shown
    kto = write(tmp_path, lines(*KTO), "kto.jsonl")
    recipe = recipe_for_file(kto, base="pico", template="tokenizer")
    assert recipe.stage == "reward" and "row 1: " in preview_rows(recipe, tmp_path, 1, colour=False)


@pytest.mark.parametrize("name", ["mt_bench_questions.jsonl", "kto_en_demo.json"])
def test_real_files(real_data: Path, name: str) -> None:
    found = recognise_rows(survey_of(read_rows(real_data / name)).rows)
    rows = [canonical(raw, found, place) for place, raw in read_rows(real_data / name)]
    assert len(rows) in (80, 300)
    assert found.columns.label == ("label" if name.startswith("kto") else None)


def test_messages_are_kept_as_they_are() -> None:
    """No spelling of a turn changes its text."""
    row = {"messages": [{**U, "content": "  Hi\n"}, A]}
    found = read(row)
    assert isinstance(found, Conversation) and found.messages[0] == Message("user", "  Hi\n")


def test_thumbs_are_labels() -> None:
    rows = [{"prompt": "Hi", "completion": "Hello", "label": thumb} for thumb in "\U0001f44d\U0001f44e"]
    assert recognise_rows(rows).columns.label == "label"
    assert "E127" in fails(check_usable, recognise_rows(rows, kind="conversations"), None, "f")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"conv": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}],
            "{messages: conv}",
        ),
        ([{"log": [{"role": "user", "content": "a"}], "edited": "b"}], "{prompt: log, completion: ...}"),
    ],
)
def test_turns_in_a_column_of_another_name_can_be_named(rows: list[dict[str, Any]], said: str) -> None:
    message = fails(recognise_rows, rows)
    assert f"`columns: {said}`" in message and "cannot be named" not in message
    named = dict(one.split(": ") for one in said.strip("{}").replace("...", "edited").split(", "))
    assert recognise_rows(rows, columns=Columns(**named)).kind == "conversations"


def test_a_label_of_pairs_is_none() -> None:
    """The column `rejected` was taken for it."""
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}
    assert "`label` chooses among rows with one reply" in fails(
        recognise_rows, [row], kind="preferences", label=True
    )
