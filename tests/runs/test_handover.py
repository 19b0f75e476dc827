"""What a finished run hands over, and that nothing else is taken from it."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.data.encode.encoders import encoder_for
from llamatune.data.prepare import prepare
from llamatune.data.read.sources import open_source
from llamatune.data.rows import Conversation, Message, Preference
from llamatune.errors import DataError, RecipeError
from llamatune.models.found import find
from llamatune.models.tokenizer import load_tokenizer
from llamatune.recipe.blocks import Source
from llamatune.recipe.load import load
from llamatune.recipe.shipped import recipe_that_writes
from llamatune.runs.handover import (
    CONVERSATIONS,
    PREFERENCES,
    PREFERENCES_TEST,
    Result,
    conversation_row,
    preference_row,
    take,
    write_rows,
)

CHAT = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
PAIR = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
ROWS = {"conversations.jsonl": CHAT * 2, "preferences.jsonl": PAIR}


def refusal(run: str, name: str) -> str:
    with pytest.raises(RecipeError) as caught:
        take(run, name)
    return str(caught.value)


def test_result_names_each_file_with_its_hash(stage) -> None:
    finished = stage("runs/x", files={"adapter/weights": "1", "adapter/inner": "2", **ROWS})
    assert list(finished.files) == ["adapter", "conversations.jsonl", "preferences.jsonl"]
    again = Result.read(Path("runs/x"))
    assert again == finished and again is not None and again.earlier and finished.finished > 1e9
    for name in finished.files:
        assert take("runs/x", name) == Path("runs/x") / name
    assert "earlier" not in json.loads(Path("runs/x/result.json").read_text())


@pytest.mark.parametrize("change", ["content", "name", "another file"])
def test_a_changed_folder_is_refused(stage, change: str) -> None:
    stage("runs/x", files={"adapter/weights": "1"})
    folder = Path("runs/x/adapter")
    if change == "content":
        (folder / "weights").write_text("2")
    if change == "name":
        (folder / "weights").rename(folder / "other")
    if change == "another file":
        (folder / "template.jinja").write_text("")
    said = refusal("runs/x", "adapter")
    assert "E039" in said and "has changed since it finished" in said and "--overwrite" in said


def test_a_note_for_people_changes_nothing(stage) -> None:
    stage("runs/x", files={"adapter/weights": "1"})
    Path("runs/x/adapter/README.md").write_text("my model")
    take("runs/x", "adapter")


def test_rows_are_taken_by_the_kind_that_the_stage_reads(stage, tmp_path: Path) -> None:
    stage("runs/x", files=ROWS)
    for kind, name, rows in (
        ("conversations", "conversations.jsonl", 2),
        ("prompts", "conversations.jsonl", 2),
        ("ptx", "conversations.jsonl", 2),
        ("preferences", "preferences.jsonl", 1),
    ):
        opened = open_source(Source(run="runs/x"), tmp_path, kind=kind)
        assert opened.name == f"runs/x/{name}" and opened.run == "runs/x"
        assert opened.sha256 == (Result.read(Path("runs/x")).files[name].sha256,)
        places = [place for place, _ in opened.rows()]
        assert len(places) == rows and places[0] == f"runs/x/{name}:1"
    for kind in ("documents", "scores"):
        with pytest.raises(DataError, match="E115"):
            open_source(Source(run="runs/x"), tmp_path, kind=kind)


def test_rows_that_a_stage_writes_are_read_by_the_next_one(stage, tmp_path: Path) -> None:
    """The winner is the assistant's turn, after the whole prompt; what made it is no part of it."""
    prompt = [{"role": "system", "content": "s"}, {"role": "user", "content": "q\u2028"}]
    made_by = {"sample": 3, "reward": 0.5, "policy": "abc"}
    write_rows(tmp_path / "c", [conversation_row(prompt, "best", made_by)] * 2)
    write_rows(tmp_path / "p", [preference_row(prompt, "best", "worse", made_by, rating="better")])
    files = {CONVERSATIONS: (tmp_path / "c").read_text(), PREFERENCES: (tmp_path / "p").read_text()}
    stage("runs/x", files=files)
    opened = open_source(Source(run="runs/x"), tmp_path, kind="conversations")
    row = opened.canonical(*next((raw, place) for place, raw in opened.rows()))
    asked = (Message("system", "s"), Message("user", "q\u2028"))
    assert isinstance(row, Conversation) and row.messages == (*asked, Message("assistant", "best"))
    assert [raw["made_by"] for _, raw in opened.rows()] == [made_by] * 2
    opened = open_source(Source(run="runs/x"), tmp_path, kind="preferences")
    row = opened.canonical(*next((raw, place) for place, raw in opened.rows()))
    assert isinstance(row, Preference) and row.prompt == asked and row.rating == "better"
    assert [side[0].content for side in (row.chosen, row.rejected)] == ["best", "worse"]


def test_a_held_out_part_without_rows_is_left_out_with_a_word(stage) -> None:
    """Of few comparisons none may be held out; a training that evaluates on them goes on without."""
    stage("runs/x", files={PREFERENCES: PAIR + PAIR.replace("a", "d"), PREFERENCES_TEST: ""})
    Path("r.yaml").write_text(
        "stage: reward\noutput: runs/y\n"
        "data: {train: [{run: runs/x}], eval: [{run: runs/x, split: test}], max_length: 99}\n"
    )
    recipe = load("r.yaml")
    kind, encoder = encoder_for(recipe, load_tokenizer(find("pico").base))
    said: list[str] = []
    for _ in range(2):
        prepared = prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=Path(), report=said.append)
        assert len(prepared.train) == 2 and prepared.eval is None
    assert said.count("runs/x held out nothing: there is no evaluation on it") == 2
    lines = CliRunner().invoke(app, ["validate", "r.yaml"]).output
    assert "runs/x held out nothing" in " ".join(lines.split())
    # Emptied since, it is damage like any other.
    stage("runs/z", files={PREFERENCES: PAIR, PREFERENCES_TEST: PAIR})
    Path("runs/z", PREFERENCES_TEST).write_text("")
    recipe = load("r.yaml", ["data.eval=[{run: runs/z, split: test}]"])
    with pytest.raises(RecipeError, match="E039"):
        prepare(recipe.data, encoder, kind=kind, seed=0, recipe_dir=Path(), report=said.append)


def test_a_run_that_leaves_no_such_rows(stage) -> None:
    stage("runs/x")
    said = refusal("runs/x", "preferences.jsonl")
    assert "E039" in said and "`runs/x` leaves no preferences.jsonl" in said and "leaves adapter" in said


def test_rows_that_have_changed_or_gone(stage) -> None:
    stage("runs/x", files=ROWS)
    file = Path("runs/x/conversations.jsonl")
    before = file.stat()
    file.write_text(ROWS["conversations.jsonl"].replace("b", "c"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert "has changed since it finished" in refusal("runs/x", "conversations.jsonl")
    file.unlink()
    assert "is gone" in refusal("runs/x", "conversations.jsonl")


def test_a_run_that_is_missing_or_unfinished_names_the_recipe_that_writes_it(stage) -> None:
    said = refusal("runs/pico-sft", "adapter")
    assert "E038" in said and "there is no run in `runs/pico-sft`" in said
    assert "llamatune run pico/sft" in said, "a shipped recipe writes it"
    Path("mine.yaml").write_text("stage: sft\noutput: runs/mine  # here\n")
    assert "llamatune run mine.yaml" in refusal("runs/mine", "adapter")
    assert recipe_that_writes("runs/mine/") == "mine.yaml" and recipe_that_writes("runs/other") is None

    def fail(run: object) -> None:
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError):
        stage("runs/mine", until=fail)
    assert "`runs/mine` has not finished" in refusal("runs/mine", "adapter")


def test_a_damaged_result_is_told(stage) -> None:
    stage("runs/x")
    good = json.loads(Path("runs/x/result.json").read_text())
    odd = [3, {"adapter": 3}, {"adapter": {"path": "adapter"}}, {"adapter": {"path": 1, "sha256": "a"}}]
    odd += [{"adapter": {"path": path, "sha256": "a"}} for path in ("../y", "/etc")]
    changed = [good | {"files": files} for files in odd] + [
        good | {"finished": when} for when in ("x", 1e300, None)
    ]
    for text in ("{", "[]", "{}", *map(json.dumps, [*changed, good | {"more": 1}])):
        Path("runs/x/result.json").write_text(text)
        assert "cannot be read" in refusal("runs/x", "adapter"), text


def test_validate_looks_for_the_run(stage) -> None:
    recipe = "stage: sft\noutput: runs/y\ndata:\n  train:\n    - run: runs/x\n"
    Path("recipe.yaml").write_text(recipe)
    with pytest.raises(RecipeError, match=r"E038\] recipe.yaml:5:12.*no run in `runs/x`"):
        load("recipe.yaml")
    stage("runs/x", files=ROWS)
    assert load("recipe.yaml").data.train[0].run == "runs/x"
    Path("recipe.yaml").write_text(recipe.replace("runs/x", "../x"))
    with pytest.raises(RecipeError, match="E032"):
        load("recipe.yaml")
    Path("recipe.yaml").write_text(recipe + "      path: rows.jsonl\n")
    with pytest.raises(RecipeError, match="exactly one of `card`, `path`, `hub` and `run`"):
        load("recipe.yaml")
