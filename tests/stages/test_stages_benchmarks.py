"""Benchmarks in an evaluation: figures, requests, contamination, resumes; and what a model card shows of them."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed: pip install 'llamatune[eval]'")

from llamatune.errors import DataError, RecipeError
from llamatune.hub.card import _tables
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from llamatune.runs.report.page import contents
from report_page import Page, assert_safe
from support import ROOT, killed, rows_of

LEFT = ("evaluation.json", "replies.jsonl")
QUESTIONS = ["What is two plus three?", "Who are you?", "What rhymes with lake?", "What is four plus one?"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    rows = [{"question": one, "answer": f"#### {number}"} for number, one in enumerate(QUESTIONS)]
    (folder / "gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    letters = "".join(f'"{one}",5,6,7,8,A\n' for one in QUESTIONS)
    (folder / "mmlu.csv").write_text(letters)
    return folder


def recipe_of(output: Path, folder: Path, models: dict[str, Any], **benchmarks: Any) -> Any:
    some = [
        {"format": "gsm8k", "path": str(folder / "gsm8k.jsonl"), "shots": 0},
        {"format": "mmlu", "path": str(folder / "mmlu.csv"), "shots": 0},
    ]
    recipe = {
        "stage": "evaluate",
        "output": str(output),
        "models": models,
        "benchmarks": {"files": some, "max_new_tokens": 8, **benchmarks},
        "resamples": 100,
    }
    return loads(json.dumps(recipe))


@pytest.fixture(scope="module")
def made(files: Path, trained: Any, made_once: Any) -> Path:
    models = {"start": {}, "lora": {"adapter": str(trained("lora"))}}
    return made_once(
        "benchmarked",
        lambda folder: run(recipe_of(folder, files, models, contamination=True), recipe_dir=ROOT),
    )


def test_figures_requests_and_what_was_seen_in_training(made: Path) -> None:
    found = json.loads((made / "evaluation.json").read_text())
    figures = {(one["set"], one["model"], one["figure"]): one for one in found["figures"]}
    assert {one["set"] for one in found["figures"]} == {"gsm8k", "mmlu"}
    acc = figures["mmlu", "lora", "acc"]
    assert acc["of"] == 4 and acc["benchmark"] and acc["verified"] is None and acc["unit"] == "share"
    assert 0 <= acc["low"] <= acc["value"] <= acc["high"] <= 1
    asked = {(one["set"], one["model"]): one for one in found["benchmarks"]}
    one = asked["mmlu", "start"]
    assert one["rows"] == 4 and one["left_out"] == 0 and one["bos"] == 1
    assert "What is two plus three?" in one["request"] and one["request"].endswith("⟦A⟧")
    # pico's SFT data has such questions, and the base has no run whose data are known
    seen = {(one["benchmark"], one["model"]) for one in found["contamination"]}
    assert seen == {("gsm8k", "lora"), ("mmlu", "lora")}
    page = Page(made)
    for title in ("Benchmarks, not verified", "How benchmarks were asked", "Benchmarks in training data"):
        assert title in page.text
    assert_safe(page)


def test_a_model_card_shows_no_benchmark_that_nobody_has_verified(made: Path, tmp_path: Path) -> None:
    seen = contents(made)
    shown = [table["title"] for table in _tables(seen)]
    assert any("not verified" in table.title for table in seen["evaluation"]["tables"])
    assert not any("enchmark" in title for title in shown)


def test_killed_in_the_middle_it_ends_in_the_same_bytes(
    made: Path, files: Path, trained: Any, tmp_path: Path
) -> None:
    models = {"start": {}, "lora": {"adapter": str(trained("lora"))}}
    recipe = recipe_of(tmp_path / "run", files, models, contamination=True)
    killed(recipe, at=2)
    run(recipe, recipe_dir=ROOT)
    for name in LEFT:
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


def test_in_plain_text_and_only_the_first_rows(files: Path, tmp_path: Path) -> None:
    run(recipe_of(tmp_path / "run", files, {"one": {}}, chat=False, max_rows=2), recipe_dir=ROOT)
    found = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert {one["set"] for one in found["benchmarks"]} == {"gsm8k, first 2 rows", "mmlu, first 2 rows"}
    assert all(one["bos"] == 1 and one["request"].startswith("<s>") for one in found["benchmarks"])


def test_what_does_not_fit_stops_the_run_before_anything_is_asked(files: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path / "run", files, {"one": {}}, max_new_tokens=100_000)
    with pytest.raises(DataError, match="4 of 4 rows"):
        run(recipe, recipe_dir=ROOT)
    assert not (tmp_path / "run/benchmarks").exists()


def test_code_runs_only_where_the_recipe_says_so(files: Path, tmp_path: Path) -> None:
    code = [{"format": "humaneval", "path": "x.jsonl"}]
    with pytest.raises(RecipeError, match="run_code"):
        recipe_of(tmp_path / "run", files, {"one": {}}, files=code)
    recipe = recipe_of(tmp_path / "run", files, {"one": {}}, suite="llama2_base", only=["humaneval"])
    with pytest.raises(RecipeError, match="run what the model has written"):
        run(recipe, recipe_dir=ROOT)


def test_a_name_that_the_suite_does_not_have(files: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path / "run", files, {"one": {}}, suite="llama2_base", only=["mmlo"])
    with pytest.raises(RecipeError, match="has no task `mmlo`"):
        run(recipe, recipe_dir=ROOT)


def test_an_evaluation_begins_within_fifteen_seconds(files: Path, tmp_path: Path) -> None:
    """Without downloads, after imports: tasks opened, prompts made, the model loaded, everything answered."""
    import lm_eval.api.task  # noqa: F401  imports are not counted

    started = time.monotonic()
    run(recipe_of(tmp_path / "run", files, {"one": {}}), recipe_dir=ROOT)
    taken = time.monotonic() - started
    print(f"{taken:.1f} s")
    assert taken < 15
    assert not rows_of(tmp_path / "run/replies.jsonl")
