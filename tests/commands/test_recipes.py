"""`llamatune recipes` lists what ships, and copies one that runs as it is."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.commands.recipes import Listed, copy_recipe, listed_recipes, recipes_table
from llamatune.errors import RecipeError
from llamatune.plan.planned import PipelinePlan, plan_all
from llamatune.recipe.load import load
from support import ROOT


@pytest.fixture(scope="module")
def recipes() -> list[Listed]:
    return listed_recipes()


def test_every_shipped_recipe_is_listed_with_a_word_about_it(recipes: list[Listed]) -> None:
    listed = {recipe.name: recipe for recipe in recipes}
    assert set(listed) == {
        file.relative_to(ROOT / "recipes").with_suffix("").as_posix()
        for file in (ROOT / "recipes").rglob("*.yaml")
    }
    assert all(recipe.about for recipe in listed.values())
    assert not [one for one in listed.values() if one.about.count("(") != one.about.count(")")]
    assert (listed["pico/sft"].stage, listed["pico/sft"].base, listed["pico/sft"].trains) == (
        "sft",
        "pico",
        "lora",
    )
    assert listed["pico/sft_qlora"].trains == "qlora" and listed["pico/sft_full"].trains == "full"


def test_the_list_is_for_programs_too() -> None:
    done = CliRunner().invoke(app, ["recipes", "--json"])
    listed = {one["name"]: one for one in json.loads(done.stdout)}
    assert {"name", "stage", "base", "trains", "memory", "device", "seconds", "of", "about"} == set(
        listed["pico/sft"]
    )
    assert listed["pico/sft"]["device"] == "cpu" and listed["llama2_chat/sft"]["device"] == "h100"
    assert listed["pico/sft"]["memory"] < 2e9 < 100e9 < listed["llama2_chat/sft"]["memory"]
    assert listed["pico/sft"]["of"] == "the run" and listed["llama2_chat/sft"]["of"] == "1,000 rows"


def test_of_a_pipeline_come_the_largest_step_and_the_time_of_all(recipes: list[Listed]) -> None:
    listed = {recipe.name: recipe for recipe in recipes}
    whole, steps = listed["pico/safety_share"], plan_all("pico/safety_share", device="cpu")
    assert isinstance(steps, PipelinePlan)
    assert whole.seconds == pytest.approx(sum(step.work.seconds for step in steps.steps.values()), abs=0.1)
    assert whole.memory == max(round(step.need.peak.bytes) for step in steps.steps.values())
    # Of some steps the rows are not known.
    assert (whole.of, listed["llama2_chat/pipeline"].of) == ("the run", "1,000 rows a step")
    assert listed["llama2_chat/pipeline"].base == "meta-llama/Llama-2-7b-hf", "no run of its own steps"


def test_a_copy_is_the_same_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy_recipe("pico/sft", Path("mine.yaml"))
    assert load("mine.yaml") == load("pico/sft")
    assert Path("recipe.schema.json").is_file(), "editors check the copy, too"
    with pytest.raises(RecipeError, match="never overwritten"):
        copy_recipe("pico/sft", Path("mine.yaml"))


def test_a_copy_needs_a_name() -> None:
    assert "name the recipe" in CliRunner().invoke(app, ["recipes", "--copy", "x.yaml"]).output


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_table_wraps_at_words(recipes: list[Listed], width: int) -> None:
    table = recipes_table(recipes, width)
    assert all(len(line) <= width for line in table.splitlines())
    assert set(table.split()) == set(recipes_table(recipes).split())
    assert len(recipes_table(recipes).splitlines()) == len(recipes) + 1
