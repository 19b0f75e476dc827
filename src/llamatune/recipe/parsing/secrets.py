"""Finding credentials in a recipe, so that none is read from it, stored or echoed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.parsing.yaml import KeyPath, YamlDocument
from llamatune.shown import CREDENTIAL

_KEY = re.compile(
    r"(?i)token|.*(hub|hf|auth|access|bearer|refresh|api|secret|private|session)[_-]?(token|key)"
    r"|.*(password|passwd|passphrase|secret|credentials?)"
)
"""Keys whose value is a credential however short it is; not `pad_token`, `eos_token` and the like."""


def refuse_secrets(text: str, name: str, overrides: Sequence[str] = ()) -> None:
    """Raise RecipeError for each credential in a recipe's text or an override, without its value."""
    places = []
    for found in CREDENTIAL.finditer(text):
        line, start = text.count("\n", 0, found.start()) + 1, text.rfind("\n", 0, found.start())
        places.append(f"{name}:{line}:{found.start() - start}")
    for override in overrides:
        key, _, value = override.partition("=")
        if CREDENTIAL.search(override) or (value and _KEY.fullmatch(key.strip().rpartition(".")[2])):
            places.append("override" if CREDENTIAL.search(key) else f"override {key}")
    _refuse(places)


def refuse_secret_keys(document: YamlDocument) -> None:
    """Raise RecipeError for each key that is called like a credential and has a value, without the value."""
    _refuse([document.place(path, of_key=True) for path in _secret_keys(document.data, ())])


def _secret_keys(value: Any, at: KeyPath) -> Iterator[KeyPath]:
    inner = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, part in inner:
        is_plain = isinstance(part, (str, int, float)) and not isinstance(part, bool)
        if isinstance(key, str) and is_plain and part != "" and _KEY.fullmatch(key):
            yield (*at, key)
        else:
            yield from _secret_keys(part, (*at, key))


def _refuse(places: list[str]) -> None:
    if places:
        raise RecipeError.of([_problem(place) for place in places[:20]])


def _problem(place: str) -> Problem:
    return Problem(
        "E040",
        "this looks like a credential: secrets do not belong in recipes",
        place,
        why="A recipe is copied into every run and pushed with the model",
        hint="revoke it if the file was shared, then use `hf auth login` or an environment variable",
    )
