"""A stage needs its files and its entry in the table, and nothing else: one that counts words passes every command."""

import json
import sys
import types
from pathlib import Path
from typing import Any, Literal

import pytest

from llamatune.cli import main
from llamatune.recipe.blocks import Block
from llamatune.recipe.recipes import STAGES, Stage
from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs.handover import Result

RECIPE = "stage: counting\noutput: runs/counted\ncounting:\n  text: one two three\n"


class Counting(Block):
    """What is counted."""

    text: str


class CountingRecipe(StageRecipe):
    """Count the words of a text."""

    stage: Literal["counting"]
    counting: Counting


def run_counting(recipe: CountingRecipe, run: Any) -> Result:
    words = len(recipe.counting.text.split())
    run.log(1, {"words": words})
    (run.directory / "model").mkdir()
    return run.finish(
        Result(
            stage="counting",
            artefact="model",
            base="none",
            steps=1,
            seconds=0.0,
            figures={"words": float(words)},
        )
    )


@pytest.fixture(autouse=True)
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Stage(
        recipe=CountingRecipe,
        task="generate",
        rows="documents",
        leaves=("metrics.jsonl",),
        then="read it: cat {run}/result.json",
        tuning="full",
        starter=lambda tuning, source: {"counting": {"text": "one"}},
    )
    monkeypatch.setitem(STAGES, "counting", entry)
    module = types.ModuleType("llamatune.stages.counting")
    module.run = run_counting  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llamatune.stages.counting", module)
    monkeypatch.chdir(tmp_path)
    Path("counting.yaml").write_text(RECIPE)


def command(*words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["llamatune", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0


def test_a_new_stage_runs_through_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    command("validate", "counting.yaml")
    assert "valid, stage counting" in capsys.readouterr().err

    command("run", "counting.yaml", "counting.text=a b c d")
    assert "read it: cat runs/counted/result.json" in capsys.readouterr().err
    result = json.loads(Path("runs/counted/result.json").read_text())
    assert result["stage"] == "counting" and result["figures"] == {"words": 4.0}

    command("run", "counting.yaml", "counting.text=a b c d")
    assert "already finished on " in capsys.readouterr().err

    command("report", "runs/counted")
    page = Path("runs/counted/report.html").read_text()
    assert "counting" in page and "words" in page

    command("schema")
    assert "CountingRecipe" in capsys.readouterr().out

    command("init", "--stage", "counting", "--output", "first.yaml")
    command("run", "first.yaml")
    assert json.loads(Path("runs/first/result.json").read_text())["figures"] == {"words": 1.0}
