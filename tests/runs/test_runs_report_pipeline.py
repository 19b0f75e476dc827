"""The page of a pipeline, from files as its steps leave them."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.runs.report.page import write_report
from llamatune.runs.report.steps import version_lines

MODELS = ["sft", *(f"round-{number}/tuned" for number in range(1, 12))]
FIGURES = [*(f"figure {letter}" for letter in "abcdefg"), "correct", "unsafe", "false refusals"]


def step(folder: Path, name: str, stage: str, evaluation: dict[str, Any], **figures: float) -> dict[str, Any]:
    """A finished step; returns what pipeline.json says of it."""
    run = folder / name
    run.mkdir(parents=True)
    (run / "resolved.yaml").write_text(f"stage: {stage}\n")
    result = {"stage": stage, "artefact": "adapter", "steps": 2, "seconds": 1.0, "figures": figures}
    (run / "result.json").write_text(json.dumps(result))
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    return {"name": name, "stage": stage, "recipe": f"pico/{stage}", "needs": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two reward models of rounds, and an evaluation of twelve versions by ten figures."""
    estimate = {"value": 0.6, "low": 0.5, "high": 0.7, "of": 40}
    figures = [
        {"set": "all sets", "model": model, "figure": figure, "unit": "share", "better": "higher", **estimate}
        for model in MODELS
        for figure in FIGURES
    ]
    won = [
        {"judge": judge, "set": "all sets", "model": model, "share": estimate}
        for judge in ("helpfulness", "safety")
        for model in MODELS[1:]
    ]
    said = {model: {"text": f"{model} says <b>no</b>", "ended": True, "scores": {}} for model in MODELS}
    evaluation = {
        "models": MODELS,
        "baseline": "sft",
        "figures": figures,
        "win_rates": won,
        "examples": [{"prompt": f"Question {number}?", "replies": said} for number in range(20)],
    }
    judged = [
        {"accuracy/old pairs": 0.7, "accuracy/new pairs": new, **{f"figure_{n}": float(n) for n in range(8)}}
        for new in (0.55, 0.8)
    ]
    steps = [
        step(tmp_path, "round-1/helpful", "reward", {}, **judged[0]),
        step(tmp_path, "round-2/helpful", "reward", {}, **judged[1]),
        step(tmp_path, "evaluate", "evaluate", evaluation),
    ]
    (tmp_path / "pipeline.json").write_text(json.dumps({"steps": steps, "starts": []}))
    (tmp_path / "pipeline.yaml").write_text("stage: pipeline\n")
    return tmp_path


def test_versions_are_drawn_and_answer_the_same_prompts(folder: Path) -> None:
    page = write_report(folder).read_text()
    for title in ("Win rate by helpfulness", "Win rate by safety", "unsafe (higher is better)"):
        assert f"<figcaption><b>{title}</b>" in page, title
    assert page.count("<svg") == 2 + 3
    assert page.count("Question 5?") == 1 and "Question 6?" not in page
    assert page.count("round-3/tuned says &lt;b&gt;no&lt;/b&gt;") == 6
    assert "and 2 more models in evaluation.json" in page


def test_reward_models_stand_side_by_side_on_old_and_new_pairs(folder: Path) -> None:
    page = write_report(folder).read_text()
    table = page.partition("<h3>reward</h3>")[2].partition("</table>")[0]
    assert ">accuracy/old pairs</th>" in table and ">accuracy/new pairs</th>" in table
    assert table.count("70.0%") == 2 and "55.0%" in table and "80.0%" in table


def test_a_table_that_is_cut_says_what_is_left_out(folder: Path) -> None:
    page, said = write_report(folder).read_text(), "Left out here, and in the step's own report: "
    assert f"{said}unsafe, false refusals." in page.replace("&#39;", "'")
    assert "and 2 more in its report" in page
    assert f"  {said}unsafe, false refusals." in list(version_lines(folder))
