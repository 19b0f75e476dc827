"""`key.path=value` from the command line, put into a recipe's data before it is validated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.parsing.scalars import read_scalar
from llamatune.recipe.parsing.secrets import without_secrets
from llamatune.recipe.parsing.yaml import MAX_DEPTH, SURROGATE, KeyPath, YamlDocument, parse

WHOLE = "set"
"""A block of a pipeline whose keys are key paths: what comes after it in an override is one key."""


@dataclass(frozen=True)
class Overridden:
    """A document with overrides applied. `origins`: for each key path that was set, the place of what is below it;
    `place` names that where a value comes from it."""

    document: YamlDocument
    origins: dict[KeyPath, Callable[[KeyPath], str]]

    def place(self, path: KeyPath, of_key: bool = False) -> str:
        for known, origin in reversed(self.origins.items()):
            if path[: len(known)] == known:
                return origin(path[len(known) :])
        if path not in self.document.values:  # a block that only an override opened
            for known, origin in self.origins.items():
                if path and known[: len(path)] == path:
                    return origin(())
        return self.document.place(path, of_key=of_key)

    def put(self, key: str, value: Any, origin: Callable[[KeyPath], str]) -> KeyPath:
        """Set one more value; returns its path. Raises ValueError where there is no such place."""
        path = _put(self.document.data, _keys(key, self.document.data), value)
        self.origins.pop(path, None)
        self.origins[path] = origin
        return path


def split(override: str) -> tuple[str, str]:
    """Key path and value. Raises RecipeError (E026) for anything that is not `key.path=value`, or not UTF-8."""
    if SURROGATE.search(override):
        # Python hands on what it cannot decode as half of a surrogate pair.
        raise RecipeError("E026", "not UTF-8", place=f"override {override[:60]!a}", hint="write it as UTF-8")
    key, equals, value = override.partition("=")
    if not equals or not key.strip() or not all(key.strip().split(".")):
        hint = "for example: optimization.epochs=3"
        place = f"override {without_secrets(override)[:60]!r}"
        raise RecipeError("E026", "expected key.path=value", place=place, hint=hint)
    return key.strip(), value.strip()


def apply(document: YamlDocument, overrides: Sequence[str]) -> Overridden:
    """Put the overrides into the document's data, in order. Raises RecipeError with all the bad ones (E026)."""
    applied = Overridden(document, {})
    problems: list[Problem] = []
    for override in overrides:
        try:
            key, text = split(override)
            shown = without_secrets(f"{key}={text}" if len(text) <= 60 else f"{key}={text[:57]}...")
            applied.put(key, read_value(text), partial(_override, shown))
        except ValueError as error:
            problems.append(Problem("E026", str(error), f"override {without_secrets(override)[:60]}"))
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError.of(problems[:20])
    return applied


def _override(shown: str, below: KeyPath) -> str:
    return f"override {shown}"


def _keys(key: str, data: dict[str, Any]) -> list[str]:
    """The keys of a key path."""
    keys = key.split(".")
    if data.get("stage") == "pipeline" and WHOLE in keys[:-1]:
        first = keys.index(WHOLE) + 1
        keys[first:] = [".".join(keys[first:])]
    return keys


def read_value(text: str) -> Any:
    """A value by the recipe's own rules: a scalar, or a list, mapping or quoted text in YAML's flow style."""
    if text[:1] not in {"[", "{", '"', "'"}:
        return read_scalar(text)
    try:
        return parse("value: " + text, "value").data["value"]
    except RecipeError as error:
        raise ValueError(error.problems[0].what) from None


def _put(data: dict[str, Any], keys: list[str], value: Any) -> KeyPath:
    """Set one value, opening blocks that are absent; returns its path. Raises ValueError when it cannot."""
    if len(keys) > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels deep")
    node: Any = data
    path: list[str | int] = []
    for position, key in enumerate(keys):
        name = ".".join(keys[:position])
        if isinstance(node, list):
            path.append(_index(node, key, name))
            node.extend([None] * (path[-1] == len(node)))
        elif isinstance(node, dict):
            path.append(key)
            node.setdefault(key, None)
        else:
            raise ValueError(f"`{name}` is not a block of keys")
        if position == len(keys) - 1:
            node[path[-1]] = value
        elif node[path[-1]] is None:
            node[path[-1]] = {}
        node = node[path[-1]]
    return tuple(path)


def _index(node: list[Any], key: str, name: str) -> int:
    if not key.isdecimal() or int(key[:9]) > len(node):
        positions = f"0 to {len(node)} (which appends)"
        raise ValueError(f"`{name}` is a list: give a position from {positions}, not `{key[:20]}`")
    return int(key)
