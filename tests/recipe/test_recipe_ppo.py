"""`stage: ppo`: the paper's defaults, ranges, and what does not go together."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.load import dump, load, loads
from llamatune.recipe.reading import sources
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.runs.manifest import flatten, must_match

BOTH = {"helpfulness": "runs/helpful", "safety": "runs/safe"}


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("rows.jsonl").write_text(json.dumps({"prompt": "Hi"}))


def written(**blocks: Any) -> str:
    data = {"train": [{"path": "rows.jsonl"}], **blocks.pop("data", {})}
    return json.dumps({"stage": "ppo", "output": "runs/x", "data": data, "reward": BOTH, **blocks})


def recipe(*overrides: str, **blocks: Any) -> PpoRecipe:
    found = loads(written(**blocks), overrides)
    assert isinstance(found, PpoRecipe)
    return found


def only(*overrides: str, **blocks: Any) -> Problem:
    with pytest.raises(RecipeError) as caught:
        loads(written(**blocks), overrides)
    [problem] = caught.value.problems
    return problem


def test_defaults_are_the_papers() -> None:
    """Section 3.2.3: batch 512, mini-batch 64, one step for each, clip 0.2, constant 1e-6, AdamW (0.9, 0.95, 1e-5),
    decay 0.1, clip 1.0, beta by size, threshold 0.15, logit, whitening, 200 to 400 iterations."""
    found = recipe()
    settings = found.optimization
    assert (settings.batch_size, settings.learning_rate, settings.schedule) == (512, 1e-6, "constant")
    assert (settings.warmup, settings.weight_decay, settings.max_grad_norm) == (0, 0.1, 1.0)
    assert (settings.beta1, settings.beta2, settings.eps) == (0.9, 0.95, 1e-5)
    assert 200 <= settings.iterations <= 400
    assert (found.ppo.epochs, found.ppo.mini_batch_size, found.ppo.clip_range) == (1, 64, 0.2)
    assert found.ppo.kl_coef is None and found.steps_per_iteration == 8
    reward = found.reward
    assert (reward.safety_threshold, reward.transform, reward.whiten) == (0.15, "logit", "batch")
    assert found.rollout.temperature == 1 and found.rollout.truncation == "terminal"


def test_steps_of_an_iteration() -> None:
    assert (
        recipe("optimization.batch_size=32", "ppo.mini_batch_size=8", "ppo.epochs=3").steps_per_iteration
        == 12
    )


def test_a_dumped_recipe_loads_equal() -> None:
    found = recipe(
        "ppo.kl_controller=adaptive", "ppo.kl_target=6", "guards.kl.action=warn", "data.train.0.safety=true"
    )
    assert loads(dump(found)) == found


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("rollout.temperature=0", "E023"),
        ("rollout.max_new_tokens=0", "E023"),
        ("rollout.backend=hf", "E023"),
        ("rollout.top_p=0.9", "E021"),
        ("reward.safety_threshold=1", "E023"),
        ("reward.weights=[1]", "E023"),
        ("ppo.clip_range=0", "E023"),
        ("ppo.lam=1.1", "E023"),
        ("ppo.kl_coef=-1", "E023"),
        ("ppo.kl_estimator=k4", "E023"),
        ("guards.kl.limit=0", "E023"),
        ("guards.kl.action=die", "E023"),
        ("guards.zero_gradients.limit=0", "E021"),
        ("optimization.epochs=2", "E021"),
        ("optimization.max_steps=20", "E021"),
        ("guards.loss_spike.patience=2", "E021"),
        ("data.too_long=truncate", "E023"),
        ("data.train.0.safety=1", "E022"),
        ("data.ptx=[{path: rows.jsonl, safety: true}]", "E021"),
    ],
)
def test_ranges_and_keys(override: str, code: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe(override)
    assert code in {problem.code for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["reward.helpfulness=null", "reward.safety=null"], "give a reward model"),
        (["reward.safety=null", "reward.combination=llama2"], "give both"),
        (["reward.weights=[1, 2]"], "`weights` belong"),
        (
            ["reward.safety=null", "reward.combination=weighted_sum", "reward.weights=[1, 2]"],
            "`weights` belong",
        ),
        (["reward.safety=null", "reward.safety_threshold=0.2"], "`safety_threshold` belongs"),
        (["reward.combination=weighted_sum", "reward.safety_threshold=0.2"], "`safety_threshold` belongs"),
        (["ppo.kl_controller=adaptive"], "needs a `kl_target`"),
        (["ppo.kl_target=6"], "belongs to `kl_controller: adaptive`"),
        (["ppo.kl_controller=adaptive", "ppo.kl_target=6", "ppo.kl_coef=0"], "0 stays 0"),
        (["ppo.mini_batch_size=1024"], "is larger than"),
        (["ppo.mini_batch_size=60"], "does not divide"),
        (["ppo.ptx_coef=0.9"], "needs rows"),
        (["data.ptx=[{path: rows.jsonl}]"], "set `ppo.ptx_coef`"),
        (["chat.loss_on=all"], "`chat.loss_on`"),
        (["model.init=random"], "cannot answer"),
        (["ppo.roles=adapters"], "add `model.lora` or `model.adapter`"),
        (["hardware.loss=fused"], "`hardware.loss`"),
        (["hardware.activation_offloading=true"], "`hardware.activation_offloading`"),
    ],
)
def test_what_does_not_go_together(overrides: list[str], said: str) -> None:
    problem = only(*overrides)
    assert problem.code == "E025" and said in str(problem)


def test_what_goes_together() -> None:
    recipe("reward.combination=weighted_sum", "reward.weights=[1, 2]")
    recipe("reward.helpfulness=null")
    recipe("ppo.roles=adapters", "model.lora={rank: 8}")
    recipe("ppo.ptx_coef=0.9", "data.ptx=[{path: rows.jsonl}]", "chat.loss_on=all")


def test_a_reward_is_needed() -> None:
    text = json.loads(written())
    del text["reward"]
    with pytest.raises(RecipeError, match=r"E024.*`reward` is missing"):
        loads(json.dumps(text))


def test_files_and_models_are_looked_at() -> None:
    """Rows of the mix exist, and reward models stay in the working directory like every model."""
    blocks: dict[str, Any] = {
        "data": {"ptx": [{"path": "row.jsonl"}]},
        "ppo": {"ptx_coef": 1},
        "reward": {"helpfulness": "../rm", "safety": "org/name"},
    }
    Path("r.yaml").write_text(written(**blocks))
    with pytest.raises(RecipeError) as caught:
        load("r.yaml")
    assert [problem.code for problem in caught.value.problems] == ["E033", "E032"]
    assert [at for at, _ in sources(recipe(**blocks))] == [("data", "train", 0), ("data", "ptx", 0)]


def test_guards_may_change_on_a_resume() -> None:
    facts = must_match(flatten(recipe().model_dump()))
    assert not [key for key in facts if key.startswith("guards")]
    assert "ppo.clip_range" in facts and "rollout.temperature" in facts
