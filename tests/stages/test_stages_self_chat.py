"""Self-chat: one model on both sides, turn by turn, from seed questions."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import IGNORED, Conversation, Message
from llamatune.errors import DataError, RecipeError
from llamatune.models.open import open_model
from llamatune.pipeline import run
from llamatune.recipe.blocks import Chat
from llamatune.sampling.dialogues import Dialogue, End, Talk, ask_on
from llamatune.sampling.samples import Sample, prompt_id
from report_page import Page
from support import ROOT, in_two_processes, killed, made_recipe, rows_of, sft_recipe

OPENING = "Ask about this: {}"
LEFT = ("conversations.jsonl", "evaluation.json")


@pytest.fixture(scope="module")
def changes(trained: Any) -> dict[str, object]:
    return {
        "model.base": str(trained("full") / "model"),
        "self_chat": {"turns": 3, "opening": OPENING, "system": "You are curious."},
    }


@pytest.fixture(scope="module")
def made(changes: dict[str, object], made_once: Any) -> Path:
    """A finished run."""
    return made_once(
        "self-chat", lambda folder: run(made_recipe("self_chat", folder, changes), recipe_dir=ROOT)
    )


def test_each_side_reads_the_chat_from_its_own_place(made: Path) -> None:
    """Every answer and every question was sampled from the chat so far, found again by its digest."""
    asked = {
        record["prompt_id"]: record["text"].strip()
        for file in made.glob("samples/*/*.jsonl")
        for record in rows_of(file)[:-1]
    }
    rows = rows_of(made / "conversations.jsonl")
    assert max(row["made_by"]["turns"] for row in rows) > 1, "the model asked something"
    for row in rows:
        said = row["messages"]
        assert [one["role"] for one in said] == ["user", "assistant"] * row["made_by"]["turns"]
        told = {"role": "user", "content": OPENING.replace("{}", said[0]["content"])}
        others = [{**one, "role": "assistant" if one["role"] == "user" else "user"} for one in said]
        for turn in range(row["made_by"]["turns"]):
            answered = asked[prompt_id(said[: 2 * turn + 1])]
            assert answered == said[2 * turn + 1]["content"].strip()
            if turn:
                as_human = [{"role": "system", "content": "You are curious."}, told, *others[: 2 * turn]]
                assert asked[prompt_id(as_human)] == said[2 * turn]["content"]
        assert row["made_by"]["prompt_id"] == prompt_id(said[:-1])


def test_all_replies_are_learnt_or_both_sides(made: Path, changes: dict[str, Any]) -> None:
    opened = open_model(changes["model.base"])
    row = max(rows_of(made / "conversations.jsonl"), key=lambda row: row["made_by"]["turns"])
    messages = tuple(Message(one["role"], one["content"], one.get("train")) for one in row["messages"])
    for loss_on, roles in (("assistant", {"assistant"}), ("all", {"user", "assistant"})):
        chat = ChatFormat(opened.tokenizer, Chat(loss_on=loss_on))
        [encoded] = chat.encode(Conversation(messages, "row"))
        learnt = opened.tokenizer.decode([token for token in encoded.labels if token != IGNORED])
        for one in messages:
            assert one.role not in roles or one.content.strip() in learnt


def test_figures_and_report(made: Path) -> None:
    found, rows = json.loads((made / "evaluation.json").read_text()), rows_of(made / "conversations.jsonl")
    turns = [row["made_by"]["turns"] for row in rows]
    assert found["rows"] == len(rows) and found["turns"] == pytest.approx(sum(turns) / len(turns))
    asked = [one["content"] for row in rows for one in row["messages"][2::2]]
    assert found["asked"] == len(asked)
    assert found["questions"] == pytest.approx(sum(text.endswith("?") for text in asked) / len(asked))
    assert sum(found["ended"].values()) >= sum(number < 3 for number in turns)
    page = Page(made)
    assert "questions that the model asked" in page.text and "Every reply is learnt" in page.text


def test_killed_in_the_middle_it_ends_in_the_same_bytes(
    made: Path, changes: dict[str, object], tmp_path: Path
) -> None:
    recipe = made_recipe("self_chat", tmp_path / "run", changes)
    killed(recipe, at=2)
    killed(recipe, at=4)
    run(recipe, recipe_dir=ROOT)
    for name in LEFT:
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_two_processes_leave_the_files_of_one(made: Path, changes: dict[str, object], tmp_path: Path) -> None:
    in_two_processes(made_recipe("self_chat", tmp_path / "run", changes), tmp_path / "recipe.json")
    for name in LEFT:
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


def test_sft_learns_from_the_run(made: Path, tmp_path: Path) -> None:
    learns = {
        "data.train": [{"run": str(made)}],
        "chat.loss_on": "all",
        "optimization": {"max_steps": 1, "batch_size": 4},
        "generation": {"prompts": []},
    }
    assert run(sft_recipe(tmp_path / "sft", learns), recipe_dir=ROOT).steps == 1


def test_all_cut_off_is_said_and_the_samples_are_kept(changes: dict[str, object], tmp_path: Path) -> None:
    recipe = made_recipe("self_chat", tmp_path / "run", {**changes, "sampling.max_new_tokens": 1})
    with pytest.raises(DataError, match="E148.*a reply was cut off"):
        run(recipe, recipe_dir=ROOT)
    assert list((tmp_path / "run").glob("samples/*/*.jsonl")) and not (tmp_path / "run/result.json").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"self_chat.opening": "Ask me something."}, "`opening` needs {} once"),
        ({"self_chat.turns": 1}, "turns"),
        ({"data.eval_fraction": 0.1}, "hold seeds out by a split"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        made_recipe("self_chat", tmp_path / "run", {"self_chat": {}, **wrong})
    assert said in str(refused.value)


# ---- the parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason", "end"),
    [
        ("And who else?", "stop", None),
        ("  ", "stop", End.NO_QUESTION),
        (" Who are you? ", "stop", End.NO_QUESTION),
        ("And who", "length", End.CUT_OFF_QUESTION),
    ],
)
def test_a_chat_ends_where_nothing_new_is_asked(text: str, reason: Any, end: End | None) -> None:
    def sample(name: str, text: str, reason: Any = "stop") -> Sample:
        return Sample(name, 0, 0, 1.0, "p", "t", [5], reason, text)

    chat = ChatFormat(open_model("pico").tokenizer, Chat())
    talk = Talk(Dialogue(("Who are you?",)), [sample("a", "I am pico.")])
    closed = Talk(Dialogue(("Hello?",)), [], End.EMPTY)
    ask_on(
        [talk, closed],
        chat,
        lambda prompts: {row["prompt_id"]: sample(row["prompt_id"], text, reason) for row in prompts},
        before=lambda dialogue: [{"role": "user", "content": "Ask."}],
        room=200,
    )
    assert talk.end is end and closed.dialogue.questions == ("Hello?",)
    assert talk.dialogue.questions == (("Who are you?", text) if end is None else ("Who are you?",))


def test_a_chat_that_the_asking_model_cannot_read_ends() -> None:
    chat = ChatFormat(open_model("pico").tokenizer, Chat())
    talk = Talk(Dialogue(("Who are you?",)), [Sample("a", 0, 0, 1.0, "p", "t", [5], "stop", "I am pico.")])
    ask_on([talk], chat, lambda prompts: {}, before=lambda one: [{"role": "user", "content": "Ask."}], room=8)
    assert talk.end is End.NO_ROOM
