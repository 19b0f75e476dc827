"""Ghost Attention: the instruction in every turn for sampling, in the first one for training."""

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
from llamatune.recipe.stages.gatt import GhostAttention
from llamatune.sampling.dialogues import Dialogue, End, Talk, dialogues_of, talk
from llamatune.sampling.instructions import demands_of, draw_instruction
from llamatune.sampling.samples import Sample
from llamatune.sampling.written_lists import values_in
from report_page import Page
from support import ROOT, in_two_processes, killed, made_recipe, rows_of, sft_recipe

GHOST = {"turns": [2, 3], "combine": 2, "held_out": ["pirate"]}


@pytest.fixture(scope="module")
def policy(trained: Any) -> str:
    return str(trained("full") / "model")


@pytest.fixture(scope="module")
def made(policy: str, made_once: Any) -> Path:
    """A finished run."""
    changes = {"model.base": policy, "gatt": GHOST, "recall": {"dialogues": 2, "turns": 3}}
    return made_once("gatt", lambda folder: run(made_recipe("gatt", folder, changes), recipe_dir=ROOT))


def test_the_instruction_is_kept_in_the_first_turn_and_the_last_reply_is_learnt(
    made: Path, policy: str
) -> None:
    opened = open_model(policy)
    chat = ChatFormat(opened.tokenizer, Chat())
    rows = rows_of(made / "conversations.jsonl")
    assert len(rows) > 2
    for row in rows:
        users = [one["content"] for one in row["messages"] if one["role"] == "user"]
        made_by = row["made_by"]
        told = _short(made_by) if made_by["shortened"] else made_by["instruction"]
        assert users[0].startswith(f"{told} ") and not any(made_by["instruction"] in one for one in users[1:])
        assert made_by["turns"] == len(users) in (2, 3)
        messages = tuple(Message(one["role"], one["content"], one.get("train")) for one in row["messages"])
        [encoded] = chat.encode(Conversation(messages, "row"))
        learnt = opened.tokenizer.decode([token for token in encoded.labels if token != IGNORED])
        last = row["messages"][-1]["content"]
        assert last in learnt and len(learnt) < len(last) + 10, "no token of an earlier turn"


def _short(made_by: dict[str, Any]) -> str:
    return " ".join(
        f"{kind.capitalize()}: {value if kind != 'language' else value.capitalize()}."
        for kind, value in made_by["constraints"].items()
    )


def test_replies_are_sampled_with_the_instruction_in_every_turn(made: Path, policy: str) -> None:
    """What was sampled from is found again by its digest."""
    asked = {row["prompt_id"] for file in made.glob("samples/*/*.jsonl") for row in rows_of(file)[:-1]}
    from llamatune.sampling.samples import prompt_id

    for row in rows_of(made / "conversations.jsonl"):
        made_by, messages = row["made_by"], row["messages"][:-1]
        first = messages[0]["content"].removeprefix(_short(made_by)).removeprefix(made_by["instruction"])
        plain = [first.strip(), *(one["content"] for one in messages[2::2])]
        everywhere = [
            {**one, "content": f"{made_by['instruction']} {plain[at // 2]}"} if one["role"] == "user" else one
            for at, one in enumerate(messages)
        ]
        assert prompt_id(everywhere) == made_by["prompt_id"] and made_by["prompt_id"] in asked


def test_figures_and_report(made: Path) -> None:
    page = Page(made)
    assert "Instruction recall by turn" in page.text and "styles held out" in page.text
    assert "Recall by turn" in page.text and "follow the instruction" in page.source
    assert "pirate" not in {
        value
        for row in rows_of(made / "conversations.jsonl")
        for value in row["made_by"]["constraints"].values()
    }


def test_killed_in_the_middle_it_ends_in_the_same_bytes(made: Path, policy: str, tmp_path: Path) -> None:
    recipe = made_recipe(
        "gatt",
        tmp_path / "run",
        {"model.base": policy, "gatt": GHOST, "recall": {"dialogues": 2, "turns": 3}},
    )
    killed(recipe, at=3)
    killed(recipe, at=2)
    run(recipe, recipe_dir=ROOT)
    for name in ("conversations.jsonl", "evaluation.json"):
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_two_processes_leave_the_files_of_one(made: Path, policy: str, tmp_path: Path) -> None:
    recipe = made_recipe(
        "gatt",
        tmp_path / "run",
        {"model.base": policy, "gatt": GHOST, "recall": {"dialogues": 2, "turns": 3}},
    )
    in_two_processes(recipe, tmp_path / "recipe.json")
    for name in ("conversations.jsonl", "evaluation.json"):
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


def test_sft_learns_from_the_run(made: Path, tmp_path: Path) -> None:
    changes = {
        "data.train": [{"run": str(made)}],
        "optimization": {"max_steps": 1, "batch_size": 4},
        "generation": {"prompts": []},
    }
    assert run(sft_recipe(tmp_path / "sft", changes), recipe_dir=ROOT).steps == 1


def test_all_cut_off_is_said_and_the_samples_are_kept(policy: str, tmp_path: Path) -> None:
    changes = {"model.base": policy, "gatt.turns": [2, 2], "sampling.max_new_tokens": 1}
    with pytest.raises(DataError, match="E148.*a reply was cut off"):
        run(made_recipe("gatt", tmp_path / "run", changes), recipe_dir=ROOT)
    assert list((tmp_path / "run").glob("samples/*/*.jsonl")) and not (tmp_path / "run/result.json").exists()


def test_recall_of_more_turns_than_there_are_questions_is_said(policy: str, tmp_path: Path) -> None:
    recall = {"dialogues": 2, "turns": 20}
    changes = {"model.base": policy, "gatt.turns": [2, 2], "recall": recall}
    run(made_recipe("gatt", tmp_path / "run", changes), recipe_dir=ROOT)
    assert "recall is asked in no dialogue of 20 turns" in (tmp_path / "run/events.jsonl").read_text()
    assert json.loads((tmp_path / "run/evaluation.json").read_text())["recall"] == {"in training rows": []}


def test_rows_without_a_second_question_are_refused_with_what_helps(policy: str, tmp_path: Path) -> None:
    rows = {"model.base": policy, "data.train": [{"card": "pico-prompts-adversarial", "max_rows": 4}]}
    with pytest.raises(DataError, match=r"(?s)E132.*gatt.turns=\[2,6\]") as refused:
        run(made_recipe("gatt", tmp_path / "run", rows), recipe_dir=ROOT)
    assert "none of 4 rows" in str(refused.value)


def test_the_model_writes_the_list_of_values(policy: str, tmp_path: Path) -> None:
    """As the paper's did. The tests' model writes no list: a short line is one of a single value."""
    figure = {"full": ["Act as {}."], "short": "Figure: {}.", "written_for": "Who are you?"}
    changes = {"model.base": policy, "gatt": {"turns": [2, 2], "constraints": {"figure": figure}}}
    run(made_recipe("gatt", tmp_path / "run", changes), recipe_dir=ROOT)
    values = json.loads((tmp_path / "run/evaluation.json").read_text())["lists"]["figure"]
    rows = rows_of(tmp_path / "run/conversations.jsonl")
    assert values and {row["made_by"]["constraints"]["figure"] for row in rows} <= set(values)
    assert all(
        f"Act as {row['made_by']['constraints']['figure']}." in row["made_by"]["instruction"] for row in rows
    )
    nothing = {**changes, "sampling.max_new_tokens": 1}
    with pytest.raises(
        DataError, match=r"E148\] gatt.constraints.figure.written_for: of 8 answers to 'Who are you\?'"
    ):
        run(made_recipe("gatt", tmp_path / "nothing", nothing), recipe_dir=ROOT)


def test_only_rows_whose_reply_follows(made: Path, policy: str, tmp_path: Path) -> None:
    before = rows_of(made / "conversations.jsonl")
    wanted = [row for row in before if row["made_by"]["followed"]]
    ghost = {**GHOST, "only_followed": True}
    recipe = made_recipe("gatt", tmp_path / "run", {"model.base": policy, "gatt": ghost})
    if wanted:
        run(recipe, recipe_dir=ROOT)
        assert rows_of(tmp_path / "run/conversations.jsonl") == wanted
        found = json.loads((tmp_path / "run/evaluation.json").read_text())
        assert (found["rows"], found["not_followed"]) == (len(wanted), len(before) - len(wanted))
    else:
        with pytest.raises(DataError, match="E148.*the instruction was not followed"):
            run(recipe, recipe_dir=ROOT)


# ---- the parts ------------------------------------------------------------------------------------------------


def test_instructions_are_drawn_by_seed_and_dialogue_alone() -> None:
    demands, held_out = demands_of(GhostAttention(held_out=["pirate", "music"]))
    assert {one.value for one in held_out} == {"pirate", "music"} and not set(held_out) & set(demands)
    dialogues = [Dialogue((f"Question {number}?", "And?")) for number in range(200)]
    drawn = [draw_instruction(demands, one, seed=0, combine=2, shortened=0.5) for one in dialogues]
    assert drawn == [draw_instruction(demands, one, seed=0, combine=2, shortened=0.5) for one in dialogues]
    assert 70 < sum(one.is_shortened for one in drawn) < 130, "half of them"
    assert 70 < sum(len(one.demands) == 2 for one in drawn) < 130
    assert all(len({demand.kind for demand in one.demands}) == len(one.demands) for one in drawn)
    ahoy = next(one for one in drawn if [demand.value for demand in one.demands] == ["Captain Storm"])
    assert ahoy.followed_by("Ahoy, it is red.") is True and ahoy.followed_by("It is red.") is False


def test_constraints_of_a_users_own() -> None:
    own = {"figure": {"full": ["Act as {}."], "short": "Figure: {}.", "values": ["Napoleon", "Ada"]}}
    [napoleon, ada], _ = demands_of(GhostAttention.model_validate({"constraints": own}))
    assert (napoleon.full, napoleon.short) == (("Act as Napoleon.",), "Figure: Napoleon.")
    one = draw_instruction([ada], Dialogue(("Who are you?", "Really?")), seed=0, combine=3)
    assert one.full == "Act as Ada." and one.followed_by("I am Ada.") is None, "no code can tell"


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ("Tennis, chess, and sailing.", ["Tennis", "chess", "sailing"]),
        ("Here are some hobbies: reading and hiking.", ["reading", "hiking"]),
        (
            "Sure! Here are 3 hobbies:\n\n1. Reading\n2) Bird watching.\n3. **Chess**: a game\n\nEnjoy!",
            ["Reading", "Bird watching", "Chess"],
        ),
        ("- Marie Curie – physicist\n- Oscar Wilde", ["Marie Curie", "Oscar Wilde"]),
        ("French\nGerman\nfrench", ["French", "German"]),
        ("Hobbies:\nRock-climbing\nSki", ["Rock-climbing", "Ski"]),
        ("I am sorry, but as a language model I have no hobbies of my own.", []),
        ("", []),
    ],
)
def test_values_in_a_list_that_a_model_wrote(reply: str, values: list[str]) -> None:
    assert values_in([reply, reply.upper()]) == values


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gatt.held_out": ["pirat"]}, "no value"),
        ({"gatt.constraints": {"a": {"full": ["{}"], "short": "{}"}}}, "give `values`, or `written_for`"),
        (
            {
                "gatt.constraints": {"a": {"full": ["{}"], "short": "{}", "values": ["b"]}},
                "gatt.only_followed": True,
            },
            "no code can check",
        ),
        ({"gatt.turns": [1, 3]}, "at least 2"),
        ({"gatt.constraints": {"a": {"full": ["Be."], "short": "{}", "values": ["b"]}}}, "needs {} once"),
        (
            {
                "gatt.constraints": {"a": {"full": ["{}"], "short": "{}", "values": ["b"]}},
                "recall.dialogues": 3,
            },
            "no code can check",
        ),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        made_recipe("gatt", tmp_path / "run", changes)
    assert said in str(refused.value)


def test_dialogues_go_on_with_the_next_rows() -> None:
    def row(*turns: str, system: str | None = None) -> dict[str, Any]:
        roles = ("user", "assistant") * len(turns)
        prompt = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
        prompt = [{"role": "system", "content": system}, *prompt] if system else prompt
        return {"prompt": prompt, "source": "s", "is_safety": False}

    rows = [row("a"), row("b", "old reply", "c"), row("d"), row("e"), row("e")]
    assert [one.questions for one in dialogues_of(rows, None, least=2)] == [("b", "c")]
    assert [one.questions for one in dialogues_of(rows, (2, 2), least=2)] == [("a", "b"), ("d", "e")]
    assert [one.questions for one in dialogues_of(rows, None)] == [("a",), ("b", "c"), ("d",), ("e",)], "once"
    told = [row("a", system="Be kind."), row("b"), row("c", system="Be kind."), row("d")]
    joined = [(one.system, one.questions) for one in dialogues_of(told, (2, 2), least=2)]
    assert joined == [("Be kind.", ("a", "c")), (None, ("b", "d"))], "nobody is told what is meant for others"


def test_a_chat_ends_before_what_cannot_be_used(tiny_base: Any) -> None:
    opened = open_model(str(tiny_base()))
    chat = ChatFormat(opened.tokenizer, Chat())
    dialogues = [Dialogue((name, "More?", "And?")) for name in ("good", "empty", "cut", "long")]

    def answers(prompts: Any, turn: int) -> dict[str, Sample]:
        def one(prompt: Any) -> Sample:
            first = prompt["prompt"][0]["content"]
            text = "" if first == "empty" and turn == 1 else "word " * (99 if first == "long" else 1)
            whole = not (first == "cut" and turn == 2)
            return Sample(prompt["prompt_id"], 0, 0, 1.0, "p", "t", [5], "stop" if whole else "length", text)

        return {prompt["prompt_id"]: one(prompt) for prompt in prompts}

    talks: list[Talk] = talk(dialogues, chat, answers, wording=lambda dialogue, number, text: text, room=60)
    ended = {one.dialogue.questions[0]: (len(one.replies), one.end) for one in talks}
    assert ended == {
        "good": (3, None),
        "empty": (1, End.EMPTY),
        "cut": (2, End.CUT_OFF),
        "long": (1, End.NO_ROOM),
    }
