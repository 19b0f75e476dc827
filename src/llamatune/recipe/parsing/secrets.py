"""Finding credentials in a recipe, so that none is read from it, stored or echoed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.parsing.yaml import KeyPath
from llamatune.shown import CREDENTIAL

_KEY = re.compile(
    r"(?i)token|.*(hub|hf|auth|access|bearer|refresh|api|secret|private|session)[_-]?(token|key)"
    r"|.*(password|passwd|passphrase|secret|credentials?)|(.*[_-])?pwd"
)
"""Keys whose value is a credential however short it is; not `pad_token`, `eos_token` and the like."""
_WORD = re.compile(r"([\w.-]{1,200})[\"']?\s{0,9}[:=\s]")
"""What may be a key in something that is not YAML."""


def refuse_secrets(text: str, name: str, overrides: Sequence[str] = ()) -> None:
    """Raise RecipeError for each credential in a recipe's text or an override, without its value."""
    places = []
    for found in CREDENTIAL.finditer(text):
        line, start = text.count("\n", 0, found.start()) + 1, text.rfind("\n", 0, found.start())
        places.append(f"{name}:{line}:{found.start() - start}")
    for override in overrides:
        key, _, value = override.partition("=")
        if CREDENTIAL.search(override) or (value and _is_secret(key.strip())):
            places.append("override" if CREDENTIAL.search(key) else f"override {key}")
    _refuse(places)


def refuse_secret_keys(data: Mapping[str, Any], place: Callable[[KeyPath, bool], str]) -> None:
    """Raise RecipeError for each key that is called like a credential and has a value, whatever that is, without it.

    Args:
        place: of a key path; whether that of its key.
    """
    _refuse([place(path, True) for path in _secret_keys(data, ())])


def without_secrets(override: str) -> str:
    """An override for a message: cut off after a key that is called like a credential."""
    for found in _WORD.finditer(override):
        if _is_secret(found[1]):
            return f"{override[: found.end()]}..."
    return override


def _is_secret(key: str) -> bool:
    """Whether a key, or a part of a key path, is called like a credential."""
    return any(_KEY.fullmatch(part) for part in key.split("."))


def _secret_keys(value: Any, at: KeyPath) -> Iterator[KeyPath]:
    inner = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, part in inner:
        if isinstance(key, str) and _is_secret(key) and _says_anything(part):
            yield (*at, key)
        else:
            yield from _secret_keys(part, (*at, key))


def _says_anything(value: Any) -> bool:
    """Whether there is a text or a number in it that could be a credential."""
    if isinstance(value, (Mapping, list)):
        return any(map(_says_anything, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""


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
