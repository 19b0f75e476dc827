"""Preference rows: which format a file has, one prompt and two replies from each, labels, and what is refused."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.recognise import recognise_rows
from llamatune.data.formats.turns import hh_turns
from llamatune.data.read.readers import read_rows
from llamatune.data.read.survey import recognise
from llamatune.data.rows import RATINGS, Adjustment, Message, Preference, Reason, RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Columns


def user(content: str, **more: Any) -> Message:
    return Message("user", content, **more)


def assistant(content: str) -> Message:
    return Message("assistant", content)


def system(content: str) -> Message:
    return Message("system", content)


def role(name: str, content: str) -> dict:
    return {"role": name, "content": content}


def said(name: str, value: str) -> dict:
    return {"from": name, "value": value}


def convert(raw: dict, **given: Any) -> Preference:
    found = recognise_rows([raw], kind="preferences", **given)
    row = canonical(raw, found, "f:1")
    assert isinstance(row, Preference)
    return row


def fails(raw: dict, **given: Any) -> str:
    with pytest.raises(DataError) as caught:
        convert(raw, **given)
    return str(caught.value)


def rejected(raw: dict, **given: Any) -> Reason:
    with pytest.raises(RowRejected) as caught:
        convert(raw, **given)
    return caught.value.reason


TEXT = {"prompt": "1 + 1?", "chosen": "2", "rejected": "3"}
PLAIN = Preference((user("1 + 1?"),), (assistant("2"),), (assistant("3"),), "f:1")


# ---- golden rows of each format ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        TEXT,
        {"question": "1 + 1?", "chosen": "2", "rejected": "3", "id": 7},
        {**TEXT, "chosen": [role("assistant", "2")], "rejected": role("assistant", "3")},
        {**TEXT, "prompt": [role("user", "1 + 1?")]},
        {"chosen": [role("user", "1 + 1?"), role("assistant", "2")],
         "rejected": [role("user", "1 + 1?"), role("assistant", "3")]},
        {"prompt": "1 + 1?", "chosen": [role("user", "1 + 1?"), role("assistant", "2")],
         "rejected": [role("user", "1 + 1?"), role("assistant", "3")], "messages": [], "score_chosen": 8.0},
    ],
)  # fmt: skip
def test_preference(raw: dict) -> None:
    assert recognise_rows([raw], kind="preferences").format == "preference"
    assert recognise_rows([raw]).format == "preference"
    assert convert(raw) == PLAIN


def test_preference_with_system_input_and_a_longer_prompt() -> None:
    raw = {"instruction": "Add.", "input": "1, 1", "chosen": "2", "rejected": "3", "system": "Be brief."}
    assert convert(raw).prompt == (system("Be brief."), user("Add.", input="1, 1"))
    prompt = [
        role("system", "Be brief."),
        role("user", "Hi"),
        role("assistant", "Hello"),
        role("user", "Bye"),
    ]
    pair = convert({"prompt": prompt, "chosen": "Ciao", "rejected": "No"})
    assert pair.prompt == (system("Be brief."), user("Hi"), assistant("Hello"), user("Bye"))


HH = {
    "chosen": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Sum?\n\nAssistant: 2",
    "rejected": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Sum?\n\nAssistant: 3\nor 4",
}
HH_PAIR = Preference(
    (user("Hi"), assistant("Hello."), user("Sum?")), (assistant("2"),), (assistant("3\nor 4"),), "f:1"
)


def test_hh() -> None:
    assert recognise_rows([HH]).format == "hh"
    assert convert(HH) == HH_PAIR


def test_hh_with_a_prompt_column_of_its_own() -> None:
    prompt = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Sum?\n\nAssistant:"
    raw = {"prompt": prompt, "chosen": " 2", "rejected": " 3\nor 4", "response": " 2"}
    assert recognise_rows([raw]).format == "hh"
    assert convert(raw) == HH_PAIR
    assert convert({"prompt": prompt, **HH}) == HH_PAIR
    assert convert({"prompt": None, **HH}) == HH_PAIR


def test_hh_turns_of_one_speaker_are_joined_and_counted_once() -> None:
    start = "\n\nHuman: A joke!\n\nAssistant: Here:\n\nAssistant:  Ha.\n\nHuman: More!\n\nAssistant:"
    raw = {"chosen": f"{start} Ho.", "rejected": f"{start} No."}
    adjusted = Counter[Adjustment]()
    pair = canonical(raw, recognise_rows([raw]), "f:1", adjusted)
    assert pair.prompt[1] == assistant("Here:\n\nHa.")
    assert adjusted == {Adjustment.JOINED: 1}


def test_the_prompt_is_all_that_both_share_up_to_a_question() -> None:
    raw = {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Sum?\n\nAssistant: 2",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Product?\n\nAssistant: 1",
    }
    pair = convert(raw)
    assert pair.prompt == (user("Hi"),)
    assert pair.chosen == (assistant("Yes?"), user("Sum?"), assistant("2"))
    assert pair.rejected == (assistant("Yes?"), user("Product?"), assistant("1"))


def test_sharegpt_preference() -> None:
    talk = [said("system", "Be brief."), said("human", "1 + 1?")]
    raw = {"conversations": talk, "chosen": said("gpt", "2"), "rejected": said("gpt", "3")}
    assert recognise_rows([raw]).format == "sharegpt_preference"
    assert convert(raw).prompt == (system("Be brief."), user("1 + 1?"))
    assert convert(raw).chosen == (assistant("2"),)
    lists = {"chosen": [*talk, said("gpt", "2")], "rejected": [*talk, said("gpt", "3")]}
    assert convert(lists) == convert(raw)


@pytest.mark.parametrize(
    ("label", "chosen", "other"), [(1, "2", "3"), (0, "3", "2"), ("1", "2", "3"), (1.0, "2", "3")]
)
def test_shp(label: Any, chosen: str, other: str) -> None:
    raw = {"history": "1 + 1?", "human_ref_A": "2", "human_ref_B": "3", "labels": label, "score_A": 9}
    assert recognise_rows([raw]).format == "shp"
    assert convert(raw).chosen == (assistant(chosen),)
    assert convert(raw).rejected == (assistant(other),)


@pytest.mark.parametrize(("choice", "chosen"), [(0, "One."), (1, "Two.")])
def test_summarize(choice: int, chosen: str) -> None:
    info = {"id": "t3", "post": "A long post.", "title": "A title", "subreddit": "tifu"}
    raw = {"info": info, "summaries": [{"text": "One."}, {"text": "Two."}], "choice": choice, "worker": "x"}
    assert recognise_rows([raw]).format == "summarize"
    assert convert(raw).chosen == (assistant(chosen),)
    assert convert(raw).prompt == (user("SUBREDDIT: r/tifu\nTITLE: A title\nPOST: A long post.\nTL;DR:"),)
    article = {"info": {"article": "News.", "post": None}, "summaries": raw["summaries"], "choice": choice}
    assert convert(article).prompt == (user("News.\nTL;DR:"),)


def test_columns_of_other_names() -> None:
    raw = {"frage": "1 + 1?", "gut": "2", "schlecht": "3", "note": 3}
    columns = Columns(prompt="frage", chosen="gut", rejected="schlecht", rating="note")
    assert convert(raw, columns=columns).rating == "significantly_better"
    raw = {"q": "1 + 1?", "a": "2", "b": "3", "which": 0}
    columns = Columns(prompt="q", first="a", second="b", better="which", better_is=[1, 0])
    assert recognise_rows([raw], columns=columns).format == "shp"
    assert convert(raw, columns=columns).chosen == (assistant("3"),)


# ---- ratings and safety labels ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "rating"),
    [
        *((rating, rating) for rating in RATINGS),
        *zip((3, 2, 1, 0), RATINGS, strict=True),
        ("3", "significantly_better"),
        (3.0, "significantly_better"),
        ("0.0", "negligibly_better"),
        ("Significantly better", "significantly_better"),
        ("slightly-better", "slightly_better"),
        ("negligibly_better/unsure", "negligibly_better"),
        ("Negligibly better / unsure", "negligibly_better"),
        (None, None),
        ("", None),
    ],
)
def test_ratings(value: Any, rating: str | None) -> None:
    assert convert({**TEXT, "rating": value}).rating == rating


@pytest.mark.parametrize("value", ["best", True])
def test_unknown_ratings_are_refused_with_the_known_ones(value: Any) -> None:
    message = fails({**TEXT, "rating": value})
    assert message.startswith("error[E128] f:1: column 'rating' has the unknown value ")
    for rating in RATINGS:
        assert rating in message


@pytest.mark.parametrize("value", [4, -1, "-1", "5", 2.5])
def test_a_rating_beyond_the_four_is_of_another_scale(value: Any) -> None:
    """The other rows' 1 to 3 are no margins then."""
    found = recognise_rows([{**TEXT, "rating": 3}, {**TEXT, "rating": value}])
    assert found.columns.rating is None and found.ignored == ("rating",)
    named = Columns(prompt="prompt", chosen="chosen", rejected="rejected", rating="rating")
    assert "E128" in fails({**TEXT, "rating": value}, columns=named)


def test_a_column_called_rating_that_means_something_else_can_be_left_out() -> None:
    raw = {**TEXT, "rating": 4.5}
    columns = Columns(prompt="prompt", chosen="chosen", rejected="rejected")
    found = recognise_rows([raw], columns=columns, kind="preferences")
    assert found.ignored == ("rating",)
    assert convert(raw, columns=columns).rating is None


@pytest.mark.parametrize(
    ("more", "labels"),
    [
        ({"safety": "chosen_safe"}, (True, False)),
        ({"safety": "both_safe"}, (True, True)),
        ({"safety": "both_unsafe"}, (False, False)),
        ({"safety": None}, (None, None)),
        ({"chosen_safe": True, "rejected_safe": False}, (True, False)),
        ({"chosen_safe": "true", "rejected_safe": "False"}, (True, False)),
        ({"chosen_safe": 1, "rejected_safe": 0.0}, (True, False)),
        ({"chosen_safe": False, "rejected_safe": None}, (False, None)),
        ({"chosen_safe": True, "rejected_safe": True, "safety": 0.3}, (True, True)),
        ({}, (None, None)),
    ],
)
def test_safety_labels(more: dict, labels: tuple) -> None:
    pair = convert({**TEXT, **more})
    assert (pair.chosen_safe, pair.rejected_safe) == labels


@pytest.mark.parametrize("more", [{"safety": "rejected_safe"}, {"chosen_safe": False, "rejected_safe": True}])
def test_pairs_whose_chosen_reply_alone_is_unsafe_are_rejected_by_name(more: dict) -> None:
    assert rejected({**TEXT, **more}) is Reason.CHOSEN_UNSAFE


@pytest.mark.parametrize(
    "more", [{"safety": "safe"}, {"safety": True}, {"chosen_safe": 2, "rejected_safe": 0}]
)
def test_unknown_safety_labels_are_refused(more: dict) -> None:
    assert "error[E128] f:1: column " in fails({**TEXT, **more})


@pytest.mark.parametrize(
    ("better", "safe", "labels"),
    [(0, (True, False), (True, False)), (1, (True, True), (True, True)), (1, (False, True), (True, False))],
)
def test_pku_says_of_each_reply_whether_it_is_safe(better: int, safe: tuple, labels: tuple) -> None:
    row = {"prompt": "Hi", "response_0": "a", "response_1": "b", "better_response_id": better}
    row |= dict(zip(("is_response_0_safe", "is_response_1_safe"), safe, strict=True))
    pair = convert(row)
    assert (pair.chosen_safe, pair.rejected_safe) == labels
    assert rejected(row | {"is_response_0_safe": better != 0, "is_response_1_safe": better != 1}) is (
        Reason.CHOSEN_UNSAFE
    )


def test_safety_labels_are_named_in_one_way() -> None:
    with pytest.raises(ValidationError, match="not both"):
        Columns(safety="bin", chosen_safe="safe")


# ---- what is left out, and counted ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        {**TEXT, "chosen": " "},
        {**TEXT, "rejected": None},
        {"prompt": "a", "chosen": [role("assistant", "")], "rejected": [role("assistant", "x")]},
        {"prompt": "a", "chosen": [role("assistant", "x")], "rejected": []},
        {"prompt": "a", "chosen": [role("assistant", "x"), role("user", "y")], "rejected": "z"},
        {**HH, "chosen": "\n\nHuman: Hi\n\nAssistant: "},
        {**HH, "rejected": HH["rejected"] + "\n\nHuman: Thanks"},
    ],
)
def test_pairs_without_two_replies_are_rejected_by_name(raw: dict) -> None:
    assert rejected(raw) is Reason.NO_REPLY


def test_equal_replies_and_empty_turns_are_rejected_by_name() -> None:
    assert rejected({**TEXT, "rejected": "2"}) is Reason.IDENTICAL
    assert rejected({"chosen": HH["chosen"], "rejected": HH["chosen"] + " "}) is Reason.IDENTICAL
    empty = "\n\nHuman: Hi\n\nAssistant: \n\nHuman: Hi?\n\nAssistant: Yes."
    assert rejected({"chosen": empty, "rejected": HH["rejected"]}, format="hh") is Reason.EMPTY_TURN


# ---- what is refused --------------------------------------------------------------------------------------


def test_rows_that_are_no_pairs() -> None:
    kto = {"messages": [role("user", "Hi"), role("assistant", "Hello")], "label": True}
    message = fails(kto)
    assert "error[E127]" in message and "one reply and a label, not two" in message
    assert "the one labelled true as `chosen`" in message
    assert "error[E127]" in fails({"prompt": "a", "completion": "b", "label": False})
    message = fails({"messages": kto["messages"]}, format="messages")
    assert "error[E127]" in message and "a reward model needs pairs of replies" in message
    message = fails({"foo": 1})
    assert "error[E120]" in message and "sharegpt_preference" in message and "chosen: ..." in message
    assert "error[E120]" in fails({"chosen": "a", "rejected": "b"})  # text without a prompt
    with pytest.raises(DataError, match="E127.*`stage: reward`, sft needs conversations"):
        recognise_rows([HH], format="hh", kind="conversations")


def test_ambiguous_pairs_are_not_guessed() -> None:
    raw = {**TEXT, "history": "h", "human_ref_A": "a", "human_ref_B": "b", "labels": 1}
    assert "error[E121]" in fails(raw)
    assert convert(raw, format="preference") == PLAIN


@pytest.mark.parametrize(
    ("raw", "given", "code", "words"),
    [
        ({"prompt": "a", "chosen": "b"}, {"format": "preference"}, "E122", "column 'rejected'"),
        ({**TEXT, "prompt": None}, {}, "E123", "column 'prompt' must be text, found null"),
        ({**TEXT, "prompt": " "}, {}, "E126", "column 'prompt' is empty"),
        ({**TEXT, "rejected": 3}, {}, "E123", "'rejected' must be text, a turn or a list of turns"),
        ({**TEXT, "chosen": ["2"]}, {"format": "preference"}, "E123", "turn 1 of 'chosen' must be an object"),
        ({**TEXT, "prompt": [role("user", "a"), role("assistant", "b")]}, {}, "E125",
         "`chosen` with its prompt: turns 2 and 3 are both from the assistant"),
        ({"prompt": [role("robot", "a")], "chosen": "b", "rejected": "c"}, {}, "E124", "unknown role 'robot'"),
        ({"prompt": "a", "chosen": [role("user", "b"), role("assistant", "c")], "rejected": "d"}, {}, "E129",
         "the prompt column and the first turns of `chosen` differ"),
        ({"chosen": [role("user", "a"), role("assistant", "b")],
          "rejected": [role("user", "A"), role("assistant", "c")]}, {}, "E129", "do not begin with the same"),
        ({**HH, "rejected": "Just text."}, {}, "E129", "column 'rejected' is not text with"),
        ({**HH, "rejected": None}, {}, "E123", "column 'rejected' must be text, found null"),
        ({**HH, "chosen": "\n\nHuman: Other\n\nAssistant: x"}, {}, "E129", "do not begin with the same prompt"),
        ({"conversations": [said("human", "a")], "chosen": said("gpt", "b"), "rejected": said("narrator", "c")},
         {}, "E124", "unknown from 'narrator'"),
        ({"conversations": "a", "chosen": said("gpt", "b"), "rejected": said("gpt", "c")}, {}, "E123",
         "'conversations' must be a list of turns"),
        ({"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 2}, {}, "E128", "known: 0, 1"),
        ({"history": "a", "human_ref_A": "b", "human_ref_B": None, "labels": 1}, {}, "E123", "'human_ref_B'"),
        ({"info": {"post": "a"}, "summaries": [{"text": "b"}], "choice": 0}, {}, "E129", "1 summary, not two"),
        ({"info": {"title": "a"}, "summaries": [{"text": "b"}, {"text": "c"}], "choice": 0}, {}, "E126",
         "neither a post nor an article"),
        ({"info": "a", "summaries": [{"text": "b"}, {"text": "c"}], "choice": 0}, {}, "E123", "must be an object"),
        ({"info": {"post": "a"}, "summaries": [{"text": "b"}, {"note": "c"}], "choice": 0}, {}, "E122", "'text'"),
        ({"info": {"post": "a"}, "summaries": [{"text": "b"}, {"text": "c"}], "choice": None}, {}, "E128",
         "unknown value None"),
    ],
)  # fmt: skip
def test_bad_rows_are_named_with_their_place(raw: dict, given: dict, code: str, words: str) -> None:
    message = fails(raw, **given)
    assert f"error[{code}]" in message and words in message
    assert message.startswith(f"error[{code}] f:1: ") or given  # told a format, recognition itself refuses


# ---- properties -------------------------------------------------------------------------------------------


WORDS = st.text("ab :\n'HumanAsistä", min_size=1, max_size=30).map(str.strip).filter(bool)
PLAIN_WORDS = WORDS.filter(lambda text: "Human:" not in text and "Assistant:" not in text)


@settings(deadline=None, max_examples=200)
@given(st.lists(PLAIN_WORDS, min_size=2, max_size=8), PLAIN_WORDS)
def test_hh_text_and_turns_are_the_same(contents: list[str], other: str) -> None:
    contents = contents[: len(contents) // 2 * 2]
    speakers = ["Human", "Assistant"] * (len(contents) // 2)
    turns = [f"\n\n{who}: {what}" for who, what in zip(speakers, contents, strict=True)]
    expected = [
        user(what) if who == "Human" else assistant(what)
        for who, what in zip(speakers, contents, strict=True)
    ]
    assert hh_turns("".join(turns)) == expected
    raw = {"chosen": "".join(turns), "rejected": "".join(turns[:-1]) + f"\n\nAssistant: {other}"}
    if other == contents[-1]:
        assert rejected(raw) is Reason.IDENTICAL
        return
    pair = convert(raw)
    assert [*pair.prompt, *pair.chosen] == expected
    assert pair.rejected == (assistant(other),)


# ---- real files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format", "rows", "left_out"),
    [
        ("hh_harmless_pairs.jsonl", "hh", 1490, {Reason.NO_REPLY: 3}),
        ("dpo_en_demo.json", "sharegpt_preference", 300, {}),
    ],
)
def test_real_pairs_are_recognised_and_read_fully(
    real_data: Path, name: str, format: str, rows: int, left_out: dict
) -> None:
    found = recognise(real_data / name)
    assert found.format == format
    dropped = Counter[Reason]()
    pairs = []
    for place, raw in read_rows(real_data / name):
        try:
            pairs.append(canonical(raw, found, place))
        except RowRejected as one:
            dropped[one.reason] += 1
    assert len(pairs) == rows and dropped == left_out
    assert all(pair.prompt[-1].role == "user" for pair in pairs)
    assert all(len(pair.chosen) == len(pair.rejected) == 1 for pair in pairs)


def test_real_kto_rows_are_refused(real_data: Path) -> None:
    with pytest.raises(DataError, match="one reply and a label"):
        recognise(real_data / "kto_en_demo.json", kind="preferences")
