"""Whether a step of a pipeline leaves what another takes from it: weights, an adapter, a reward model, rows."""

from __future__ import annotations

from collections.abc import Mapping

from llamatune.errors import Problem
from llamatune.recipe.blocks import Kind
from llamatune.recipe.parsing.yaml import KeyPath
from llamatune.recipe.reading import earlier_rounds, models, sources
from llamatune.recipe.recipes import STAGES, Recipe
from llamatune.recipe.stages.common import ModelRecipe, TrainingRecipe

_JUDGES = ("reward", "judges", "compare_with")
"""Blocks whose models score."""


def hand_over_problems(
    recipe: Recipe, targets: Mapping[KeyPath, str], made_by: Mapping[str, Recipe]
) -> list[tuple[KeyPath, Problem]]:
    """What is wrong with the steps that a recipe takes something from, each with its key path.

    Args:
        targets: key path -> name of a step.
        made_by: the recipes of the steps.
    """
    rows = {(*at, "run") for at, _ in sources(recipe)}
    named = {at for at, _ in models(recipe)}
    pool = {at for at, _ in earlier_rounds(recipe)}
    found: list[tuple[KeyPath, Problem]] = []
    for at, step in targets.items():
        # Its own problems say what it is.
        if (maker := made_by.get(step)) is None:
            continue
        if at in rows:
            what = _wrong_rows(recipe, at, maker)
        elif at in pool:
            what = None if maker.stage == recipe.stage else f"`keep.pool` takes runs of {recipe.stage}"
        elif at in named:
            what = _wrong_model(recipe, at, maker)
        else:
            what = f"`{'.'.join(map(str, at))}` names no run: nothing can be taken from a step there"
        if what is not None:
            found.append((at, Problem("E062", f"{what}; `{step}` {_leaves(maker)}")))
    return found


def _leaves(maker: Recipe) -> str:
    """What a step leaves, as the end of a sentence."""
    if not isinstance(maker, TrainingRecipe):
        makes = " and ".join(STAGES[maker.stage].makes)
        return f"is a step of {maker.stage}, which leaves {makes or 'neither a model nor rows'}"
    weights = "an adapter" if _is_adapter(maker) else "a whole model"
    return f"is a step of {maker.stage}, which leaves {weights}"


def _is_adapter(maker: TrainingRecipe) -> bool:
    return maker.model.lora is not None or maker.model.adapter is not None


def _wrong_rows(recipe: Recipe, at: KeyPath, maker: Recipe) -> str | None:
    kind: Kind = "ptx" if "mix" in at else STAGES[recipe.stage].rows
    takes: Kind = "conversations" if kind in ("conversations", "prompts", "ptx") else kind
    return None if takes in STAGES[maker.stage].makes else f"{recipe.stage} takes {takes}"


def _wrong_model(recipe: Recipe, at: KeyPath, maker: Recipe) -> str | None:
    """`at`: of a name of a model."""
    key = ".".join(map(str, at))
    if not isinstance(maker, TrainingRecipe):
        return f"`{key}` is a model"
    task = STAGES[maker.stage].task
    if at[0] in _JUDGES:
        return None if task == "score" else f"`{key}` is a reward model"
    if task == "score" and STAGES[recipe.stage].task == "generate":
        return f"`{key}` is a model that writes, and not one that scores"
    if at[-1] == "adapter":
        return _wrong_adapter(recipe, at, maker)
    if at[-1] == "base" and _is_adapter(maker):
        return f"`{key}` is a whole model: name its base there, and the step in `model.adapter`"
    return None


def _wrong_adapter(recipe: Recipe, at: KeyPath, maker: TrainingRecipe) -> str | None:
    key = ".".join(map(str, at))
    if not _is_adapter(maker):
        return f"`{key}` is an adapter: name the step in `model.base`"
    base = recipe.model.base if isinstance(recipe, ModelRecipe) else None
    if at == ("model", "adapter") and base != maker.model.base:
        return f"`{key}` is an adapter on `{base}`, and that of the step is on `{maker.model.base}`"
    return None
