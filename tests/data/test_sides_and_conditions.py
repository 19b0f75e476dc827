"""Pairs that become conversations, conditions in system messages, plain text among chats: what reaches the model."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.data.encode.encoders import encoder_for
from llamatune.data.prepare import prepare
from llamatune.data.read.sources import open_source
from llamatune.data.rows import Conversation
from llamatune.errors import DataError, RecipeError
from llamatune.models.base import BUILTIN
from llamatune.recipe.load import loads
from llamatune.recipe.stages.sft import ConversationSource

PAIRS = [
    {
        "prompt": "How are you?",
        "chosen": "I am well, thank you.",
        "rejected": "Why do you ask?",
        "date": "2 May 2023",
    },
    {"prompt": "Who won?", "chosen": "The red team.", "rejected": "Somebody.", "date": 2022},
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    Path("page.jsonl").write_text(json.dumps({"text": "The harbour is quiet at night."}) + "\n")


def rows(**source: Any) -> list[list[tuple[str, str]]]:
    opened = open_source(ConversationSource(**source), Path(), kind="conversations")
    found = [opened.canonical(raw, place) for place, raw in opened.rows()]
    assert all(isinstance(row, Conversation) for row in found)
    return [[(message.role, message.content) for message in row.messages] for row in found]


def test_a_side_of_pairs() -> None:
    assert rows(path="pairs.jsonl", side="rejected") == [
        [("user", "How are you?"), ("assistant", "Why do you ask?")],
        [("user", "Who won?"), ("assistant", "Somebody.")],
    ]
    assert rows(path="pairs.jsonl", side="chosen", condition="a helpful answer")[1] == [
        ("system", "a helpful answer"),
        ("user", "Who won?"),
        ("assistant", "The red team."),
    ]


def test_a_condition_with_what_the_row_says() -> None:
    found = rows(path="pairs.jsonl", side="chosen", condition="Today is {date}.")
    assert [row[0] for row in found] == [("system", "Today is 2 May 2023."), ("system", "Today is 2022.")]
    with pytest.raises(DataError, match="E122.*'dat' of `condition`(.|\n)*did you mean 'date'"):
        rows(path="pairs.jsonl", side="chosen", condition="Today is {dat}.")


def test_a_condition_stands_in_front_of_a_system_message() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    Path("chat.jsonl").write_text(
        json.dumps({"messages": [*turns, {"role": "assistant", "content": "Hello"}]}) + "\n"
    )
    ((first, *_),) = rows(path="chat.jsonl", condition="a helpful answer")
    assert first == ("system", "a helpful answer\n\nBe brief.")


def recipe(train: str, **data: Any) -> Any:
    more = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in data.items())
    return loads(f"stage: sft\noutput: runs/x\ndata:\n  train: {train}\n{more}")


def trained_texts(settings: Any) -> dict[str, str]:
    """Of each row, all of it and what is learnt."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(BUILTIN / "pico"))
    kind, encoder = encoder_for(settings, tokenizer)
    found = prepare(settings.data, encoder, kind=kind, seed=0, recipe_dir=Path(), report=lambda line: None)
    return {
        tokenizer.decode(row["input_ids"]): tokenizer.decode([label for label in row["labels"] if label >= 0])
        for row in found.train
    }


def test_both_sides_and_plain_text_are_learnt() -> None:
    sides = "[{path: pairs.jsonl, side: chosen, condition: good}, {path: pairs.jsonl, side: rejected, condition: bad}"
    found = trained_texts(recipe(f"{sides}, {{path: page.jsonl}}]", plain_text=True))
    assert len(found) == 5
    (page,) = (text for text in found if "harbour" in text)
    assert "The harbour is quiet at night." in found[page], "all of a page is learnt"
    bad = [text for text in found if "bad" in text]
    assert len(bad) == 2 and all("good" not in text for text in bad)
    assert all("bad" not in found[text] for text in bad), "the condition is not learnt, the reply is"
    assert {"Somebody" in found[text] or "Why do you ask" in found[text] for text in bad} == {True}


def test_refusals() -> None:
    with pytest.raises(DataError, match="E1"):
        trained_texts(recipe("[{path: pairs.jsonl}, {path: page.jsonl}]"))
    with pytest.raises(RecipeError, match="truncate_reply"):
        recipe("[{path: page.jsonl}]", plain_text=True, too_long="truncate_reply")
    with pytest.raises(RecipeError, match="E023"):
        recipe("[{path: pairs.jsonl, side: better}]")
