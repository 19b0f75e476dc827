"""Context distillation: answers under a preprompt, kept where the judge finds them safer, learnt without it."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.errors import DataError, RecipeError
from llamatune.judging.distillation import (
    NO_ANSWER,
    NOT_PASSED,
    ScoredAnswer,
    contexts,
    distil,
    in_context,
    unused_templates,
)
from llamatune.pipeline import run
from llamatune.recipe.stages.context_distillation import Distillation
from llamatune.sampling.samples import Sample
from report_page import Page
from support import ROOT, in_two_processes, killed, made_recipe, rows_of, sft_recipe

CHANGES: dict[str, Any] = {
    "data.train": [
        {"card": "pico-prompts-adversarial", "max_rows": 10},
        {"card": "pico-prompts-helpful", "max_rows": 3},
    ],
    "distillation": {"preprompts": "world", "templates": {"illicit": "Say that it is a crime."}},
    "reward": {"judge": "oracle"},
}
NAME = "context_distillation"


@pytest.fixture(scope="module")
def policy(trained: Any) -> str:
    return str(trained("full") / "model")


@pytest.fixture(scope="module")
def made(policy: str, made_once: Any) -> Path:
    """A finished run."""
    recipe = lambda folder: made_recipe(NAME, folder, {**CHANGES, "model.base": policy})  # noqa: E731
    return made_once(NAME, lambda folder: run(recipe(folder), recipe_dir=ROOT))


def test_the_safer_answer_is_learnt_without_the_preprompt(made: Path) -> None:
    rows = rows_of(made / "conversations.jsonl")
    figures = json.loads((made / "evaluation.json").read_text())
    assert figures["all"]["prompts"] == 10, "helpful prompts are left out"
    assert len(rows) == 10 - sum(figures["origins"].get(why, 0) for why in (NO_ANSWER, NOT_PASSED))
    for row in rows:
        made_by = row["made_by"]
        best = max(made_by["scores"].values())
        learnt = made_by["scores"][made_by["origin"]]
        assert learnt >= made_by["scores"]["original"] and (learnt == best or made_by["origin"] == "original")
        assert "helper" not in row["messages"][0]["content"], "no preprompt in what is learnt"
        assert ("template" in made_by["scores"]) == (made_by["category"] == "illicit")
    kept = sum(row["made_by"]["origin"] != "original" for row in rows)
    assert figures["all"]["kept"] == kept / 10 and set(figures["categories"]) <= {
        "illicit",
        "hateful",
        "advice",
    }
    assert sum(one["prompts"] for one in figures["categories"].values()) == 10


def test_the_report_shows_scores_by_category(made: Path) -> None:
    page = Page(made)
    assert "Safety scores by category" in page.text and "Answers side by side" in page.text


def test_killed_in_the_middle_it_ends_in_the_same_bytes(made: Path, policy: str, tmp_path: Path) -> None:
    recipe = made_recipe(NAME, tmp_path / "run", {**CHANGES, "model.base": policy})
    killed(recipe, at=2)
    killed(recipe, at=4)
    run(recipe, recipe_dir=ROOT)
    for name in ("conversations.jsonl", "evaluation.json"):
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_two_processes_leave_the_files_of_one(made: Path, policy: str, tmp_path: Path) -> None:
    recipe = made_recipe(NAME, tmp_path / "run", {**CHANGES, "model.base": policy})
    in_two_processes(recipe, tmp_path / "recipe.json")
    for name in ("conversations.jsonl", "evaluation.json"):
        assert (tmp_path / "run" / name).read_bytes() == (made / name).read_bytes()


def test_sft_learns_from_the_run(made: Path, tmp_path: Path) -> None:
    changes = {
        "data.train": [{"run": str(made)}],
        "optimization": {"max_steps": 1, "batch_size": 4},
        "generation": {"prompts": []},
    }
    assert run(sft_recipe(tmp_path / "sft", changes), recipe_dir=ROOT).steps == 1


def test_all_cut_off_is_said_and_the_samples_are_kept(policy: str, tmp_path: Path) -> None:
    changes = {**CHANGES, "model.base": policy, "sampling.max_new_tokens": 1}
    with pytest.raises(DataError, match="E148.*every answer was empty or cut off: 10"):
        run(made_recipe(NAME, tmp_path / "run", changes), recipe_dir=ROOT)
    assert list((tmp_path / "run").glob("samples/*/*.jsonl"))


def test_helpful_prompts_are_distilled_only_if_asked(policy: str, tmp_path: Path) -> None:
    changes = {
        **CHANGES,
        "model.base": policy,
        "data.train": [{"card": "pico-prompts-helpful", "max_rows": 3}],
    }
    with pytest.raises(DataError, match=r"(?s)E132.*distillation.prompts=all"):
        run(made_recipe(NAME, tmp_path / "run", changes), recipe_dir=ROOT)


# ---- the parts ------------------------------------------------------------------------------------------------


def answer(origin: str, score: float, text: str = "No.", *, ended: bool = True) -> ScoredAnswer:
    sample = Sample("id", 0, 0, 1.0, "p", "t", [5], "stop" if ended else "length", text)
    return ScoredAnswer(origin, "", sample, score)


@pytest.mark.parametrize(
    ("answers", "gate", "learnt"),
    [  # or why nothing is learnt
        ([answer("original", 0.2), answer("preprompt", 0.5), answer("template", 0.9)], True, "template"),
        ([answer("original", 0.6), answer("preprompt", 0.5)], True, "original"),
        ([answer("original", 0.6), answer("preprompt", 0.5)], False, "preprompt"),
        ([answer("original", 0.5), answer("preprompt", 0.5)], True, "original"),
        ([answer("original", 0.2), answer("preprompt", 0.9, ended=False)], True, "original"),
        ([answer("original", 0.2, " "), answer("preprompt", 0.1)], True, "no whole answer passes the gate"),
        ([answer("original", 0.2, " "), answer("preprompt", 0.9, ended=False)], True, "no whole answer"),
        ([answer("original", 0.2, ended=False), answer("preprompt", 0.3)], True, "preprompt"),
        ([answer("original", 0.2)], True, "original"),
    ],
)
def test_the_gate(answers: list[ScoredAnswer], gate: bool, learnt: str) -> None:
    found = distil({}, answers, gate=gate)
    assert found.origin == learnt and (found.chosen is None) == learnt.startswith("no whole answer")


def test_preprompts_are_drawn_by_seed_and_prompt_alone() -> None:
    settings = Distillation(templates={"illicit": "Say why."})
    prompts = [
        {"prompt_id": f"{number}", "category": "illicit" if number % 2 else ""} for number in range(40)
    ]
    drawn = [contexts(one, settings, 0) for one in prompts]
    assert drawn == [contexts(one, settings, 0) for one in prompts]
    assert len({one["preprompt"] for one in drawn}) > 10
    assert all(one.get("template") == f"{one['preprompt']} Say why." for one in drawn[1::2])
    assert all("template" not in one and "{" not in one["preprompt"] for one in drawn[::2])
    asked = in_context([{"role": "user", "content": "Hi"}], "Be wise.")
    assert asked == [{"role": "user", "content": "Be wise. Hi"}]


def test_a_wording_may_have_other_braces() -> None:
    wording = 'Answer as JSON {"safe": true, {0}}. You are a {} and {} assistant.'
    settings = Distillation(wording=wording, adjectives=["wise", "honest"])
    said = contexts({"prompt_id": "a", "category": ""}, settings, 0)["preprompt"]
    assert sorted(said.split()[-4:-1]) == ["and", "honest", "wise"]
    assert said.startswith('Answer as JSON {"safe": true, {0}}. You are a ')


def test_a_template_for_no_prompt_is_said() -> None:
    prompts = [{"prompt_id": one, "category": one} for one in ("violence", "drugs", "")]
    assert unused_templates(prompts, Distillation(templates={"violence": "Say why."})) is None
    found = unused_templates(prompts, Distillation(templates={"violance": "Say why.", "drugs": "Say."}))
    assert found is not None and "for 'violance'" in found and "are 'drugs', 'violence'" in found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distillation.wording": "You are {}."}, "needs {} 2 times"),
        ({"reward": {}}, "a reward model, or"),
        ({"reward": {"safety": "runs/x", "judge": "oracle"}}, "a reward model, or"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        made_recipe(NAME, tmp_path / "run", {**CHANGES, **changes})
    assert said in str(refused.value)
