"""What a recipe starts from, as shapes: the base, and the adapter that is trained. Nothing is loaded or downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llamatune.errors import LlamatuneError, ModelError
from llamatune.models.base import targeted
from llamatune.models.files.settings import read_model_json
from llamatune.models.found import find
from llamatune.plan.shapes import KNOWN_CONFIGS, Shape, known_shape, shape_of
from llamatune.recipe.blocks import Lora
from llamatune.recipe.load import loads
from llamatune.recipe.parsing.yaml import read_text
from llamatune.recipe.paths import HUB
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.shipped import find_recipe, recipe_that_writes
from llamatune.recipe.stages.common import ModelRecipe, StageRecipe, TrainingRecipe
from llamatune.recipe.stages.ppo import PpoRecipe

_STEPS = 8
"""Runs that begin where another ended; more in a row are a circle."""


@dataclass(frozen=True)
class Origin:
    """`shape`: of the base; `source`: where it is from. `adapter`: the one that is trained, None where all weights
    are. `judges`: reward models that are adapters, by what they judge. `guesses`: what had to be assumed, in
    sentences."""

    shape: Shape
    adapter: Lora | None
    source: str
    judges: frozenset[str] = frozenset()
    guesses: tuple[str, ...] = ()


@dataclass(frozen=True)
class AdapterShape:
    """`count`: weights. `widths`: the sum of the widths of a block's adapted inputs; `copies`: how many there are."""

    count: int
    widths: int


def origin_of(recipe: ModelRecipe, makers: Mapping[str, StageRecipe] | None = None) -> Origin:
    """Where a recipe starts.

    Args:
        makers: recipes by the run directories that they have yet to write, of a pipeline's steps.

    Raises:
        ModelError: E260, a base whose shape is not known; E230, E231, an adapter that does not fit it.
    """
    makers = makers or {}
    shape, source = _shape(recipe.model.base, _STEPS, makers)
    if STAGES[recipe.stage].task == "score":
        # A reward model's head takes the output layer's place.
        shape = replace(shape, tied=True)
    guesses: tuple[str, ...] = ()
    adapter = recipe.model.lora
    if recipe.model.adapter is not None:
        adapter = _adapter(recipe.model.adapter, _STEPS, makers)
        if adapter is None:
            adapter = Lora()
            guesses = (f"the adapter `{recipe.model.adapter}` is not there: rank {adapter.rank} is assumed",)
    rewards = recipe.reward.models if isinstance(recipe, PpoRecipe) else {}
    judges = frozenset(part for part, model in rewards.items() if _is_adapter(model, makers))
    return Origin(shape, adapter, source, judges, guesses)


def adapter_shape(shape: Shape, lora: Lora) -> AdapterShape:
    """Raises ModelError (E230, E231) for an adapter that does not fit."""
    chosen = targeted(lora, shape.linear)
    count = sum(lora.rank * (wide + high) + (high if lora.dora else 0) for wide, high in chosen.values())
    return AdapterShape(shape.blocks * count, sum(wide for wide, _ in chosen.values()))


def _is_adapter(model: str, makers: Mapping[str, StageRecipe]) -> bool:
    """Whether a model's name is that of an adapter, also of one that a recipe has yet to make."""
    if (Path(model) / "adapter").is_dir() or (Path(model) / "adapter_config.json").is_file():
        return True
    maker = _maker(model, makers)
    return maker is not None and (maker.model.lora is not None or maker.model.adapter is not None)


def shape_named(name: str, makers: Mapping[str, StageRecipe]) -> Shape:
    """The shape of a model's base, also of one that a recipe has yet to make. `makers`: see `origin_of`.

    Raises:
        ModelError: E260, it is not known.
    """
    return _shape(name, _STEPS, makers)[0]


def _shape(name: str, steps: int, makers: Mapping[str, StageRecipe]) -> tuple[Shape, str]:
    config = Path(name) / "config.json"
    if config.is_file():
        return shape_of(read_model_json(config), name), str(config)
    # Before the local cache: a look there takes longer than everything else.
    if name.removeprefix(HUB) in KNOWN_CONFIGS and not Path(name).is_dir():
        return known_shape(name), "the table of known shapes"
    maker = _maker(name, makers) if _run_of(name) in makers else None
    if maker is not None and steps:
        return _shape(maker.model.base, steps - 1, makers)
    try:
        base = find(name, weights=False, download=False).base
        return shape_of(base.config, name), f"config.json of {base.name}"
    except ModelError as error:
        if error.problems[0].code == "E260":
            raise
    maker = _maker(name, makers)
    if maker is not None and steps:
        return _shape(maker.model.base, steps - 1, makers)
    return known_shape(name), name


def _adapter(name: str, steps: int, makers: Mapping[str, StageRecipe]) -> Lora | None:
    for folder in (Path(name), Path(name) / "adapter"):
        if (folder / "adapter_config.json").is_file():
            return _peft(read_model_json(folder / "adapter_config.json"))
    maker = _maker(name, makers)
    if maker is None or not steps:
        return None
    if maker.model.adapter is not None:
        return _adapter(maker.model.adapter, steps - 1, makers)
    return maker.model.lora


def _peft(settings: Mapping[str, object]) -> Lora | None:
    """An adapter as peft's settings describe it."""
    targets = settings.get("target_modules")
    try:
        return Lora.model_validate(
            {
                "rank": settings.get("r"),
                "targets": targets if isinstance(targets, list) else "all-linear",
                "dropout": settings.get("lora_dropout") or 0.0,
                "dora": bool(settings.get("use_dora")),
            }
        )
    except ValueError:
        return None


def _run_of(name: str) -> str:
    return name.removesuffix("/model").removesuffix("/adapter")


def _maker(name: str, makers: Mapping[str, StageRecipe]) -> TrainingRecipe | None:
    """The recipe that makes a run which is not there yet."""
    run = _run_of(name)
    if run in makers:
        known = makers[run]
        return known if isinstance(known, TrainingRecipe) else None
    written = recipe_that_writes(run)
    if written is None:
        return None
    try:
        recipe = loads(read_text(find_recipe(written)), name=written)
    except (LlamatuneError, json.JSONDecodeError):
        return None
    return recipe if isinstance(recipe, TrainingRecipe) else None
