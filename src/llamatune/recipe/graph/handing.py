"""Whether a step of a pipeline leaves what another takes from it: weights, an adapter, a reward model, rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llamatune.errors import Problem
from llamatune.recipe.blocks import Kind, Source
from llamatune.recipe.parsing.yaml import KeyPath
from llamatune.recipe.paths import HUB, is_local
from llamatune.recipe.reading import earlier_rounds, models, sources
from llamatune.recipe.recipes import STAGES, Recipe
from llamatune.recipe.stages.common import ModelRecipe, TrainingRecipe
from llamatune.recipe.stages.preferences import PreferencesRecipe
from llamatune.recipe.stages.sft import ConversationSource

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
    rows = {(*at, "run"): source for at, source in sources(recipe)}
    named = {at for at, _ in models(recipe)}
    pool = {at for at, _ in earlier_rounds(recipe)}
    found: list[tuple[KeyPath, Problem]] = []
    for at, step in targets.items():
        # Its own problems say what it is.
        if (maker := made_by.get(step)) is None:
            continue
        hint: str | None = None
        if (source := rows.get(at)) is not None:
            what = _wrong_rows(recipe, at, source, maker)
            if what is None and (what := _wrong_split(recipe, source, maker)) is not None:
                at = (*at[:-1], "split")
                hint = "leave `split` out, or take rows from a step of preferences that holds some out"
        elif at in pool:
            what = None if maker.stage == recipe.stage else f"`keep.pool` takes runs of {recipe.stage}"
        elif at in named:
            what = _wrong_model(recipe, at, maker)
            if what is None and (what := _other_base(recipe, at, maker)) is not None:
                hint = f"an adapter belongs to its base: set `{'.'.join(map(str, at[:-1]))}.base` to that of the step"
        else:
            what = f"`{'.'.join(map(str, at))}` names no run: nothing can be taken from a step there"
        if what is not None:
            found.append((at, Problem("E062", f"{what}; `{step}` {_leaves(maker)}", hint=hint)))
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


def _wrong_rows(recipe: Recipe, at: KeyPath, source: Source, maker: Recipe) -> str | None:
    kind: Kind = "ptx" if "mix" in at else "documents" if "texts" in at else STAGES[recipe.stage].rows
    takes: Kind = "conversations" if kind in ("conversations", "prompts", "ptx") else kind
    if _of_pairs(source):
        takes = "preferences"
    return None if takes in STAGES[maker.stage].makes else f"{recipe.stage} takes {takes}"


def _of_pairs(source: Source) -> bool:
    """Whether conversations are one side of pairs."""
    return isinstance(source, ConversationSource) and source.side is not None


def _wrong_split(recipe: Recipe, source: Source, maker: Recipe) -> str | None:
    """What is wrong with the split of rows that a step makes: pairs that were held out are the only one."""
    if source.split == "train":
        return None
    pairs = STAGES[recipe.stage].rows == "preferences" or _of_pairs(source)
    if source.split != "test" or not pairs:
        return f"there is no `split: {source.split}` of {STAGES[maker.stage].makes[0]}"
    if not isinstance(maker, PreferencesRecipe):
        return "`split: test` is what a step of preferences holds out"
    return None if maker.test_share else "with `test_share: 0` there is no `split: test`"


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
    if at[-1] == "adapter" and not _is_adapter(maker):
        return f"`{key}` is an adapter: name the step in `{'.'.join(map(str, at[:-1]))}.base`"
    if at[-1] == "base" and _is_adapter(maker):
        return f"`{key}` is a whole model: name its base there, and the step in `{'.'.join(map(str, at[:-1]))}.adapter`"
    return None


def _other_base(recipe: Recipe, at: KeyPath, maker: Recipe) -> str | None:
    """`at`: of a name of an adapter, which belongs to the base that is named beside it, or that the recipe has."""
    if at[-1] != "adapter" or not isinstance(maker, ModelRecipe) or not isinstance(recipe, ModelRecipe):
        return None
    named = dict(models(recipe))
    base = named.get((*at[:-1], "base")) or recipe.model.base
    if _same_base(base, maker.model.base):
        return None
    return f"`{'.'.join(map(str, at))}` is an adapter on `{base}`, and that of the step is on `{maker.model.base}`"


def _same_base(one: str, other: str) -> bool:
    """Whether two names are of one folder, or of one model of the hub."""
    if is_local(one) and is_local(other):
        return Path(one).resolve() == Path(other).resolve()
    return one.removeprefix(HUB) == other.removeprefix(HUB)
