"""What a run was trained on, and what of a benchmark is in it."""

from __future__ import annotations

import json
from pathlib import Path

from llamatune.data.contamination.skipgrams import Skipgrams
from llamatune.data.contamination.training import texts_in, trained_on
from llamatune.recipe.hashing import file_sha256


def a_run(folder: Path, recipe: dict[str, object], *files: Path, role: str = "train") -> Path:
    folder.mkdir(parents=True)
    (folder / "resolved.yaml").write_text("stage: sft\n")
    (folder / "manifest.json").write_text(json.dumps({"recipe": recipe, "facts": {}}))
    sources = [
        {"name": one.name, "role": role, "files": [str(one)], "sha256": [file_sha256(one)]} for one in files
    ]
    (folder / "data.json").write_text(json.dumps({"sources": sources}))
    return folder


def rows(file: Path, *rows: object) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_all_texts_that_a_run_and_those_behind_it_learnt_from(tmp_path: Path) -> None:
    first = rows(tmp_path / "first.jsonl", {"messages": [{"role": "user", "content": "one"}]})
    later = rows(tmp_path / "later.jsonl", {"prompt": "two", "chosen": "three", "made_by": {"run": "x"}})
    held_out = rows(tmp_path / "held_out.jsonl", {"text": "four"})
    base = a_run(tmp_path / "runs/base", {}, first)
    a_run(tmp_path / "runs/eval", {"model": {"adapter": str(base)}}, held_out, role="eval")
    top = a_run(tmp_path / "runs/top", {"model": {"adapter": str(tmp_path / "runs/eval")}}, later)
    found = trained_on([top])
    assert list(found.texts()) == ["two", "three", "one"]
    assert not found.missing


def test_a_file_that_is_gone_or_changed_is_said_and_not_read(tmp_path: Path) -> None:
    one, two = rows(tmp_path / "one.jsonl", {"text": "1"}), rows(tmp_path / "two.jsonl", {"text": "2"})
    run = a_run(tmp_path / "run", {}, one, two)
    one.unlink()
    two.write_text(two.read_text() * 2)
    found = trained_on([run])
    assert found.missing == {str(one), str(two)} and not found.files
    assert not trained_on([tmp_path / "no run"]).files


def test_texts_of_any_row() -> None:
    row = {"conversations": [{"from": "human", "value": "a"}], "nested": {"b": ["b", 1, None, {"c": "c"}]}}
    assert list(texts_in(row)) == ["a", "b", "c"]


def test_a_question_that_was_trained_on_is_found(tmp_path: Path) -> None:
    question = (
        "How many apples does Anna have left if she begins with seven and gives away three of them today"
    )
    file = rows(tmp_path / "rows.jsonl", {"instruction": question, "output": "4"})
    words: dict[str, int] = {}

    def ids(text: str) -> list[int]:
        return [words.setdefault(word, len(words)) for word in text.split()]

    seen = Skipgrams([ids(f"Question: {question} Answer: 4"), ids("What is the capital of the north")])
    for text in trained_on([a_run(tmp_path / "run", {}, file)]).texts():
        seen.read(ids(text))
    dirty, clean = seen.shares()
    assert dirty > 0.8 and clean == 0.0
