"""Rows of benchmarks in training data: what is said where these data cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.judging.benchmarks.measure import BenchmarkResult
from llamatune.judging.benchmarks.seen import seen_in_training, unread
from llamatune.judging.benchmarks.tasks import Benchmark
from llamatune.recipe.hashing import file_sha256
from llamatune.runs.report.benchmarks import benchmark_tables


@pytest.mark.parametrize(
    ("gone", "affected", "clean", "says", "shown"),
    [
        ((), False, 2, "", "no"),
        (("a",), None, 2, "1 of 2 files that it was trained on is gone", "not known"),
        (("a", "b"), None, None, "2 of 2 files that it was trained on are gone", "not known"),
    ],
)
def test_what_could_not_be_read_is_not_called_clean(
    tmp_path: Path, gone: tuple[str, ...], affected: Any, clean: Any, says: str, shown: str
) -> None:
    files = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for file in files:
        file.write_text('{"text": "Something else."}\n')
    sources = [
        {"role": "train", "name": file.name, "files": [str(file)], "sha256": [file_sha256(file)]}
        for file in files
    ]
    run = tmp_path / "run"
    run.mkdir()
    for name, content in {"data.json": json.dumps({"sources": sources}), "manifest.json": "{}"}.items():
        (run / name).write_text(content)
    (run / "resolved.yaml").write_text("stage: sft\n")
    for name in gone:
        (tmp_path / f"{name}.jsonl").unlink()
    texts, values = ["one two", "three four"], {"em": [1.0, 0.0]}
    measured = BenchmarkResult(Benchmark("gsm8k", (), 0, "em"), 2, 0, 1, "", None, False, values, {}, texts)
    [found] = seen_in_training(run, [measured], lambda text: list(map(ord, text)))
    assert found["affected"] is affected and found["lengths"][0]["clean"] == clean
    assert (found["files"], found["missing"]) == (2 - len(gone), len(gone))
    assert unread([found]).startswith(says) and bool(unread([found])) is bool(says)
    [table] = [one for one in benchmark_tables({"contamination": [found]}, []) if one.rows]
    cells = dict(zip(table.columns, table.rows[0][1], strict=True))
    assert cells["affected"].text == shown
    assert (cells["files read"].text, cells["files missing"].text) == (str(2 - len(gone)), str(len(gone)))


def test_a_model_of_no_run_is_not_known() -> None:
    assert "is not known" in unread([])
