"""`load`: from a YAML file and overrides to a frozen recipe, or to everything that is wrong with it at once.

    text -> no credentials -> strict YAML -> overrides -> the stage's schema -> paths and cards exist

Nothing here imports torch, transformers or datasets.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from llamatune.errors import DataError, Problem, RecipeError
from llamatune.recipe.blocks import Source
from llamatune.recipe.cards import find_card
from llamatune.recipe.parsing import overrides as override
from llamatune.recipe.parsing.problems import Place, did_you_mean, problems_of
from llamatune.recipe.parsing.secrets import refuse_secret_keys, refuse_secrets
from llamatune.recipe.parsing.yaml import MAX_PROBLEMS, KeyPath, parse, read_text, to_yaml
from llamatune.recipe.paths import (
    check_output,
    inside_output_problem,
    is_local,
    missing_problem,
    output_problem,
    outside_problem,
)
from llamatune.recipe.recipes import STAGES, Recipe
from llamatune.recipe.shipped import find_recipe, run_problem
from llamatune.recipe.stages.common import StageRecipe

_FIRST = ("stage", "output", "model", "chat", "data")
"""What a reader of a resolved recipe looks for."""

__all__ = [
    "check_output",
    "dump",
    "load_with_problems",
    "load",
    "loads",
    "models",
    "earlier_rounds",
    "sources",
]


def load(path: str | Path, overrides: Sequence[str] = (), *, allow_outside: bool = False) -> Recipe:
    """The recipe in a file, or the shipped one of that name, with overrides such as `optimization.epochs=3`.

    Relative paths in it start at the working directory and stay in it unless `allow_outside`. The files and
    data cards that it names must exist, and its output must not be a folder of other files.

    Raises RecipeError with all problems found, at most 20.
    """
    recipe, problems = load_with_problems(path, overrides, allow_outside=allow_outside)
    if problems:
        raise RecipeError.of(problems[:MAX_PROBLEMS])
    return recipe


def load_with_problems(
    path: str | Path, overrides: Sequence[str] = (), *, allow_outside: bool = False
) -> tuple[Recipe, list[Problem]]:
    """The recipe as `load` reads it, and what is wrong with the paths and data cards that it names.

    Raises RecipeError where it is not a recipe at all.
    """
    file = find_recipe(path)
    recipe, place = _read(read_text(file), str(file), overrides)
    problems = list(_path_problems(recipe, place, allow_outside))
    return recipe, problems + list(_card_problems(recipe, place, file))


def loads(text: str, overrides: Sequence[str] = (), name: str = "recipe") -> Recipe:
    """The recipe in a text, checked by its schema only: paths and cards are not looked at.

    Raises RecipeError with all problems found, at most 20.
    """
    return _read(text, name, overrides)[0]


def dump(recipe: StageRecipe) -> str:
    """A recipe as YAML, every field written out; `loads` gives an equal recipe back."""
    fields = recipe.model_dump()
    first = {name: fields.pop(name) for name in _FIRST if name in fields}
    return to_yaml(first | fields)


def _read(text: str, name: str, overrides: Sequence[str]) -> tuple[Recipe, Place]:
    refuse_secrets(text, name, overrides)
    document = parse(text, name)
    refuse_secret_keys(document)
    source = override.apply(document, overrides)
    data = source.document.data
    schema = STAGES[_stage(data, source.place)].recipe
    others = {name: stage.recipe for name, stage in STAGES.items() if stage.recipe is not schema}
    try:
        return cast(Recipe, schema.model_validate(data)), source.place
    except ValidationError as error:
        raise RecipeError.of(problems_of(error, schema, data, source.place, others)) from None


def _stage(data: Mapping[str, Any], place: Place) -> str:
    known = f"one of {', '.join(STAGES)}"
    if "stage" not in data:
        raise RecipeError(
            "E020",
            f"`stage` is missing: a recipe is one mapping with `stage:`, {known}",
            place=place((), False),
            hint=did_you_mean("stage", [key for key in data if isinstance(key, str)]),
        )
    stage = data["stage"]
    if isinstance(stage, str) and stage in STAGES:
        return stage
    shown = f"`{stage[:40]}`" if isinstance(stage, str) else "this value"
    hint = did_you_mean(stage, STAGES) if isinstance(stage, str) else None
    raise RecipeError("E020", f"{shown} is not a stage: {known}", place=place(("stage",), False), hint=hint)


def sources(recipe: StageRecipe) -> Iterator[tuple[KeyPath, Source]]:
    """Every data source of a recipe with its key path, whichever block it is in."""
    return _sources(recipe, ())


def _sources(value: Any, at: KeyPath) -> Iterator[tuple[KeyPath, Source]]:
    if isinstance(value, Source):
        yield at, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _sources(item, (*at, index))
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _sources(getattr(value, name), (*at, name))


def _path_problems(recipe: Recipe, place: Place, allow_outside: bool) -> Iterator[Problem]:
    bad_output = output_problem(recipe.output, place(("output",), False))
    if bad_output is not None:
        yield bad_output
    named: list[tuple[KeyPath, str, Callable[[str, str | None], Problem | None] | None]] = []
    for at, source in sources(recipe):
        if source.path is not None:
            named.append(((*at, "path"), source.path, missing_problem))
        if source.run is not None:
            named.append(((*at, "run"), source.run, run_problem))
    named += [(at, run, run_problem) for at, run in earlier_rounds(recipe)]
    named += [(at, name, None) for at, name in models(recipe) if is_local(name)]
    for at, path, missing in named:
        problem = None if allow_outside else outside_problem(path, place(at, False))
        if bad_output is None:
            problem = problem or inside_output_problem(path, recipe.output, place(at, False))
        if problem is None and missing is not None:
            problem = missing(path, place(at, False))
        if problem:
            yield problem


def earlier_rounds(recipe: StageRecipe) -> Iterator[tuple[KeyPath, str]]:
    """Every run whose samples a recipe takes, with its key path."""
    pool = getattr(getattr(recipe, "keep", None), "pool", ())
    yield from ((("keep", "pool", number), name) for number, name in enumerate(pool))


def models(recipe: StageRecipe) -> Iterator[tuple[KeyPath, str]]:
    """Every model that a recipe names, with its key path."""
    blocks = {
        "model": ("base", "adapter"),
        "other": ("base", "adapter"),
        "reward": ("helpfulness", "safety"),
    }
    for block, keys in blocks.items():
        named = ((key, getattr(getattr(recipe, block, None), key, None)) for key in keys)
        yield from (((block, key), name) for key, name in named if name is not None)
    if other := getattr(recipe, "compare_with", None):
        yield ("compare_with",), other


def _card_problems(recipe: Recipe, place: Place, file: Path) -> Iterator[Problem]:
    for at, source in sources(recipe):
        if source.card is None:
            continue
        try:
            card = find_card(source.card, file)
        except DataError as error:
            where = place((*at, "card"), False)
            yield from (replace(problem, place=problem.place or where) for problem in error.problems)
            continue
        if source.split not in card.splits:
            near = difflib.get_close_matches(source.split, card.splits, n=1) or list(card.splits)
            what = f"card `{card.name}` has no split `{source.split}`"
            hint = f"its splits: {', '.join(card.splits)}" if len(near) > 1 else f"did you mean `{near[0]}`?"
            yield Problem("E155", what, place((*at, "split"), False), hint=hint)
