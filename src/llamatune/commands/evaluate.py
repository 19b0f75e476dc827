"""`llamatune evaluate MODEL...`: the quick way to `stage: evaluate`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llamatune.errors import RecipeError
from llamatune.models.found import Found, find
from llamatune.outside import is_file
from llamatune.recipe.blocks import Source
from llamatune.recipe.cards import are_of_the_world, find_card
from llamatune.recipe.load import load_stage, loads
from llamatune.recipe.paths import MARKER
from llamatune.recipe.shipped import find_recipe
from llamatune.recipe.stages.common import PromptSource
from llamatune.recipe.stages.evaluate import EvaluateRecipe
from llamatune.recipe.stages.sft import SftRecipe
from llamatune.wording import counted, in_shell

_LONGEST = 1024
"""Tokens of a prompt."""
_SPLITS = ("eval", "test", "validation", "train")
_WORLD = ("pico-prompts-helpful", "pico-prompts-adversarial", "pico-prompts-borderline")


def quick_recipe(
    models: Sequence[str],
    data: Sequence[str],
    *,
    split: str | None = None,
    helpfulness: str | None = None,
    safety: str | None = None,
    max_rows: int | None = None,
    max_new_tokens: int = 256,
    overrides: Sequence[str] = (),
) -> EvaluateRecipe:
    """The recipe of an evaluation that was asked for on the command line.

    Without data, the rows are those that the first run on its user's rows held out, or else pico's sets. The oracle
    judges where all data are cards of its world; where nobody does, the rows' own replies are predicted. The output is
    named after what is asked, so that the same command goes on with the same run.

    Raises:
        ModelError: a model that is not there.
        RecipeError: a run that held nothing out, or an override that cannot be used.
    """
    found = [find(name, download=False) for name in models]
    rows = next(filter(None, map(_held_out, found)), None) if not data else None
    if rows is not None and (split or max_rows):
        raise RecipeError("E025", "`--split` and `--max-rows` are about `--data`", place="--data")
    if rows is None:
        rows = {"eval": [_source(one, split, max_rows) for one in data or _WORLD]}
    oracle = are_of_the_world([source.get("card") for source in rows.get("eval", ())], Path())
    # Longer prompts are left out, and counted.
    room = min([_LONGEST, *(one.base.context - max_new_tokens for one in found if one.base.context)])
    named = _names(models)
    content: dict[str, Any] = {
        "stage": "evaluate",
        "model": {"base": found[0].base.name},
        "models": {
            name: {"base": one.base.name} | ({} if one.adapter is None else {"adapter": str(one.adapter)})
            for name, one in zip(named, found, strict=True)
        },
        "data": {**rows, "max_length": max(room, 8), "too_long": "drop", "max_dropped": 0.1},
        "sampling": {"max_new_tokens": max_new_tokens},
        "perplexity": not (oracle or helpfulness or safety),
        "judges": {
            "oracle": oracle,
            **{name: judge for name, judge in (("helpfulness", helpfulness), ("safety", safety)) if judge},
        },
    }
    name = hashlib.sha256(json.dumps([content, list(overrides)]).encode()).hexdigest()[:8]
    recipe = loads(json.dumps(content | {"output": f"runs/evaluate-{name}"}), overrides, name="evaluate")
    assert isinstance(recipe, EvaluateRecipe)
    return recipe


def recipe_named(name: str, overrides: Sequence[str] = ()) -> tuple[EvaluateRecipe, Path] | None:
    """A recipe of this stage with the folder it is in, where the name is one; None where it is a model's.

    Raises:
        RecipeError: a recipe that cannot be read, or of another stage.
    """
    try:
        file = find_recipe(name)
    except RecipeError:
        return None
    if not file.is_file():
        # a run
        return None
    recipe = load_stage(name, overrides)
    if not isinstance(recipe, EvaluateRecipe):
        raise RecipeError(
            "E020",
            f"this is a recipe of stage `{recipe.stage}`",
            place=str(file),
            hint=f"`llamatune run {in_shell(name)}` runs it; name models, or a recipe of stage evaluate",
        )
    return recipe, file.parent


def _held_out(model: Found) -> dict[str, Any] | None:
    """The rows that a model's run of stage sft held out, as a recipe names them; None where there is no such run, or
    it was trained on pico's world.

    Raises:
        RecipeError: the run held nothing out, or its rows are gone.
    """
    run = model.folder.parent
    if not (run / MARKER).is_file():
        return None
    recipe = load_stage(run / MARKER, allow_outside=True)
    if not isinstance(recipe, SftRecipe) or are_of_the_world([one.card for one in recipe.data.train], run):
        return None
    if recipe.data.eval:
        return {"eval": list(map(_as_prompts, recipe.data.eval))}
    if recipe.data.eval_fraction:
        learnt = list(map(_as_prompts, recipe.data.train))
        return {"train": learnt, "eval_fraction": recipe.data.eval_fraction}
    raise RecipeError(
        "E025",
        f"the run `{run}` held no rows out",
        place="--data",
        why="on rows that it has learnt from, one would measure memory",
        hint="name rows that it has not seen: `--data FILE`",
    )


def _as_prompts(source: Source) -> dict[str, Any]:
    """A source of conversations as one of prompts."""
    named = source.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in named.items() if key in PromptSource.model_fields}


def _source(data: str, split: str | None, max_rows: int | None) -> dict[str, Any]:
    rows = {"max_rows": max_rows} if max_rows else {}
    if is_file(Path(data)):
        return {"path": data, **rows}
    splits = find_card(data, Path()).splits
    held_out = next((one for one in _SPLITS if one in splits), "train")
    return {"card": data, "split": split or held_out, **rows}


def _names(models: Sequence[str]) -> list[str]:
    """What the models are called: the last part of each name, told apart by numbers."""
    found: list[str] = []
    for name in models:
        last = re.sub(r"[\s.=]+", "-", Path(name).name)[:36] or "model"
        same = sum(one == last or one.startswith(f"{last}-") for one in found)
        found.append(f"{last}-{same + 1}" if last in found else last)
    return found


# ---- as text ------------------------------------------------------------------------------------------------------


def evaluation_table(content: Mapping[str, Any]) -> str:
    """The figures of evaluation.json, model beside model, and the win rates, as plain text."""
    models = content["models"]
    sets: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in content["figures"]:
        sets.setdefault(row["set"], {}).setdefault(row["figure"], {})[row["model"]] = row
    width = max((len(figure) for figures in sets.values() for figure in figures), default=0) + 4
    width = max([width, *map(len, sets)])
    lines: list[str] = []
    for name, figures in sets.items():
        lines += ["", f"{name:{width}}" + "".join(f"{model:>28}" for model in models)]
        lines += [
            f"  {figure:{width - 2}}" + "".join(f"{_cell(cells.get(model)):>28}" for model in models)
            for figure, cells in figures.items()
        ]
    if content["win_rates"]:
        lines += ["", f"win rates against {content['baseline']} (ties half)"]
        lines += [
            f"  {row['model']}, {row['judge']}, {row['set']}: "
            f"{_cell(row['share'] and row['share'] | {'unit': 'share'})} "
            f"({row['win']:,} won, {row['tie']:,} tied, {row['loss']:,} lost{_silence(row)})"
            for row in content["win_rates"]
        ]
    return "\n".join(lines[1:])


def _silence(row: Mapping[str, Any]) -> str:
    """How many questions a judge who sees two replies did not answer."""
    number = sum(row.get("unanswered", {}).values())
    return f", {counted(number, 'question')} not answered" if number else ""


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    if row["unit"] == "share":
        return f"{row['value']:.1%} ({row['low']:.1%}-{row['high']:.1%})"
    return f"{row['value']:.4g} ({row['low']:.4g} to {row['high']:.4g})"
