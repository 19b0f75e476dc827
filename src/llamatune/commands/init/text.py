"""A first recipe as text: each field below its sentence from the schema and what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from llamatune.commands.init.choices import Draft
from llamatune.errors import DiskError, RecipeError, reason_of
from llamatune.outside import exists, read_whole
from llamatune.recipe.parsing.problems import block_at, sentence_at
from llamatune.recipe.parsing.yaml import to_yaml
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.schema import TITLE, json_schema

SCHEMA_FILE = "recipe.schema.json"


def commented(stage: str, draft: Draft, output: Path) -> Iterator[str]:
    schema = STAGES[stage].recipe
    yield from (f"# {line}" for line in _summary(schema))
    yield f"# All fields: docs/reference/recipe.md. Check: llamatune validate {output}"
    yield from _block(schema, (), draft.blocks, draft.reasons)


def _block(
    schema: type[BaseModel],
    path: tuple[str, ...],
    values: dict[str, Any],
    reasons: dict[tuple[str, ...], str],
) -> Iterator[str]:
    """A mapping's lines; each field below its sentence from the schema, and what was measured."""
    indent = "  " * len(path)
    for key, value in values.items():
        here = (*path, key)
        if not path and isinstance(value, dict):
            yield ""
        block = block_at(schema, here)
        sentence = sentence_at(schema, here)
        # The keys of a mapping of a user's own have no sentence but that of the mapping.
        lines = (sentence or "").splitlines() if sentence != sentence_at(schema, path) else []
        lines = lines or (_summary(block) if block and not sentence else [])
        yield from (f"{indent}# {line.strip()}" for line in lines)
        if here in reasons:
            yield f"{indent}# Here: {' '.join(reasons[here].split())}"
        if value and isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _block(schema, here, value, reasons)
        else:
            yield from (indent + line for line in to_yaml({key: value}).splitlines())


def _summary(kind: type[BaseModel]) -> list[str]:
    """The first paragraph of its docstring."""
    return cleandoc(kind.__doc__ or "").split("\n\n")[0].splitlines()


def refuse_existing(output: Path) -> None:
    if exists(output):
        raise RecipeError("E034", f"`{output}` exists, and is never overwritten", hint="name another file")


def write_beside_schema(output: Path, text: str) -> None:
    """Write a recipe that does not exist yet, and beside it the schema that editors check it against.

    Raises:
        RecipeError: the recipe exists, or another file is in the schema's place.
        DiskError: not writable.
    """
    refuse_existing(output)
    text = f"# yaml-language-server: $schema={SCHEMA_FILE}\n{text}"
    schema = output.parent / SCHEMA_FILE
    if exists(schema) and not _is_ours(schema):
        hint = "move it, or write the recipe into another folder"
        raise RecipeError("E034", f"`{schema}` exists and is not llamatune's", hint=hint)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        raise DiskError("E801", f"cannot be written: {reason_of(error)}", place=str(output)) from None


def _is_ours(schema: Path) -> bool:
    try:
        return TITLE in read_whole(schema).decode("utf-8", "replace")
    except OSError:
        return False
