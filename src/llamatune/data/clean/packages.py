"""Whether the packages are there that a recipe's `data.clean` needs, before anything is spent."""

from __future__ import annotations

from importlib.util import find_spec

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.stages.pretrain import Clean


def check_clean(clean: Clean) -> None:
    """Raises RecipeError (E029), with the command that installs what is missing."""
    needed = [
        ("py3langid", "data.clean.languages", "it tells languages", bool(clean.languages)),
        ("datasketch", "data.clean.near_duplicates", "it finds them", clean.near_duplicates == "drop"),
    ]
    problems = [
        Problem(
            "E029", f"the package `{package}` is not installed", key, why, "pip install 'llamatune[analyse]'"
        )
        for package, key, why, wanted in needed
        if wanted and find_spec(package) is None
    ]
    if problems:
        raise RecipeError.of(problems)
