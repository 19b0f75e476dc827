"""`llamatune evaluate RUN` on what a user trained with: the rows that the run held out, and how well their replies are
predicted."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from llamatune.cli import main
from llamatune.commands.evaluate import quick_recipe
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import Conversation, Message
from llamatune.errors import DataError, RecipeError
from llamatune.models.open import open_model
from llamatune.pipeline import run
from llamatune.recipe.blocks import Chat
from support import evaluate_recipe, rows_of, sft_recipe

COLOURS = ("red", "blue", "green", "yellow", "white")


def write_rows(file: Path, rows: int) -> None:
    said = (
        {"prompt": f"What colour is door {number}?", "completion": f"It is {COLOURS[number % 5]}."}
        for number in range(rows)
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in said))


def trained_on(folder: Path, **data: Any) -> Path:
    changes = {
        "data.train": [{"path": str(folder / "mine.jsonl")}],
        "optimization": {"max_steps": 2, "batch_size": 4, "learning_rate": 1e-3, "warmup": 0},
        "generation": {"prompts": []},
        **{f"data.{key}": value for key, value in data.items()},
    }
    run(sft_recipe(folder / "runs/mine", changes), recipe_dir=folder)
    return folder / "runs/mine"


@pytest.fixture(scope="module")
def mine(made_once: Any) -> Path:
    """A run on a user's rows that held some of them out."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write_rows(folder / "mine.jsonl", 60)
        trained_on(folder, eval_fraction=0.2)

    return made_once("own-rows", make) / "runs/mine"


def test_without_data_the_rows_are_those_that_the_run_held_out(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["llamatune", "evaluate", "pico", str(mine), "--max-new-tokens", "8"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capsys.readouterr()
    assert "perplexity of the rows' replies" in said.out
    assert "cut off at 8 tokens" in said.err and "--max-new-tokens" in said.err
    [output] = Path("runs").iterdir()
    found = json.loads((output / "evaluation.json").read_text())
    figures = {(one["model"], one["figure"]): one for one in found["figures"]}
    trained = figures["mine", "perplexity of the rows' replies"]
    # The run measured its held-out loss on the same rows, at the same tokens.
    measured = [row for row in rows_of(mine / "metrics.jsonl") if "eval_loss" in row]
    assert trained["value"] == pytest.approx(math.exp(measured[-1]["eval_loss"]), rel=1e-3)
    [source] = [one for one in json.loads((mine / "data.json").read_text())["sources"]]
    assert trained["of"] == source["counts"]["held_out"] == found["prompts"] > 3
    assert figures["pico", "perplexity of the rows' replies"]["value"] > trained["value"]


def test_the_replies_of_rows_are_predicted_as_a_plain_loss_says(tmp_path: Path) -> None:
    """Of the last reply only, whatever was said before it."""
    said = [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "Nobody."},
        {"role": "user", "content": "And what colour is the door?"},
        {"role": "assistant", "content": "It is as red as a brick."},
    ]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": said}) + "\n")
    changes = {"data.eval": [{"path": str(tmp_path / "rows.jsonl")}], "judges": {}, "perplexity": True}
    run(evaluate_recipe(tmp_path / "run", {"pico": {}}, changes), recipe_dir=tmp_path)
    figures = {
        one["figure"]: one["value"]
        for one in json.loads((tmp_path / "run/evaluation.json").read_text())["figures"]
    }
    opened = open_model("pico")
    chat = ChatFormat(opened.tokenizer, Chat(loss_on="last_turn"))
    [row] = chat.encode(Conversation(tuple(Message(one["role"], one["content"]) for one in said), "row"))  # type: ignore[arg-type]
    ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
    loss = opened.model(input_ids=ids, labels=labels).loss.item()
    assert figures["perplexity of the rows' replies"] == pytest.approx(math.exp(loss), rel=1e-4)
    size = len(said[-1]["content"].encode())
    bits = loss * row.trained / math.log(2) / size
    assert figures["bits per byte of the rows' replies"] == pytest.approx(bits, rel=1e-4)


def test_a_run_that_held_nothing_out_says_so(tmp_path: Path) -> None:
    write_rows(tmp_path / "mine.jsonl", 8)
    made = trained_on(tmp_path)
    with pytest.raises(RecipeError, match=r"E025.*held no rows out[\s\S]*--data FILE"):
        quick_recipe([str(made)], [])
    asked = quick_recipe([str(made)], [str(tmp_path / "mine.jsonl")])
    assert asked.perplexity and not asked.judges.oracle


def test_options_about_data_are_not_ignored(mine: Path) -> None:
    with pytest.raises(RecipeError, match=r"E025.*--max-rows"):
        quick_recipe([str(mine)], [], max_rows=3)


def test_pico_and_what_its_world_taught_are_asked_about_that_world(trained: Any) -> None:
    for model in ("pico", str(trained("lora"))):
        asked = quick_recipe([model], [])
        assert asked.judges.oracle and not asked.perplexity and len(asked.data.eval) == 3


def test_models_are_called_as_their_last_part(tmp_path: Path, trained: Any) -> None:
    """Of which only what a recipe's key cannot hold is changed, and equal names are told apart."""
    first, second = (tmp_path / one / "chess. set s=1" for one in ("a", "b"))
    for folder in (first, second):
        folder.parent.mkdir()
        folder.symlink_to(trained("full") / "model")
    named = quick_recipe(["pico", str(first), str(second)], []).models
    assert list(named) == ["pico", "chess-set-s-1", "chess-set-s-1-2"]


def test_rows_without_replies_have_none_to_predict(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is the capital of France?"}\n')
    asked = quick_recipe(["pico"], [str(tmp_path / "prompts.jsonl")], overrides=[f"output={tmp_path}/run"])
    with pytest.raises(DataError, match=r"E122.*none of 1 row has a reply[\s\S]*--helpfulness"):
        run(asked, recipe_dir=tmp_path)
