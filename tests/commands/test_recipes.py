"""`llamatune recipes` lists what ships, and copies one that runs as it is."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.commands.recipes import copy_recipe, recipes_table, shipped_recipes
from llamatune.errors import RecipeError
from llamatune.recipe.load import load
from support import ROOT


def test_every_shipped_recipe_is_listed_with_a_word_about_it() -> None:
    listed = {recipe.name: recipe for recipe in shipped_recipes()}
    assert set(listed) == {
        file.relative_to(ROOT / "recipes").with_suffix("").as_posix()
        for file in (ROOT / "recipes").rglob("*.yaml")
    }
    assert all(recipe.about for recipe in listed.values())
    assert (listed["pico/sft"].stage, listed["pico/sft"].base, listed["pico/sft"].trains) == (
        "sft",
        "pico",
        "lora",
    )
    assert listed["pico/sft_qlora"].trains == "qlora" and listed["pico/sft_full"].trains == "full"


def test_the_list_is_for_programs_too() -> None:
    done = CliRunner().invoke(app, ["recipes", "--json"])
    listed = {one["name"]: one for one in json.loads(done.stdout)}
    assert {"name", "stage", "base", "trains", "memory", "device", "about"} == set(listed["pico/sft"])
    assert listed["pico/sft"]["device"] == "cpu" and listed["llama2_chat/sft"]["device"] == "h100"
    assert listed["pico/sft"]["memory"] < 2e9 < 100e9 < listed["llama2_chat/sft"]["memory"]


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
def test_the_table_wraps_at_words(width: int) -> None:
    recipes = shipped_recipes()
    table = recipes_table(recipes, width)
    assert all(len(line) <= width for line in table.splitlines())
    assert set(table.split()) == set(recipes_table(recipes).split())
    assert len(recipes_table(recipes).splitlines()) == len(recipes) + 1
