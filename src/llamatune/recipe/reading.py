"""From a recipe's data to a frozen recipe of its stage, what it names, and what is wrong with that.

Nothing here imports torch, transformers or datasets.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from llamatune.errors import DataError, Problem, RecipeError
from llamatune.recipe.blocks import NamesFile, Source
from llamatune.recipe.cards import find_card
from llamatune.recipe.parsing.problems import Place, did_you_mean, problems_of
from llamatune.recipe.parsing.yaml import KeyPath
from llamatune.recipe.paths import (
    inside_output_problem,
    is_local,
    missing_problem,
    output_problem,
    outside_problem,
)
from llamatune.recipe.recipes import PIPELINE, STAGES, Recipe
from llamatune.recipe.shipped import run_problem
from llamatune.recipe.stages.common import StageRecipe


def recipe_of(data: Mapping[str, Any], place: Place) -> Recipe:
    """The frozen recipe of a stage. Raises RecipeError with all that its schema does not allow."""
    schema = STAGES[stage_of(data, place)].recipe
    others = {name: stage.recipe for name, stage in STAGES.items() if stage.recipe is not schema}
    try:
        return cast(Recipe, schema.model_validate(data))
    except ValidationError as error:
        raise RecipeError.of(problems_of(error, schema, data, place, others)) from None


def stage_of(data: Mapping[str, Any], place: Place) -> str:
    """The stage that a recipe names. Raises RecipeError (E020) where it is none."""
    known = f"one of {', '.join((*STAGES, PIPELINE))}"
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
    hint = did_you_mean(stage, (*STAGES, PIPELINE)) if isinstance(stage, str) else None
    raise RecipeError("E020", f"{shown} is not a stage: {known}", place=place(("stage",), False), hint=hint)


def path_problems(
    recipe: Recipe, place: Place, allow_outside: bool, coming: Collection[str] = ()
) -> Iterator[Problem]:
    """What is wrong with the output, and with the files and runs that a recipe names.

    Args:
        coming: runs that will be made before this one.
    """
    bad_output = output_problem(recipe.output, place(("output",), False))
    if bad_output is not None:
        yield bad_output
    named: list[tuple[KeyPath, str, Callable[[str, str | None], Problem | None] | None]] = []
    for at, source in sources(recipe):
        if source.path is not None:
            named.append(((*at, "path"), source.path, missing_problem))
        if source.run is not None:
            named.append(((*at, "run"), source.run, run_problem))
    named += [(at, path, _absent_problem) for at, path in benchmark_files(recipe)]
    named += [(at, path, missing_problem) for at, path in named_files(recipe) if at == ("judges", "function")]
    named += [(at, run, run_problem) for at, run in earlier_rounds(recipe)]
    named += [(at, name, None) for at, name in models(recipe) if is_local(name)]
    for at, path, missing in named:
        if path in coming:
            continue
        problem = None if allow_outside else outside_problem(path, place(at, False))
        if bad_output is None:
            problem = problem or inside_output_problem(path, recipe.output, place(at, False))
        if problem is None and missing is not None:
            problem = missing(path, place(at, False))
        if problem:
            yield problem


def card_problems(recipe: Recipe, place: Place, file: Path) -> Iterator[Problem]:
    """What is wrong with the data cards that a recipe names, and with their splits."""
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


# ---- what a recipe names -----------------------------------------------------------------------------------


def sources(recipe: BaseModel) -> Iterator[tuple[KeyPath, Source]]:
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


def named_files(value: Any, at: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every file or folder that a recipe names by a field marked `NamesFile`, with its key path."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            mark = _mark(field.annotation, field.metadata, inner) if isinstance(inner, str) else None
            if mark is not None:
                yield (*at, name), inner.rpartition(mark.until)[0] if mark.until else inner
            else:
                yield from named_files(inner, (*at, name))
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from named_files(item, (*at, key))


def _mark(annotation: Any, marks: Sequence[Any], value: str) -> NamesFile | None:
    """The mark by which a value of this type is a path: of the type, or of one of those that it is made of."""
    own = (mark for mark in marks if isinstance(mark, NamesFile) and value.endswith(mark.suffix))
    parts = (_mark(part, getattr(part, "__metadata__", ()), value) for part in get_args(annotation))
    return next((mark for mark in (*own, *parts) if mark is not None), None)


def benchmark_files(recipe: StageRecipe) -> Iterator[tuple[KeyPath, str]]:
    """Every file or folder of a benchmark that a recipe names, with its key path."""
    yield from ((at, path) for at, path in named_files(recipe) if at[0] == "benchmarks")


def _absent_problem(path: str, place: str | None = None) -> Problem | None:
    """A file or folder that is not there."""
    return None if Path(path).is_dir() else missing_problem(path, place)


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
        "judges": ("helpfulness", "safety"),
    }
    for block, keys in blocks.items():
        named = ((key, getattr(getattr(recipe, block, None), key, None)) for key in keys)
        yield from (((block, key), name) for key, name in named if name is not None)
    for called, one in getattr(recipe, "models", {}).items():
        parts = (("base", one.base), ("adapter", one.adapter))
        yield from ((("models", called, key), name) for key, name in parts if name is not None)
    during = getattr(getattr(recipe, "generation", None), "win_rate", None)
    for number, name in enumerate(during.judges if during else ()):
        yield ("generation", "win_rate", "judges", number), name
    if other := getattr(recipe, "compare_with", None):
        yield ("compare_with",), other
