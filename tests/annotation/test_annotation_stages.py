"""What people say reaches the stages: runs that wait go on, and a reward model learns from the pairs."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.annotation.annotate import DATABASE, Wishes, annotate
from llamatune.annotation.desk import Desk, Refused, Rules
from llamatune.annotation.live import LiveModels, LiveVariant
from llamatune.annotation.scales import Scale, Session
from llamatune.annotation.sources import find_compared
from llamatune.annotation.store import Store
from llamatune.errors import StoppedError
from llamatune.pipeline import run
from support import ROOT, evaluate_recipe, made_recipe, reward_recipe, rows_of


@pytest.fixture(scope="module")
def policy(trained: Any) -> str:
    return str(trained("full") / "model")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judge_longer(what: Path, folder: Path, session: Session = "helpfulness", scale: Scale = "grades") -> int:
    """Somebody who prefers the longer reply, wherever it stands, and calls long replies unsafe."""
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder / DATABASE)
    store.settle({"session": session, "scale": scale})
    store.add(find_compared(str(what)).pairs)
    desk = Desk(store, Rules(session, scale))
    judged = 0
    while (shown := desk.state("Ada"))["phase"] == "compare":
        if session == "safety":
            desk.say("Ada", shown["pair"], safe="both")
        further = len(shown["right"]) - len(shown["left"])
        size = 2 if further or scale == "grades" else 0
        desk.say("Ada", shown["pair"], verdict=size if further > 0 else -size)
        judged += 1
    store.close()
    return judged


def test_a_run_that_waits_turn_by_turn_goes_on(policy: str, tmp_path: Path) -> None:
    asked = ["Who are you?", "How do I bake bread?", "Find a rhyme for lake.", "Good night!"]
    chats = [[("user", one), ("assistant", "Old."), ("user", "What is the job of Anna?")] for one in asked]
    prompts = [{"prompt": [{"role": role, "content": text} for role, text in chat]} for chat in chats]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in prompts))
    changes = {
        "model.base": policy,
        "data.train": [{"path": str(tmp_path / "prompts.jsonl")}],
        "judge": "human",
        "every_turn": True,
        "test_share": 0,
    }
    recipe = made_recipe("preferences", tmp_path / "waits", changes)
    judged = 0
    for _ in range(5):
        try:
            run(recipe, recipe_dir=ROOT)
            break
        except StoppedError:
            new = judge_longer(tmp_path / "waits", tmp_path / "annotations/waits", "safety")
            assert new, "each wait is for something"
            judged += new
            wishes = Wishes("safety", output=tmp_path / "annotations/waits", only_export=True)
            annotate("waits", wishes, print, print)
    rows = rows_of(tmp_path / "waits/preferences.jsonl")
    assert len(rows) == judged > len(asked) / 2 and any(len(row["prompt"]) > 1 for row in rows)
    for row in rows:
        assert len(row["chosen"][0]["content"]) >= len(row["rejected"][0]["content"])
        assert (row["rating"], row["chosen_safe"], row["rejected_safe"]) == ("slightly_better", True, True)


def test_labels_from_elsewhere_stay_and_are_not_asked_about(tmp_path: Path, policy: str) -> None:
    recipe = made_recipe("preferences", tmp_path / "waits", {"model.base": policy, "judge": "human"})
    with pytest.raises(StoppedError):
        run(recipe, recipe_dir=ROOT)
    every = rows_of(tmp_path / "waits/comparisons.jsonl")
    by_hand = {"id": every[0]["id"], "better": "none", "note": "by hand"}
    (tmp_path / "waits/labels.jsonl").write_text(json.dumps(by_hand) + "\n")
    found = find_compared("waits")
    assert found.labelled == {every[0]["id"]} and found.labels == Path("waits/labels.jsonl")
    folder = tmp_path / "annotations/waits"
    folder.mkdir(parents=True)
    store = Store(folder / DATABASE)
    store.settle({"session": "helpfulness", "scale": "grades"})
    store.add(one for one in found.pairs if one.id not in found.labelled)
    desk = Desk(store, Rules("helpfulness", "grades"))
    while (shown := desk.state("Ada"))["phase"] == "compare":
        desk.say("Ada", shown["pair"], verdict=1)
    store.close()
    annotate("waits", Wishes(only_export=True), print, print)
    labels = {row["id"]: row for row in rows_of(tmp_path / "waits/labels.jsonl")}
    assert labels.pop(every[0]["id"]) == by_hand and set(labels) == {one["id"] for one in every[1:]}
    result = run(recipe, recipe_dir=ROOT)
    assert result.figures["comparisons"] >= len(every)


def test_people_on_seven_points_decide_win_rates(policy: str, tmp_path: Path) -> None:
    models = {"one": {"base": policy}, "other": {"base": "pico"}}
    labels = tmp_path / "people/labels.jsonl"
    recipe = evaluate_recipe(tmp_path / "waits", models, {"judges": {"labels": str(labels)}})
    with pytest.raises(StoppedError):
        run(recipe, recipe_dir=ROOT)
    found = find_compared("waits")
    assert found.scale == "seven" and found.labels == labels
    judge_longer(tmp_path / "waits", tmp_path / "annotations/waits", scale="seven")
    done, _ = annotate("waits", Wishes(only_export=True), print, print)
    assert done.labels == len(found.pairs) == done.figures["judgements"]
    run(recipe, recipe_dir=ROOT)
    evaluation = json.loads((tmp_path / "waits/evaluation.json").read_text())
    replies = [row["replies"] for row in rows_of(tmp_path / "waits/replies.jsonl")]
    [said] = [one for one in evaluation["win_rates"] if (one["model"], one["set"]) == ("other", "all sets")]
    further = [len(row["other"]["text"].strip()) - len(row["one"]["text"].strip()) for row in replies]
    assert (said["win"], said["loss"]) == (sum(one > 0 for one in further), sum(one < 0 for one in further))


def test_replies_that_are_cut_off_are_said_to_be() -> None:
    """The base model ends no answer: another prompt would not help, and whoever serves the page hears what does."""
    heard: list[str] = []
    variants = LiveVariant("pico", 0.7), LiveVariant("pico", 1.3)
    live = LiveModels(*variants, base=None, max_new_tokens=4, top_p=0.95, seed=0, say=heard.append)
    with pytest.raises(Refused, match="cut off"):
        live.answers([{"role": "user", "content": "Who is Anna?"}], "q")
    assert any("of 8 replies" in line and "--max-new-tokens" in line for line in heard)


def test_a_live_chat_trains_a_reward_model(policy: str, tmp_path: Path) -> None:
    heard: list[str] = []
    variants = LiveVariant(policy, 0.7), LiveVariant(policy, 1.3)
    live = LiveModels(*variants, base=None, max_new_tokens=32, top_p=0.95, seed=0, say=heard.append)
    folder = tmp_path / "annotations/model"
    folder.mkdir(parents=True)
    store = Store(folder / DATABASE)
    store.settle({"session": "helpfulness", "scale": "grades"})
    desk = Desk(store, Rules("helpfulness", "grades"), answering=live, starts=True)
    turns = 0
    for number in range(12):
        shown = desk.state("Ada")
        asked = ["Who are you?", "What is two plus three?", "Find a rhyme for lake.", "How do I bake bread?"]
        desk.ask("Ada", asked[number % 4], shown["after"])
        try:
            shown = desk.answer("Ada")
        except Refused:
            if (open_chat := desk.state("Ada"))["after"] is not None:
                desk.end_chat("Ada", open_chat["after"])
            continue
        assert "policy" not in json.dumps(shown) and policy not in json.dumps(shown)
        after = desk.say("Ada", shown["pair"], verdict=-2)
        turns = max(turns, len(after["messages"]) // 2)
        if turns >= 3:
            desk.end_chat("Ada", after["after"])
    with pytest.raises(Refused, match="too long"):
        desk.ask("Ada", "word " * 3000, desk.state("Ada")["after"])
        desk.answer("Ada")
    assert any("E130" in line for line in heard), "the terminal hears why"
    store.close()
    done, _ = annotate(policy, Wishes(output=folder, only_export=True), print, print)
    assert done.preferences >= 3 and turns >= 2
    rows = rows_of(folder / "preferences.jsonl")
    for row in rows:
        by = row["made_by"]
        assert {by["chosen"]["variant"], by["rejected"]["variant"]} == {"model", "other"}
        assert {by["chosen"]["temperature"], by["rejected"]["temperature"]} == {0.7, 1.3}
        assert len(by["chosen"]["policy"]) == 64
    source = {"path": str(folder / "preferences.jsonl")}
    changes = {"data.train": [source], "optimization.batch_size": 2, "optimization.max_steps": 2}
    result = run(reward_recipe(tmp_path / "reward", changes), recipe_dir=ROOT)
    assert result.steps == 2 and (tmp_path / "reward/adapter").is_dir()
