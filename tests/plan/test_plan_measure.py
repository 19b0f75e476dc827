"""`llamatune plan --measure`: a step on made-up rows, beside what the plan says of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.commands.measure import measure_step

SMALL = {"max_length": 96, "train": [{"path": "not-there.jsonl"}]}
BATCH = {"batch_size": 6}


@pytest.mark.parametrize(
    "stage", ["sft", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pretrain", "reward"))]
)
def test_a_step_has_rows_as_long_as_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The recipe's own rows need not be there, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    recipe = {"stage": stage, "output": "runs/x", "data": SMALL, "optimization": BATCH}
    Path("r.yaml").write_text(json.dumps(recipe))
    step = measure_step("r.yaml", ["optimization.batch_size=4"])
    assert step.rows == 4 and 90 <= step.length <= 96
    assert min(step.peak, step.planned_peak) > 0.5e9
    assert 0 < step.seconds < 60 and step.planned_seconds > 0
    assert not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pico/ppo", "--measure"], "sft, pretrain, reward"),
        (["pico/llama2_chat", "--measure"], "sft, pretrain, reward"),
        (["pico/sft", "--measure", "--device", "h100"], "that is here"),
    ],
)
def test_what_cannot_be_measured_says_so(arguments: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["plan", *arguments])
    assert done.exit_code == 2 and says in done.output
