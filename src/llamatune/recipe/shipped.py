"""Recipes and data cards that come with llamatune, for users who installed it without a checkout."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

from llamatune.errors import RecipeError


def shipped(kind: Literal["recipes", "data_cards"]) -> Path:
    """The folder of shipped files: inside the package in a wheel, the repository's own in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "builtin" / kind
    return packaged if packaged.is_dir() else package.parents[1] / kind


def find_recipe(name: str | Path) -> Path:
    """A recipe file: a path, or the name of a shipped recipe such as `pico/sft`.

    Raises RecipeError (E033) with near names when there is neither.
    """
    path = Path(name)
    try:
        if path.exists():
            return path
    except (OSError, ValueError) as error:
        raise RecipeError("E033", f"{str(name)[:60]!r} is not a file name ({error})") from None
    folder = shipped("recipes")
    known = {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
    if found := known.get(path.with_suffix("").as_posix() if path.suffix == ".yaml" else path.as_posix()):
        return found
    near = difflib.get_close_matches(path.with_suffix("").as_posix(), known, n=3)
    if path.parent.is_dir():
        beside = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.y*ml")], n=2)
        near = [str(path.parent / file) for file in beside] + near
    hint = "did you mean " + " or ".join(f"`{one}`" for one in near) + "?" if near else None
    hint = hint or "`llamatune init` writes a new recipe"
    raise RecipeError("E033", f"recipe `{name}` does not exist", hint=hint)
