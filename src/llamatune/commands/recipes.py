"""`llamatune recipes`: which recipes ship with llamatune, and a copy of one to start from."""

from __future__ import annotations

import re
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

from llamatune.commands.init.text import write_beside_schema
from llamatune.plan.planned import PipelinePlan, Plan, plan_loaded
from llamatune.plan.work import THE_RUN
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load_with_problems
from llamatune.recipe.parsing.yaml import read_text
from llamatune.recipe.shipped import find_recipe, shipped_recipes
from llamatune.recipe.stages.common import ModelRecipe, SamplingRecipe
from llamatune.runs.files import size
from llamatune.runs.report.words import duration
from llamatune.wording import counted

_SMALL = 1e9
"""Weights of a model that a processor trains in a time that one waits for."""
_SCHEMA_LINE = re.compile(r"\A# yaml-language-server: .*\n")


@dataclass(frozen=True)
class Listed:
    """A shipped recipe: its name for `llamatune run`, and what it trains."""

    name: str
    stage: str
    base: str
    trains: str
    """full, lora, qlora, adapter: one that an earlier run left; or nothing; of a pipeline, its steps."""
    memory: int
    """Bytes at the peak of one device, see `plan`; of a pipeline, in the step that needs most. `device`: a processor
    for small models, else a card."""
    device: str
    seconds: float
    """On one device, a guess. `of`: the run, or so many rows where their number is not known."""
    of: str
    about: str


def listed_recipes() -> list[Listed]:
    """All that are shipped, by name."""
    return [_listed(name, file) for name, file in shipped_recipes().items()]


def _listed(name: str, file: Path) -> Listed:
    recipe = load_with_problems(file)[0]
    assert isinstance(recipe, Pipeline | ModelRecipe)
    planned = plan_loaded(recipe, file.parent, device="h100")
    if all(one.origin.shape.weights < _SMALL for one in _plans(planned)):
        planned = plan_loaded(recipe, file.parent, device="cpu")
    plans = _plans(planned)
    largest = max(plans, key=lambda one: one.need.peak.bytes)
    made = {one.recipe.output for one in plans}
    bases = {
        one.recipe.model.base: None
        for one in plans
        if one.recipe.model.base.removesuffix("/model") not in made
    }
    return Listed(
        name,
        recipe.stage,
        ", ".join(bases),
        _trains(recipe),
        round(largest.need.peak.bytes),
        largest.device.name,
        round(planned.seconds if isinstance(planned, PipelinePlan) else planned.work.seconds, 1),
        planned.of if isinstance(planned, PipelinePlan) else planned.work.of,
        _about(read_text(file)),
    )


def _plans(planned: Plan | PipelinePlan) -> list[Plan]:
    return list(planned.steps.values()) if isinstance(planned, PipelinePlan) else [planned]


def _trains(recipe: ModelRecipe | Pipeline) -> str:
    if isinstance(recipe, Pipeline):
        return counted(len(recipe.steps), "step")
    if isinstance(recipe, SamplingRecipe):
        return "nothing"
    if recipe.model.quantization == "nf4":
        return "qlora"
    if recipe.model.adapter is not None:
        return "adapter"
    return "full" if recipe.model.lora is None else "lora"


def _about(text: str) -> str:
    """The first sentence of the comment at the top."""
    lines = _SCHEMA_LINE.sub("", text).splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    text = " ".join(comment)
    ends = (text[: end.start()] for end in re.finditer(r"(?<=[^0-9])[.:](?:\s|$)", text))
    # What is in parentheses, such as "(Ouyang et al., 2022)", ends no sentence.
    return next((found for found in ends if found.count("(") == found.count(")")), text)


_NARROW = 40
"""Fewer characters than this are no column for a sentence, which then has lines of its own."""


def recipes_table(recipes: list[Listed], width: int | None = None) -> str:
    """The recipes by column, wrapped at words to a terminal's width; without one, a line for each recipe."""
    cells = [(one.name, one.stage, one.base, one.trains, _memory(one), _time(one)) for one in recipes]
    head, *lines = _in_columns([("name", "stage", "base", "trains", "memory", "time"), *cells])
    if width is None:
        return "\n".join(
            [head + "about", *(line + one.about for line, one in zip(lines, recipes, strict=True))]
        )
    if width - len(head) >= _NARROW:
        found = [head + "about"]
        for line, one in zip(lines, recipes, strict=True):
            about = textwrap.wrap(one.about, width - len(head), break_on_hyphens=False)
            found += [line + about[0], *(" " * len(head) + more for more in about[1:])]
        return "\n".join(found)
    head, *lines = _in_columns(
        [("name", "stage", "trains"), *((one.name, one.stage, one.trains) for one in recipes)]
    )
    found = [head.rstrip(), "  base  memory  time  about"]
    for line, one in zip(lines, recipes, strict=True):
        rest = "  ".join((one.base, _memory(one), _time(one), one.about))
        wrapped = textwrap.wrap(
            rest, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        found += [line.rstrip(), *wrapped]
    return "\n".join(found)


def _memory(recipe: Listed) -> str:
    return f"{size(recipe.memory)} {recipe.device}"


def _time(recipe: Listed) -> str:
    return duration(recipe.seconds) + ("" if recipe.of == THE_RUN else f" for {recipe.of}")


def _in_columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["".join(f"{text:{wide}}  " for text, wide in zip(row, widths, strict=True)) for row in rows]


def as_records(recipes: list[Listed]) -> list[dict[str, str | float]]:
    return [asdict(recipe) for recipe in recipes]


def copy_recipe(name: str, output: Path) -> Path:
    """Write a shipped recipe to a file of the user's, with the schema beside it.

    Raises:
        RecipeError: no such recipe, or the file exists.
        DiskError: not writable.
    """
    text = _SCHEMA_LINE.sub("", read_text(find_recipe(name)))
    write_beside_schema(output, text)
    return output
