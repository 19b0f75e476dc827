"""Whether the packages of the trackers that a recipe names are there, known without importing them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from llamatune.errors import Problem, RecipeError


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose package is missing, before anything is spent.

    Raises:
        RecipeError: E029, with the commands that install them.
    """
    problems = [
        Problem(
            "E029",
            f"the package `{name}` is not installed",
            "logging.report_to",
            hint=f"pip install 'llamatune[{name}]', or remove it: metrics.jsonl is written anyway",
        )
        for name in names
        if find_spec(name) is None
    ]
    if problems:
        raise RecipeError.of(problems)
