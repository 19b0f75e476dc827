"""`llamatune recipes`: which recipes ship with llamatune, and a copy of one to start from."""

from __future__ import annotations

import re
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

from llamatune.commands.init import write_beside_schema
from llamatune.recipe.load import loads
from llamatune.recipe.parsing.yaml import read_text
from llamatune.recipe.shipped import find_recipe, shipped
from llamatune.recipe.stages.common import TrainingRecipe

_SCHEMA_LINE = re.compile(r"\A# yaml-language-server: .*\n")


@dataclass(frozen=True)
class Listed:
    """A shipped recipe: its name for `llamatune run`, and what it trains."""

    name: str
    stage: str
    base: str
    trains: str
    """full, lora, qlora, or adapter: one that an earlier run left."""
    about: str


def shipped_recipes() -> list[Listed]:
    """All of them, by name."""
    folder = shipped("recipes")
    return [
        _listed(file.relative_to(folder).with_suffix("").as_posix(), file)
        for file in sorted(folder.rglob("*.yaml"))
    ]


def _listed(name: str, file: Path) -> Listed:
    text = read_text(file)
    recipe = loads(text, name=str(file))
    assert isinstance(recipe, TrainingRecipe)
    return Listed(name, recipe.stage, recipe.model.base, _trains(recipe), _about(text))


def _trains(recipe: TrainingRecipe) -> str:
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
    return re.split(r"(?<=[^0-9])[.:](?:\s|$)", " ".join(comment))[0]


_NARROW = 40
"""Fewer characters than this are no column for a sentence, which then has lines of its own."""


def recipes_table(recipes: list[Listed], width: int | None = None) -> str:
    """The recipes by column, wrapped at words to a terminal's width; without one, a line for each recipe."""
    columns = ("name", "stage", "base", "trains")
    widths = {one: max(len(one), *(len(getattr(recipe, one)) for recipe in recipes)) for one in columns}
    head = "".join(f"{one:{widths[one]}}  " for one in columns)
    lines = [head + "about"]
    for recipe in recipes:
        line = "".join(f"{getattr(recipe, one):{widths[one]}}  " for one in columns)
        if width is None:
            lines.append(line + recipe.about)
        elif width - len(head) >= _NARROW:
            about = textwrap.wrap(recipe.about, width - len(head))
            lines += [line + about[0], *(" " * len(head) + more for more in about[1:])]
        else:
            lines += [
                line.rstrip(),
                *textwrap.wrap(recipe.about, width, initial_indent="  ", subsequent_indent="  "),
            ]
    return "\n".join(lines)


def as_records(recipes: list[Listed]) -> list[dict[str, str]]:
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
