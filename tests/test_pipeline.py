"""Pipelines through the real command: what runs, what runs again, what a kill leaves, and what is said of it all."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.errors import RecipeError
from llamatune.pipeline import chosen_steps, due_steps, run, run_steps
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load
from llamatune.runs.due import Doing
from llamatune.runs.lock import RunLock
from llamatune.runs.report.steps import version_lines
from llamatune.sampling.generate import GenerateSampler
from report_page import HOSTILE, Page
from support import talking_base

PIPELINE = """\
stage: pipeline
output: runs/all
set:
  model.base: ./base
steps:
  sft: {recipe: sft.yaml}
  helpful: {recipe: reward.yaml, set: {model.adapter: step:sft}}
rounds:
  count: 2
  first: step:sft
  steps:
    samples:
      recipe: samples.yaml
      set:
        model.adapter: step:previous
        reward: {helpfulness: step:helpful}
        keep.pool: [earlier:samples]
    tuned:
      recipe: sft.yaml
      set:
        data.train: [{run: step:samples}]
"""

RECIPES = {
    "sft": """\
stage: sft
output: runs/sft
model: {base: pico, lora: {rank: 2}}
data: {train: [{card: pico-sft-helpful, max_rows: 24}], max_length: 256, too_long: drop, max_dropped: 1}
optimization: {max_steps: 3, batch_size: 4, warmup: 0, learning_rate: 1e-3}
generation: {prompts: ['Who are you?'], max_new_tokens: 4}
checkpoint: {every_steps: 1}
""",
    "reward": """\
stage: reward
output: runs/reward
model: {base: pico, adapter: runs/sft}
data: {train: [{card: pico-preferences-helpful, max_rows: 16}], max_length: 256}
optimization: {max_steps: 2, batch_size: 4, warmup: 0, min_warmup_steps: 0}
""",
    "samples": """\
stage: rejection_sampling
output: runs/samples
model: {base: pico, adapter: runs/sft}
data: {train: [{card: pico-prompts-helpful, max_rows: 6}], max_length: 128}
sampling: {samples: 3, max_new_tokens: 12, batch_size: 6}
reward: {helpfulness: runs/reward}
""",
}

STEPS = ["sft", "helpful", "round-1/samples", "round-1/tuned", "round-2/samples", "round-2/tuned"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """`project("name")` is a working directory with the recipes and a base."""
    torch.set_num_threads(1)
    talking_base(tmp_path / "base", max_position_embeddings=256)

    def made(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        shutil.copytree(tmp_path / "base", folder / "base")
        for called, text in {**RECIPES, "all": PIPELINE}.items():
            (folder / f"{called}.yaml").write_text(text)
        return folder

    return made


def loaded(*overrides: str) -> Pipeline:
    found = load("all.yaml", overrides)
    assert isinstance(found, Pipeline)
    return found


def hashes(folder: Path) -> dict[str, dict[str, str]]:
    """What each step hands over, as its result says and as it is on the disk."""
    found = {}
    for name in STEPS:
        result = json.loads((folder / "runs/all" / name / "result.json").read_text())
        found[name] = {one: entry["sha256"] for one, entry in result["files"].items()}
        for file in sorted((folder / "runs/all" / name / "adapter").glob("*.safetensors")):
            found[name][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def ran(pipeline: Pipeline) -> list[str]:
    """The steps that a start ran."""
    return [name for name, result in run_steps(pipeline).items() if not result.earlier]


def test_from_the_first_start_to_the_third(project: Callable[[str], Path]) -> None:
    folder = project("first")
    assert [one.doing for one in due_steps(loaded()).values()] == [Doing.START] * 6
    assert ran(loaded()) == STEPS
    before = hashes(folder)
    pool = json.loads((folder / "runs/all/round-2/samples/evaluation.json").read_text())
    assert pool, "the second round has figures of its own"
    samples = (folder / "runs/all/round-2/samples/samples.jsonl").read_text()
    assert '"run": "runs/all/round-1/samples"' in samples, "samples of the first round compete again"

    # The second start has nothing to do.
    assert ran(loaded()) == [] and run(loaded()).earlier and hashes(folder) == before
    assert {one.doing for one in due_steps(loaded()).values()} == {Doing.REUSE}

    # What decides nothing runs nothing again.
    assert ran(loaded("set.logging.every_steps=7")) == []

    # A change in a step runs it again, and what depends on it.
    change = "steps.helpful.set.seed=1"
    foretold = due_steps(loaded(change))
    assert [name for name, one in foretold.items() if one.doing.runs] == STEPS[1:]
    assert foretold["helpful"].why == "seed: 0 -> 1" and foretold["round-1/samples"].doing is Doing.FOLLOW
    again = ran(loaded(change))
    assert again[:2] == STEPS[1:3] and "sft" not in again and hashes(folder)["sft"] == before["sft"]

    # Back to the first recipe: the same bytes as at first.
    ran(loaded())
    assert hashes(folder) == before


def test_what_comes_out_the_same_runs_nothing_again(project: Callable[[str], Path]) -> None:
    folder = project("same")
    ran(loaded("rounds.count=1"))
    more = ["rounds.count=1", "rounds.steps.samples.set.keep.same_reply=1000"]
    assert ran(loaded(*more)) == ["round-1/samples"], "the limit left nothing out: training on it is done"
    record = json.loads((folder / "runs/all/pipeline.json").read_text())
    last = record["starts"][-1]["steps"]
    assert last["round-1/samples"]["why"] == "keep.same_reply: nothing -> 1000"
    assert [name for name, one in last.items() if one["did"] == "done"] == ["sft", "helpful", "round-1/tuned"]


@pytest.mark.parametrize("at", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_kill_in_the_middle_ends_in_the_same_bytes(project: Callable[[str], Path], at: int) -> None:
    folder = project("killed")
    ran(loaded())
    wanted = hashes(folder)
    # An adapter's files name the base by its whole path.
    shutil.rmtree(folder / "runs")
    _killed(at)
    there = [name for name in STEPS if (folder / "runs/all" / name / "result.json").is_file()]
    assert 0 < len(there) < len(STEPS)
    assert ran(loaded()) == STEPS[len(there) :]
    assert hashes(folder) == wanted


def _killed(at: int) -> None:
    """Run the pipeline in a process that is killed (-9) when it is to sample for the `at`-th time for a step that makes
    rows."""
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        sample, calls = GenerateSampler.sample, []

        def dying(self, prompts, seeds, how, *arguments, **named):
            if how.temperature:
                calls.append(1)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return sample(self, prompts, seeds, how, *arguments, **named)

        GenerateSampler.sample = dying
        try:
            run(loaded())
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_some_steps_alone(project: Callable[[str], Path]) -> None:
    folder = project("some")
    with pytest.raises(RecipeError, match=r"E064.*`helpful` takes from `sft`, which has not finished"):
        run_steps(loaded(), chosen=chosen_steps(loaded(), None, ["helpful"]))
    done = run_steps(loaded(), chosen=chosen_steps(loaded(), None, ["sft"]))
    assert list(done) == ["sft"] and not (folder / "runs/all/helpful").exists()
    assert chosen_steps(loaded(), "round-1/tuned", ()) == {
        "round-1/tuned",
        "round-2/samples",
        "round-2/tuned",
    }
    assert chosen_steps(loaded(), None, ["samples"]) == {"round-1/samples", "round-2/samples"}
    with pytest.raises(RecipeError, match=r"E064.*no step `helpfull`") as caught:
        chosen_steps(loaded(), "helpfull", ())
    assert "did you mean `helpful`?" in str(caught.value)
    # Again, although it is done.
    again = run_steps(loaded(), chosen=["sft"], overwrite=True)
    assert not again["sft"].earlier


def test_a_run_of_somebody_else_is_not_replaced(project: Callable[[str], Path]) -> None:
    folder = project("owned")
    run_steps(loaded(), chosen=["sft"])
    run(
        load(
            "reward.yaml",
            ["output=runs/all/helpful", "model.base=./base", "model.adapter=runs/all/sft", "seed=9"],
        )
    )
    before = (folder / "runs/all/helpful/result.json").read_bytes()
    with pytest.raises(RecipeError, match=r"E031.*did not begin.*seed: 9 -> 0"):
        run_steps(loaded())
    assert (folder / "runs/all/helpful/result.json").read_bytes() == before
    with pytest.raises(RecipeError, match="E035"):
        lock = RunLock.take(folder / "runs/all")
        try:
            run_steps(loaded())
        finally:
            lock.release()


def test_the_command_and_the_report(project: Callable[[str], Path]) -> None:
    folder = project("command")
    shell = CliRunner()
    tree = shell.invoke(app, ["run", "all.yaml", "--dry-run"])
    assert (
        tree.exit_code == 0
        and "round-2/samples [rejection_sampling] <- round-1/tuned, helpful" in tree.output
    )
    assert not (folder / "runs").exists()
    short = ["rounds.count=1"]
    done = shell.invoke(app, ["run", "all.yaml", *short])
    assert done.exit_code == 0, done.output
    assert "step 1 of 4, sft: runs" in done.stderr and "4 steps ran, 0 of 4 had been done" in done.stderr
    assert done.stdout.splitlines()[-1] == "runs/all/round-1/tuned/adapter"
    again = shell.invoke(app, ["run", "all.yaml", *short])
    assert "0 steps ran, 4 of 4 had been done" in again.stderr
    assert shell.invoke(app, ["report", "runs/all"]).stdout.strip() == "runs/all/report.html"
    page = Page(folder / "runs/all")
    assert "finished" in page.text and "4 of 4" in page.text and "0 ran, 4 reused" in page.text
    result = json.loads((folder / "runs/all/helpful/result.json").read_text())
    assert result["files"]["adapter"]["sha256"] in page.source, "lineage has the whole hash"
    links = [one["href"] for tag, one in page.tags if tag == "a" and "href" in one]
    assert "round-1/samples/report.html" in links and "#round-1-samples" in links
    assert {one["id"] for tag, one in page.tags if tag == "tr" and "id" in one} >= {"sft", "round-1-tuned"}
    assert not [tag for tag, _ in page.tags if tag == "script"]


def test_validate_believes_nothing_of_a_run_that_would_be_made_again(project: Callable[[str], Path]) -> None:
    project("changed")
    run_steps(loaded(), chosen=frozenset(["sft"]))
    # What is there is an adapter; what would be made is a whole model.
    changed = [
        "steps.sft.set.model.lora=null",
        "steps.helpful.set={model.base: step:sft, model.adapter: null}",
        "rounds.steps.samples.set.model={base: step:previous, adapter: null}",
        "rounds.steps.tuned.set={data.train: [{run: step:samples}], model.lora: null}",
    ]
    checked = CliRunner().invoke(app, ["validate", "all.yaml", *changed])
    assert checked.exit_code == 0 and "valid, a pipeline of" in checked.output, checked.output


def test_shipped_pipelines_validate_and_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shell = CliRunner()
    checked = shell.invoke(app, ["validate", "pico/llama2_chat"])
    assert checked.exit_code == 0 and "recipe: valid, a pipeline of" in checked.output
    planned = json.loads(shell.invoke(app, ["plan", "pico/llama2_chat", "--json"]).stdout)
    sft = json.loads(shell.invoke(app, ["plan", "pico/sft", "--json"]).stdout)
    assert planned["steps"]["sft"]["memory"] == sft["memory"] and planned["peak"] >= sft["memory"]["peak"]
    # An adapter that has yet to be made has the shape of the recipe that makes it.
    reward = planned["steps"]["safe"]
    assert reward["trained"] >= sft["trained"] and not [
        one for one in reward["guesses"] if "is assumed" in one
    ]
    assert shell.invoke(app, ["run", "pico/sft", "--dry-run"]).exit_code == 2


def test_the_page_shows_what_it_is_given_and_runs_nothing_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    step = {"name": "evaluate", "stage": "evaluate", "recipe": HOSTILE, "needs": ["sft", HOSTILE, 3]}
    others = [
        {"name": name, "stage": HOSTILE, "needs": 7} for name in ("../../etc", "/etc", "a/b", HOSTILE, 5)
    ]
    record = {
        "steps": [step, *others, HOSTILE],
        "starts": [{"started": HOSTILE, "steps": {HOSTILE: {"why": HOSTILE}}}, 4],
    }
    (folder / "pipeline.yaml").write_text(HOSTILE.encode("utf-8", "replace").decode())
    (folder / "pipeline.json").write_text(json.dumps(record))
    run = folder / "evaluate"
    run.mkdir()
    (run / "resolved.yaml").write_text("stage: evaluate\n")
    figures = [
        {
            "set": "all sets",
            "model": HOSTILE,
            "figure": HOSTILE,
            "unit": "share",
            "value": 0.5,
            "low": 0.4,
            "high": HOSTILE,
        },
        {
            "set": "all sets",
            "model": "ppo",
            "figure": "quality",
            "unit": "number",
            "value": 0.75,
            "low": 0.5,
            "high": 1.0,
        },
    ]
    (run / "evaluation.json").write_text(json.dumps({"figures": figures, "prompts": 12}))
    (run / "result.json").write_text(
        json.dumps({"artefact": HOSTILE, "figures": {HOSTILE: 1e999}, "seconds": HOSTILE})
    )
    page = Page(folder)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")] and "alert(1)" in page.text
    assert not [value for tag, one in page.tags for name, value in one.items() if name.startswith("on")]
    links = [one["href"] for tag, one in page.tags if tag == "a"]
    assert all(link.startswith("#") or link.endswith("/report.html") for link in links) and "/etc" not in str(
        links
    )
    assert "0.75" in page.text and "0.5 to 1" in page.text and "50.0%" in page.text
    lines = list(version_lines(folder))
    assert any(line.split()[:1] == ["ppo"] and "0.75" in line for line in lines)
