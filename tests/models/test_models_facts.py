"""Whatever a recipe names decides whether its run is done: each file, and what a card says of its rows."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from llamatune.models.facts import facts_of
from llamatune.recipe.blocks import NamesFile
from llamatune.recipe.load import loads
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.sentences import sentences
from llamatune.runs.handover import Result
from llamatune.runs.opening import open_run, standing_of

PROMPTS = {"stage": "gatt", "data": {"train": [{"card": "mine"}]}}
TRAINED = {"stage": "sft", "data": {"train": [{"card": "mine"}]}}
PREFERENCES = {**PROMPTS, "stage": "preferences", "judge": "human"}
EVALUATE = {"stage": "evaluate", "models": {"a": {}, "b": {}}, "data": {"eval": [{"card": "mine"}]}}
TOXIGEN = {"format": "toxigen", "path": "t.jsonl"}

CASES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "Chat.template": [
        ("my.jinja", {**TRAINED, "chat": {"template": "my.jinja"}}),
        ("my.jinja", {**PROMPTS, "chat": {"template": "my.jinja"}}),
    ],
    "PreferencesRecipe.labels": [("people.jsonl", {**PREFERENCES, "labels": "people.jsonl"})],
    "Judges.labels": [("people.jsonl", {**EVALUATE, "judges": {"labels": "people.jsonl"}})],
    "Judges.function": [("judge.py", {**EVALUATE, "judges": {"function": "judge.py:polite"}})],
    "BenchmarkFile.path": [("t.jsonl", {**EVALUATE, "benchmarks": {"files": [TOXIGEN], "classifier": "c"}})],
    "BenchmarkFile.shots_from": [
        (
            "s.jsonl",
            {
                **EVALUATE,
                "benchmarks": {"files": [{"format": "gsm8k", "path": "g", "shots_from": "s.jsonl"}]},
            },
        )
    ],
    "Benchmarks.classifier": [
        ("c/config.json", {**EVALUATE, "benchmarks": {"files": [TOXIGEN], "classifier": "c"}})
    ],
}
"""By field that names a file: what to edit, and a recipe."""

NO_FILES = {
    # Data, models and runs, whose content is a fact each in its own way.
    *("Source.path", "Source.run", "Keep.pool", "Model.base", "Model.adapter", "RewardRecipe.compare_with"),
    *("RewardModels.helpfulness", "Judges.helpfulness", "SafetyJudge.safety", "TrainingWinRate.judges"),
    # What figures are called.
    "BenchmarkFile.name",
}
"""Fields whose sentences speak of files, and that are not marked."""


def _fields(
    block: type[BaseModel], seen: set[type[BaseModel]]
) -> Iterator[tuple[type[BaseModel], str, Any, list[Any]]]:
    """(class that defines it, name, type, marks) of each field of a block and of the blocks in it."""
    if block in seen:
        return
    seen.add(block)
    for name, field in block.model_fields.items():
        home = next(one for one in reversed(block.__mro__) if name in getattr(one, "__annotations__", {}))
        yield home, name, field.annotation, field.metadata
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _fields(part, seen)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    if get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _parts(part)


def _every_field() -> Iterator[tuple[str, Any, list[Any]]]:
    seen: set[type[BaseModel]] = set()
    for stage in STAGES.values():
        for home, name, annotation, marks in _fields(stage.recipe, seen):
            yield f"{home.__name__}.{name}", annotation, marks


def _marked(annotation: Any, marks: list[Any]) -> bool:
    every = [*marks, *(mark for part in _parts(annotation) for mark in getattr(part, "__metadata__", ()))]
    return any(isinstance(mark, NamesFile) for mark in every)


def test_every_field_that_names_a_file_has_a_case() -> None:
    marked = {name for name, annotation, marks in _every_field() if _marked(annotation, marks)}
    assert marked == set(CASES)


_OF_FILES = ("file", "folder", "path", ".jsonl", ".jinja", "finished run")


def test_a_field_whose_sentence_speaks_of_files_is_marked_or_known() -> None:
    """One that is added later and forgotten: its sentence says that it names a file."""
    forgotten = set()
    for stage in STAGES.values():
        for home, name, annotation, marks in _fields(stage.recipe, set()):
            of_text = any(part is str for part in _parts(annotation))
            speaks = any(word in sentences(home).get(name, "") for word in _OF_FILES)
            if of_text and speaks and not _marked(annotation, marks):
                forgotten.add(f"{home.__name__}.{name}")
    assert forgotten == NO_FILES, "mark it with `FilePath`, or say here why its file is a fact already"


CARD = """---
card_version: 1
name: mine
version: 1.0.0
description: Questions.
license: {{id: cc-by-4.0}}
source: {{kind: user}}
format: {format}
columns: {{{columns}}}
category: {category}
splits: {{train: {{files: [{{path: rows.jsonl}}]}}}}
languages: [en]
privacy: {{pii: none}}
uses: {{intended: [tests]}}
limits: []
---
"""


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a finished run of a recipe, and says what has changed since."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for file in (
        "my.jinja",
        "judge.py",
        "people.jsonl",
        "t.jsonl",
        "s.jsonl",
        "g",
        "c/config.json",
        "rows.jsonl",
    ):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text("{}\n")
    Path("data_cards").mkdir()
    write_card()

    def made(content: dict[str, Any]) -> Any:
        recipe = loads(json.dumps({"output": "run", **content}))
        with open_run(recipe, recipe_dir=Path()) as run:
            run.made_from(facts_of(recipe, Path()))
            (run.directory / "rows").write_text("")
            run.finish(Result(recipe.stage, "rows", "pico", 1, 1))
        return lambda: standing_of(recipe, lambda: facts_of(recipe, Path())).changed

    return made


def write_card(format: str = "prompt_only", columns: str = "prompt: q", category: str = "safety") -> None:
    text = CARD.format(format=format, columns=columns, category=category)
    digest = hashlib.sha256(Path("rows.jsonl").read_bytes()).hexdigest()
    Path("data_cards/mine.md").write_text(
        text.replace("rows.jsonl}", f"rows.jsonl, sha256: {digest}, rows: 1}}")
    )


@pytest.mark.parametrize(("file", "content"), [case for cases in CASES.values() for case in cases])
def test_an_edited_file_makes_a_finished_run_due(finished, file: str, content: dict[str, Any]) -> None:
    changed = finished(content)
    assert changed() == ()
    Path(file).write_text('{"changed": 1}\n')
    [change] = changed()
    assert file in change or change.startswith("data.benchmark["), change
    Path(file).write_text("{}\n")
    assert changed() == ()


@pytest.mark.parametrize(
    ("edit", "of_prompts"),
    [
        ({"format": "questions"}, True),
        ({"columns": "prompt: text"}, True),
        ({"category": "helpfulness"}, True),
        ({"category": "helpfulness"}, False),
    ],
)
def test_what_a_card_says_of_its_rows_is_a_fact(finished, edit: dict[str, str], of_prompts: bool) -> None:
    """Its category only where it tags prompts; its description never."""
    changed = finished(PROMPTS if of_prompts else TRAINED)
    assert changed() == ()
    write_card(**edit)
    assert [change.partition(":")[0].startswith("cards.mine.") for change in changed()] == [True] * of_prompts
    write_card()
    card = Path("data_cards/mine.md")
    card.write_text(card.read_text().replace("Questions.", "Others."))
    assert changed() == ()


def test_a_run_that_is_older_than_a_kind_of_facts_stays_done(finished) -> None:
    changed = finished({**TRAINED, "chat": {"template": "my.jinja"}})
    manifest = Path("run/manifest.json")
    content = json.loads(manifest.read_text())
    del content["facts"]["files"], content["facts"]["cards"]
    manifest.write_text(json.dumps(content))
    assert changed() == ()
