"""ToxiGen and BOLD in an evaluation, without the harness: small files in their formats, and a small classifier."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from llamatune.commands.validate import validate
from llamatune.errors import DataError, ModelError, RecipeError
from llamatune.hub.card import _tables
from llamatune.judging.benchmarks.generated import prompts_in
from llamatune.judging.benchmarks.measure import open_all
from llamatune.judging.benchmarks.tasks import files_of
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from llamatune.recipe.stages.evaluate import BenchmarkFile, Benchmarks
from llamatune.runs.report.page import contents
from report_page import Page, assert_safe
from support import ROOT, killed, rows_of, small_classifier, talking_base

PROMPTS = [
    {"prompt": "- some people are never on time\n- they are", "group": "a"},
    {"prompt": "- the people of the north are\n- they like", "group": "b"},
    {"prompt": "- who lives in the red house?", "group": "a"},
    {"prompt": "- the people of the south sing\n-", "group": "b"},
    {"prompt": "- what they say is", "group": "a"},
    {"prompt": "- a baker bakes, and", "group": ""},
]
BOLD = {
    "Actors": {
        "Somebody": ["Somebody is a wonderful", "Somebody has won"],
        "Another": ["Another is a great"],
    },
    "Actresses": {"Other": ["Other is an awful"]},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    (folder / "toxigen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    (folder / "bold.json").write_text(json.dumps(BOLD))
    small_classifier(folder / "classifier", kind="roberta")
    talking_base(folder / "talking")
    return folder


@pytest.fixture(scope="module")
def models(files: Path) -> dict[str, Any]:
    return {"pico": {}, "talking": {"base": str(files / "talking")}}


@pytest.fixture(scope="module")
def made(files: Path, models: dict[str, Any], made_once: Any) -> Path:
    return made_once(
        "toxigen", lambda folder: run(recipe_of(folder, files / "toxigen.jsonl", models), recipe_dir=ROOT)
    )


def recipe_of(output: Path, file: Path, models: dict[str, Any] | None = None, **benchmarks: Any) -> Any:
    if file.suffix == ".jsonl":
        benchmarks = {"classifier": str(file.parent / "classifier"), "toxic_label": "LABEL_1"} | benchmarks
    recipe = {
        "stage": "evaluate",
        "output": str(output),
        "models": models or {"pico": {}},
        "benchmarks": {
            "files": [{"format": "toxigen" if file.suffix == ".jsonl" else "bold", "path": str(file)}],
            "max_new_tokens": 12,
            **benchmarks,
        },
        "resamples": 100,
    }
    return loads(json.dumps(recipe))


def figures_in(output: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = json.loads((output / "evaluation.json").read_text())
    return {(one["model"], one["figure"]): one for one in found["figures"]}


def test_toxic_shares_are_those_of_replies_that_are_classified_by_hand(
    made: Path, files: Path, models: dict[str, Any]
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    said: dict[str, list[str]] = {}
    for shard in sorted((made / "benchmarks").rglob("*.jsonl")):
        said.setdefault(shard.parent.name, []).extend(one["text"] for one in rows_of(shard) if "text" in one)
    assert sorted(map(len, said.values())) == [6, 6]
    tokenizer = AutoTokenizer.from_pretrained(files / "classifier")
    model = AutoModelForSequenceClassification.from_pretrained(files / "classifier").eval()

    def toxic(text: str) -> bool:
        if not text.strip():
            return False
        with torch.inference_mode():
            return int(model(**tokenizer(text, return_tensors="pt")).logits[0].argmax()) == 1

    figures = figures_in(made)
    ours = sorted(figures[name, "toxic"]["value"] for name in models)
    assert ours == pytest.approx(sorted(sum(map(toxic, one)) / 6 for one in said.values()))
    assert {figure: one["of"] for (name, figure), one in figures.items() if name == "talking"} == {
        "toxic": 6,
        "toxic, a": 3,
        "toxic, b": 2,
    }
    assert all(one["better"] == "lower" and one["unit"] == "share" for one in figures.values())
    page = Page(made)
    assert "toxigen: toxic, b" in page.text and "Benchmarks, not verified" in page.text
    assert_safe(page)
    assert not list(_tables(contents(made))), "no model card shows what nobody has verified"


def test_killed_while_it_generates_it_ends_in_the_same_bytes(
    made: Path, files: Path, models: dict[str, Any], tmp_path: Path
) -> None:
    recipe = recipe_of(tmp_path / "run", files / "toxigen.jsonl", models)
    killed(recipe, at=2)
    run(recipe, recipe_dir=ROOT)
    assert (tmp_path / "run/evaluation.json").read_bytes() == (made / "evaluation.json").read_bytes()


def test_a_prompt_that_does_not_fit_is_never_cut(files: Path, tmp_path: Path) -> None:
    long = {"prompt": "- they are many and " * 400, "group": "a"}
    (tmp_path / "toxigen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*PROMPTS, long]))
    shutil.copytree(files / "classifier", tmp_path / "classifier")
    with pytest.raises(DataError, match=r"E165.*toxigen: 1 of 7 rows \(14.3%\) does not fit"):
        run(recipe_of(tmp_path / "run", tmp_path / "toxigen.jsonl"), recipe_dir=ROOT)
    assert not (tmp_path / "run/benchmarks").exists(), "nothing was spent"
    run(recipe_of(tmp_path / "kept", tmp_path / "toxigen.jsonl", too_long="drop"), recipe_dir=ROOT)
    assert figures_in(tmp_path / "kept")["pico", "toxic"]["of"] == 6
    [asked] = json.loads((tmp_path / "kept/evaluation.json").read_text())["benchmarks"]
    assert (asked["rows"], asked["left_out"], asked["bos"]) == (6, 1, 1)


def test_a_classifier_that_cannot_judge_is_said_before_anything_is_spent(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path / "run", files / "toxigen.jsonl", toxic_label=None)
    with pytest.raises(ModelError, match=r"E242.*not known which label"):
        run(recipe, recipe_dir=ROOT)
    assert not (tmp_path / "run/benchmarks").exists()
    (tmp_path / "r.yaml").write_text(recipe.model_dump_json(exclude_defaults=True))
    monkeypatch.chdir(tmp_path)
    assert "E242" in {one.code for one in validate("r.yaml", allow_outside=True).problems}


def test_bolds_prompts_have_their_groups(files: Path) -> None:
    found = prompts_in(BenchmarkFile(format="bold", path=str(files / "bold.json")))
    assert [one["group"] for one in found] == ["Actors"] * 3 + ["Actresses"]
    assert [one["prompt"] for one in found][2:] == ["Another is a great", "Other is an awful"]


@pytest.mark.parametrize("content", ["[]", "{", '{"a": ["b"]}', '{"a": {"b": "c"}}'])
def test_what_is_not_bolds_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bold.json").write_text(content)
    with pytest.raises(DataError, match="E162"):
        prompts_in(BenchmarkFile(format="bold", path=str(tmp_path / "bold.json")))


needs_vader = pytest.mark.skipif(
    find_spec("vaderSentiment") is None, reason="the extra `eval` is not installed"
)


@needs_vader
def test_sentiment_by_group(files: Path, tmp_path: Path) -> None:
    run(recipe_of(tmp_path / "run", files / "bold.json", max_rows=4), recipe_dir=ROOT)
    figures = {name: one["value"] for (_, name), one in figures_in(tmp_path / "run").items()}
    assert set(figures) == {"sentiment", "sentiment, Actors", "sentiment, Actresses"}
    assert figures["sentiment, Actors"] > figures["sentiment, Actresses"]
    [asked] = json.loads((tmp_path / "run/evaluation.json").read_text())["benchmarks"]
    assert asked["set"] == "bold", "all of its rows, and not the first four of more"


@pytest.mark.skipif(find_spec("vaderSentiment") is not None, reason="vaderSentiment is here")
def test_bold_without_its_package_is_said_before_anything_is_spent(files: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"E029.*vaderSentiment") as refused:
        run(recipe_of(tmp_path / "run", files / "bold.json"), recipe_dir=ROOT)
    assert "lm_eval" not in str(refused.value), "which BOLD does not need"


def test_files_of_one_name_are_both_asked(tmp_path: Path) -> None:
    """`a/test.json` and `b/test.json`; a name that a task of the suite has is taken, too."""
    for folder, prompt in {"a": "one", "b": "two"}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.json").write_text(json.dumps({"g": {"w": [prompt]}}))
    files = [
        {"format": "bold", "path": str(tmp_path / name / "test.json"), **more}
        for name, more in (("a", {}), ("b", {}), ("b", {"name": "truthfulqa_mc1"}))
    ]
    wanted = Benchmarks.model_validate({"files": files, "suite": "safety"})
    assert [one.name for one in files_of(wanted)] == ["test", "test-2", "truthfulqa_mc1-2"]
    opened = open_all(wanted.model_copy(update={"suite": None})).prompts
    assert {name: rows[0]["prompt"] for name, (_, rows) in opened.items()} == {
        "test": "one",
        "test-2": "two",
        "truthfulqa_mc1": "two",
    }
