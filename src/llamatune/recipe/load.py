"""`load`: from a YAML file and overrides to a frozen recipe, or to everything that is wrong with it at once.

    text -> no credentials -> strict YAML -> overrides -> no credentials' names -> the stage's schema
    -> paths and cards exist

A pipeline is loaded with all its steps. Nothing here imports torch, transformers or datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.graph.steps import Pipeline, pipeline_of
from llamatune.recipe.parsing import overrides as override
from llamatune.recipe.parsing.overrides import Overridden
from llamatune.recipe.parsing.secrets import refuse_secret_keys, refuse_secrets
from llamatune.recipe.parsing.yaml import MAX_PROBLEMS, parse, read_text, to_yaml
from llamatune.recipe.reading import card_problems, path_problems, recipe_of, sources
from llamatune.recipe.recipes import PIPELINE, Recipe
from llamatune.recipe.shipped import find_recipe
from llamatune.recipe.stages.common import StageRecipe
from llamatune.recipe.stages.pipeline import PipelineRecipe

_FIRST = ("stage", "output", "model", "chat", "data")
"""What a reader of a resolved recipe looks for."""


def load(
    path: str | Path, overrides: Sequence[str] = (), *, allow_outside: bool = False
) -> Recipe | Pipeline:
    """The recipe in a file, or the shipped one of that name, with overrides such as `optimization.epochs=3`.

    Relative paths in it start at the working directory and stay in it unless `allow_outside`. The files and
    data cards that it names must exist, and its output must not be a folder of other files. Of a pipeline, all this
    holds for every step, and what a step takes from another must be what that one leaves.

    Raises RecipeError with all problems found, at most 20.
    """
    recipe, problems = load_with_problems(path, overrides, allow_outside=allow_outside)
    if problems or recipe is None:
        raise RecipeError.of(problems[:MAX_PROBLEMS])
    return recipe


def load_stage(path: str | Path, overrides: Sequence[str] = (), *, allow_outside: bool = False) -> Recipe:
    """`load`, where only the recipe of one stage will do. Raises RecipeError, E065 for a pipeline."""
    recipe = load(path, overrides, allow_outside=allow_outside)
    if isinstance(recipe, Pipeline):
        raise RecipeError(
            "E065",
            f"`{path}` is a pipeline, and this needs the recipe of one stage",
            place="stage",
            hint=f"name the recipe of a step, such as `{recipe.steps[0].file}`",
        )
    return recipe


def load_with_problems(
    path: str | Path, overrides: Sequence[str] = (), *, allow_outside: bool = False
) -> tuple[Recipe | Pipeline | None, list[Problem]]:
    """The recipe as `load` reads it, and what is wrong with the paths and data cards that it names; None for a pipeline
    whose steps cannot be read, which the problems then say.

    Raises RecipeError where it is not a recipe at all.
    """
    file = find_recipe(path)
    source = _source(read_text(file), str(file), overrides)
    if source.document.data.get("stage") == PIPELINE:
        return pipeline_of(source, allow_outside)
    recipe = recipe_of(source.document.data, source.place)
    found = chain(
        path_problems(recipe, source.place, allow_outside), card_problems(recipe, source.place, file)
    )
    # Of ten thousand files that are missing, each is looked for among ten thousand names.
    return recipe, list(islice(found, MAX_PROBLEMS))


def loads(text: str, overrides: Sequence[str] = (), name: str = "recipe") -> Recipe:
    """The recipe of a stage in a text, checked by its schema only: paths and cards are not looked at.

    Raises RecipeError with all problems found, at most 20.
    """
    source = _source(text, name, overrides)
    return recipe_of(source.document.data, source.place)


def dump(recipe: StageRecipe | PipelineRecipe) -> str:
    """A recipe as YAML, every field written out, but of a data source what differs from its defaults; `loads` gives an
    equal recipe back, for that of a stage."""
    fields = recipe.model_dump()
    # With all of their fields, ten thousand sources would be too long for a recipe.
    for at, source in sources(recipe):
        holder: Any = fields
        for key in at[:-1]:
            holder = holder[key]
        holder[at[-1]] = source.model_dump(exclude_defaults=True)
    first = {name: fields.pop(name) for name in _FIRST if name in fields}
    return to_yaml(first | fields)


def _source(text: str, name: str, overrides: Sequence[str]) -> Overridden:
    refuse_secrets(text, name, overrides)
    source = override.apply(parse(text, name), overrides)
    refuse_secret_keys(source.document.data, source.place)
    return source
