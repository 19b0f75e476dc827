"""Recipes and data cards that come with llamatune, for users who installed it without a checkout."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Literal

from llamatune.errors import Problem, RecipeError
from llamatune.outside import is_file, read_whole
from llamatune.recipe.parsing.yaml import MAX_BYTES
from llamatune.recipe.paths import FINISHED, MARKER
from llamatune.wording import in_shell

_DATA = frozenset(
    {".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".gz", ".zst", ".bz2", ".xz"}
)
"""How the name of a data file ends."""
_OUTPUT = re.compile(r"^output: *[\"']?([^\"'#\n]+)", re.MULTILINE)


def shipped(kind: Literal["recipes", "data_cards"]) -> Path:
    """The folder of shipped files: inside the package in a wheel, the repository's own in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "builtin" / kind
    return packaged if packaged.is_dir() else package.parents[1] / kind


def shipped_recipes() -> dict[str, Path]:
    """The files of the shipped recipes by their names, such as `pico/sft`."""
    folder = shipped("recipes")
    return {
        file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))
    }


def recipe_name(file: Path) -> str:
    """How commands take a recipe: a shipped one by its name, any other by its path."""
    return next((name for name, one in shipped_recipes().items() if one == file), str(file))


def find_recipe(name: str | Path) -> Path:
    """A recipe file: a path, or the name of a shipped recipe such as `pico/sft`.

    Raises RecipeError (E033) with similar names when there is neither.
    """
    path = Path(name)
    try:
        if path.exists():
            _check_no_data(path)
            return path
    except (OSError, ValueError) as error:
        raise RecipeError("E033", f"{str(name)[:60]!r} is not a file name ({error})") from None
    known = shipped_recipes()
    if found := known.get(path.with_suffix("").as_posix() if path.suffix == ".yaml" else path.as_posix()):
        return found
    near = difflib.get_close_matches(path.with_suffix("").as_posix(), known, n=3)
    # `sft`, or `alpaca`: a part of the names of several.
    near = near or [one for one in sorted(known, key=_small_first) if path.as_posix() in one.split("/")][:3]
    if path.parent.is_dir():
        beside = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.y*ml")], n=2)
        near = [str(path.parent / file) for file in beside] + near
    hint = "did you mean " + " or ".join(f"`{one}`" for one in near) + "?" if near else None
    hint = hint or "`llamatune init` writes a new recipe"
    raise RecipeError("E033", f"recipe `{name}` does not exist", hint=hint)


def _check_no_data(path: Path) -> None:
    """Refuse what can only be a data set or a run: a mistake at the first try."""
    what, hint = "", ""
    if path.is_dir():
        there = is_file(path / MARKER)
        what = "a run" if there else "a folder"
        hint = f"its recipe is {path / MARKER}" if there else "name the recipe's file in it"
    elif path.suffix in _DATA:
        what, hint = "data", f"`llamatune init --data {in_shell(path)}` makes a recipe for it"
    if what:
        raise RecipeError("E033", f"`{path}` is {what}, not a recipe", hint=hint)


def _small_first(name: str) -> tuple[bool, bool, str]:
    return not name.startswith("pico/"), not name.startswith("smollm2/"), name


def recipe_that_writes(output: str | Path, beside: Path | None = None) -> str | None:
    """The recipe whose `output` is this run directory, as `llamatune run` takes it: one in the folder `beside`, in the
    working directory or its folder `recipes`, or a shipped one by its name. None where no recipe says so."""
    folder = shipped("recipes")
    here = sorted([*Path().glob("*.y*ml"), *Path("recipes").rglob("*.y*ml")])
    if beside is not None and beside.is_dir() and not beside.is_relative_to(folder):
        here = [*sorted(beside.glob("*.y*ml")), *here]
    named = {file.as_posix(): file for file in here}
    named |= shipped_recipes()
    for name, file in named.items():
        try:
            found = written_by(file)
            if found is not None and found.resolve() == Path(output).resolve():
                return name
        # what cannot be read, or is no path, is no answer
        except (OSError, RuntimeError, ValueError):
            continue
    return None


def written_by(recipe: Path) -> Path | None:
    """The run directory that a recipe's file names, without reading all of it as a recipe."""
    found = _OUTPUT.search(read_whole(recipe, MAX_BYTES).decode("utf-8", "replace"))
    return Path(found[1].strip()) if found else None


def run_problem(run: str, place: str | None = None) -> Problem | None:
    """A run that a recipe takes something from, and that is missing or has not finished."""
    folder = Path(run)
    if is_file(folder / FINISHED):
        return None
    begun = is_file(folder / MARKER)
    recipe = recipe_that_writes(run)
    command = f"run `llamatune run {in_shell(recipe)}` first" if recipe else None
    return Problem(
        "E038",
        f"the run `{run}` has not finished" if begun else f"there is no run in `{run}`",
        place or run,
        "a run hands over what it made once it has finished",
        command
        or ("finish it first" if begun else f"check the path, or run the recipe with `output: {run}` first"),
    )
