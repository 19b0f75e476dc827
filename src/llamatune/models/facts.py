"""What decides what a run learns, in addition to its recipe: the content of the files that the recipe names.

Known without torch and without reading a row, so that it is known at once whether a finished run would be made from
other data or other models today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from llamatune.data.counts import BENCHMARK
from llamatune.data.encode.encoders import kind_for
from llamatune.data.read.sources import find_files
from llamatune.models.found import Found, find, find_model
from llamatune.recipe.blocks import Kind
from llamatune.recipe.cards import find_card
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.reading import benchmark_files, earlier_rounds, models, named_files, sources
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.stages.common import ModelRecipe, PromptSource, StageRecipe
from llamatune.runs.handover import ALL_SAMPLES, LABELS, take
from llamatune.runs.manifest import MAY_CHANGE

_ROLES = ("train", "eval", "ptx", "texts")
_KINDS: dict[str, Kind] = {"ptx": "ptx", "texts": "documents"}
"""What the rows of some roles become, whatever the stage learns from."""
_OF_A_MODEL = (".safetensors", ".json", ".txt", ".model")
"""Files of weights, settings and vocabularies."""


def facts_of(recipe: StageRecipe, recipe_dir: Path) -> dict[str, Any]:
    """The facts about a recipe's data and models, and about the other files that it names, as they are now.

    Raises:
        DataError, RecipeError: a source is not there, or is not what its card or its run says.
        ModelError: a model is not there.
    """
    rows = (
        (role, find_files(source, recipe_dir, kind=_KINDS.get(role) or kind_for(recipe)).sha256)
        for role in _ROLES
        for source in getattr(getattr(recipe, "data", None), role, ())
    )
    asked = ((BENCHMARK, map(file_sha256, files)) for _, files in files_of_benchmarks(recipe))
    models = model_facts(recipe) if isinstance(recipe, ModelRecipe) else {}
    return {
        "data": data_facts(chain(rows, asked)),
        **models,
        **other_facts(recipe, recipe_dir),
        **(label_facts(labels) if (labels := _files_of_labels(recipe)) else {}),
    }


def files_of_benchmarks(recipe: StageRecipe) -> Iterator[tuple[str, list[Path]]]:
    """(what the recipe names, its files) of each benchmark of the user's, and of what judges the replies to it."""
    for at, name in benchmark_files(recipe):
        path = Path(name)
        suffixes = _OF_A_MODEL if at[-1] == "classifier" else (".csv",)
        inside = (one for one in path.iterdir() if one.suffix in suffixes) if path.is_dir() else ()
        yield name, sorted(inside) or [path]


def other_facts(recipe: StageRecipe, recipe_dir: Path) -> dict[str, Any]:
    """What else decides what becomes of rows and replies: the files that the recipe names, by their paths, and of its
    data cards what says how rows are read.

    Those of benchmarks are among the data, and people's labels come later (`label_facts`).
    """
    labels = _files_of_labels(recipe)
    files = (Path(name) for at, name in named_files(recipe) if at[0] not in ("benchmarks", *MAY_CHANGE))
    return {
        "files": {str(file): file_sha256(file) for file in files if file not in labels and file.is_file()},
        "cards": _card_facts(recipe, recipe_dir),
    }


def label_facts(labels: Iterable[Path]) -> dict[str, Any]:
    """People's labels by the paths of their files, as far as there are some. They come while a run waits, so that they
    are recorded as it finishes."""
    return {"labels": {str(file): file_sha256(file) for file in labels if file.is_file()}}


def _files_of_labels(recipe: StageRecipe) -> list[Path]:
    named = [Path(name) for at, name in named_files(recipe) if at[-1] == "labels"]
    waits = getattr(recipe, "judge", None) == "human"
    return named or ([Path(recipe.output) / LABELS] if waits else [])


def _card_facts(recipe: StageRecipe, recipe_dir: Path) -> dict[str, Any]:
    """By card: how its rows are read and, where prompts are tagged by it, its category."""
    found: dict[str, Any] = {}
    for at, source in sources(recipe):
        if source.card is None or at[0] in MAY_CHANGE:
            continue
        card = find_card(source.card, recipe_dir)
        found.setdefault(card.name, card.model_dump(include={"format", "columns", "ignore"}))
        if isinstance(source, PromptSource) and source.safety is None:
            found[card.name]["category"] = card.category
    return found


def data_facts(sources: Iterable[tuple[str, Iterable[str]]]) -> dict[str, Any]:
    """The role and hashes of each source, in the recipe's order."""
    known = [(role, list(sha256)) for role, sha256 in sources]
    roles = (*_ROLES, BENCHMARK) if any(role == BENCHMARK for role, _ in known) else _ROLES
    return {role: [{"sha256": sha256} for of, sha256 in known if of == role] for role in roles}


def model_facts(recipe: ModelRecipe, found: Found | None = None) -> dict[str, Any]:
    """What the models are that the recipe names: the base, the adapter that training starts from, and judges; and the
    samples of earlier rounds.

    Args:
        found: what the recipe's block `model` names, if it was already found.
    """
    start = found or find_model(recipe.model, STAGES[recipe.stage].task)
    return {
        **start.facts(),
        "models": {part: find(name).facts() for part, name in _judges(recipe).items()},
        "rounds": [file_sha256(take(run, ALL_SAMPLES)) for _, run in earlier_rounds(recipe)] or None,
    }


def _judges(recipe: ModelRecipe) -> dict[str, str]:
    """Further models, by their part in the run."""
    return {
        ".".join(map(str, at if at[0] == "models" else at[-1:])): name
        for at, name in models(recipe)
        if at[0] != "model"
    }
