"""Of random pipelines of real recipes, one field is changed: the steps that are due are those that depend on it.

Recipes are read by `loads` and run directories are real; what a stage would have trained or sampled is a few bytes that
follow from its recipe and facts.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from llamatune.models.base import BUILTIN
from llamatune.models.facts import facts_of
from llamatune.pipeline import due_steps
from llamatune.recipe.graph.steps import Pipeline, Step
from llamatune.recipe.load import load
from llamatune.recipe.paths import PIPELINE_MARKER
from llamatune.runs import opening
from llamatune.runs.due import Doing, depending
from llamatune.runs.handover import ALL_SAMPLES, CONVERSATIONS, Result
from llamatune.runs.opening import open_run

LORA = {"base": "pico", "lora": {"rank": 2, "alpha": 2}}
RECIPES: dict[str, dict[str, Any]] = {
    "sft": {"model": LORA, "data": {"train": [{"path": "rows.jsonl"}]}},
    "reward": {"model": LORA, "data": {"train": [{"path": "pairs.jsonl"}]}},
    "rejection_sampling": {
        "model": {"base": "pico"},
        "data": {"train": [{"path": "prompts.jsonl"}]},
        "reward": {"helpfulness": "runs/none"},
    },
}
ADAPTER = {
    "peft_type": "LORA",
    "r": 2,
    "target_modules": ["q_proj"],
    "base_model_name_or_path": str(BUILTIN / "pico"),
}
OF_TASK = {
    "sft": {"task_type": "CAUSAL_LM"},
    "reward": {"task_type": "SEQ_CLS", "modules_to_save": ["score"]},
}
FIELDS = {
    "seed": 7,
    "data.max_length": 99,
    "model.quantization": "nf4",
    "optimization.learning_rate": 0.0123,
    "sampling.temperature": 0.61,
}
"""Fields of which every one changes what a step makes, of those stages that have it."""
OF_STAGE = {"optimization": ("sft", "reward"), "sampling": ("rejection_sampling",)}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Steps that take adapters, judges, rows and pools from some of those before them."""
    steps: dict[str, dict[str, Any]] = {}
    made: dict[str, list[str]] = {stage: [] for stage in RECIPES}
    for number in range(draw(st.integers(2, 6))):
        possible = ["sft", "reward", *(["rejection_sampling"] if made["reward"] else [])]
        stage, name = draw(st.sampled_from(possible)), f"step-{number}"
        set_: dict[str, Any] = {}
        if made["sft"] and draw(st.booleans()):
            set_["model"] = {"base": "pico", "adapter": f"step:{draw(st.sampled_from(made['sft']))}"}
        if stage == "sft":
            taken = (
                draw(st.sets(st.sampled_from(made["rejection_sampling"])))
                if made["rejection_sampling"]
                else []
            )
            set_["data.train"] = [{"path": "rows.jsonl"}, *({"run": f"step:{one}"} for one in sorted(taken))]
        if stage == "rejection_sampling":
            set_["reward.helpfulness"] = f"step:{draw(st.sampled_from(made['reward']))}"
            pool = draw(st.sets(st.sampled_from(made[stage]))) if made[stage] else []
            set_["keep.pool"] = [f"step:{one}" for one in sorted(pool)]
        steps[name] = {"recipe": f"{stage}.yaml", "set": set_}
        made[stage].append(name)
    return steps


def loaded(steps: dict[str, dict[str, Any]], *overrides: str) -> Pipeline:
    Path("all.yaml").write_text(json.dumps({"stage": "pipeline", "output": "runs/all", "steps": steps}))
    found = load("all.yaml", overrides)
    assert isinstance(found, Pipeline)
    return found


def make(step: Step) -> None:
    """A finished run of a step, as its stage would leave it."""
    recipe, facts = step.recipe, facts_of(step.recipe, step.folder)
    said = json.dumps([recipe.model_dump(), facts], sort_keys=True, default=str)
    text = hashlib.sha256(said.encode()).hexdigest()
    with open_run(recipe, recipe_dir=step.folder, facts=lambda: facts) as run:
        run.made_from(facts)
        if recipe.stage == "rejection_sampling":
            for name in (CONVERSATIONS, ALL_SAMPLES):
                (run.directory / name).write_text(json.dumps({"prompt": text}) + "\n")
            run.finish(Result(recipe.stage, CONVERSATIONS, "pico", 1, 1.0), (ALL_SAMPLES,))
            return
        folder = run.directory / "adapter"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps(ADAPTER | OF_TASK[recipe.stage]))
        save_file(weights(text, recipe.stage), folder / "adapter_model.safetensors")
        run.finish(Result(recipe.stage, "adapter", "pico", 1, 1.0))


def weights(text: str, stage: str) -> dict[str, Any]:
    """An adapter's matrices, and a reward model's head, that follow from a text."""
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    width, number = 128, float(int(text[:6], 16))
    found = {f"{layer}.lora_A.weight": np.full((2, width), number, np.float32)}
    found[f"{layer}.lora_B.weight"] = np.full((width, 2), number, np.float32)
    head = {"base_model.model.score.weight": np.full((1, width), number, np.float32)}
    return found | (head if stage == "reward" else {})


def running(pipeline: Pipeline) -> set[str]:
    return {name for name, one in due_steps(pipeline).items() if one.doing.runs}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    # Most of the time would go into pages that nobody looks at.
    monkeypatch.setattr(opening, "_report", lambda *args: None)
    for name in ("rows", "pairs", "prompts"):
        Path(f"{name}.jsonl").write_text("{}\n")
    for stage, said in RECIPES.items():
        Path(f"{stage}.yaml").write_text(json.dumps({"stage": stage, "output": f"runs/{stage}", **said}))
    yield


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs(), st.data())
def test_one_field_changed_runs_what_depends_on_it(
    steps: dict[str, dict[str, Any]], data: st.DataObject
) -> None:
    shutil.rmtree("runs", ignore_errors=True)
    Path("runs/all").mkdir(parents=True)
    Path("runs/all", PIPELINE_MARKER).touch()
    pipeline = loaded(steps)
    assert {one.doing for one in due_steps(pipeline).values()} == {Doing.START}
    for step in pipeline.steps:
        make(step)
    assert running(loaded(steps)) == set()
    changed = data.draw(st.sampled_from(pipeline.steps))
    stage = changed.recipe.stage
    fields = [name for name in FIELDS if stage in OF_STAGE.get(name.partition(".")[0], (stage,))]
    field = data.draw(st.sampled_from(fields))
    again = loaded(steps, f"steps.{changed.name}.set.{field}={FIELDS[field]}")
    assert running(again) == depending(pipeline.needs, changed.name), (changed.name, field)
    # How often it reports is no part of what a step makes.
    assert running(loaded(steps, f"steps.{changed.name}.set.logging.every_steps=3")) == set()
    # Made anew, they are done, and so is the pipeline.
    for step in again.steps:
        if due_steps(again)[step.name].doing.runs:
            shutil.rmtree(step.recipe.output)
            make(step)
    assert running(again) == set() and running(pipeline) == depending(pipeline.needs, changed.name)
