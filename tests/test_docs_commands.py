"""The commands of the docs can be given as they are written: each recipe is there, and takes each override."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamatune.errors import LlamatuneError
from llamatune.recipe.load import load_with_problems

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "recipes").rglob("README.md")),
]
RUN = re.compile(r"^ *(?:\$ )?llamatune (?:run|plan|validate) (.+)$", re.MULTILINE)


def commands() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(page, recipe, overrides) of each command that runs a recipe which ships."""
    for page in PAGES:
        for line in RUN.findall(page.read_text("utf-8").replace("\\\n", "")):
            recipe, *words = shlex.split(line, comments=True)
            if (ROOT / "recipes" / f"{recipe.removesuffix('.yaml').removeprefix('recipes/')}.yaml").is_file():
                yield page.name, recipe, tuple(word for word in words if "=" in word)


@pytest.mark.parametrize(("page", "recipe", "overrides"), sorted(set(commands())))
def test_a_command_of_the_docs_is_understood(
    page: str, recipe: str, overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the runs before it, or the reader's own files, are not there is all that may be wrong."""
    monkeypatch.chdir(ROOT)
    try:
        problems = load_with_problems(recipe, list(overrides))[1]
    except LlamatuneError as error:
        problems = error.problems
    assert not [str(one) for one in problems if one.code not in ("E033", "E038")]
