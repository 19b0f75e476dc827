"""`llamatune init`: a commented recipe for a stage, a base and a file, with the schema beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from llamatune.data.formats.known import FORMATS, formats_of, kind_of
from llamatune.data.formats.recognise import recognise_rows
from llamatune.data.read.readers import read_rows
from llamatune.data.read.survey import rows_in_words, survey_of
from llamatune.errors import DataError, DiskError, ModelError, RecipeError
from llamatune.models.found import find_model
from llamatune.recipe.blocks import Lora, Model
from llamatune.recipe.cards import read_card
from llamatune.recipe.load import load
from llamatune.recipe.parsing.problems import block_at, did_you_mean, field_at
from llamatune.recipe.parsing.yaml import to_yaml
from llamatune.recipe.paths import missing_problem, outside_problem
from llamatune.recipe.recipes import STAGES, stage_for
from llamatune.recipe.schema import TITLE, json_schema
from llamatune.recipe.shipped import shipped
from llamatune.recipe.stages.common import Tuning

SCHEMA_FILE = "recipe.schema.json"


def write_recipe(
    output: Path, *, stage: str, base: str, data: Path | None, tuning: Tuning | None
) -> list[str]:
    """Write a recipe and its schema, and check the recipe by loading it; returns lines for the user.

    `tuning` is lora, qlora, full, or None for the stage's usual one.

    Raises RecipeError (unknown stage, a file that exists), ModelError (no such base), DataError (data that the stage
    cannot use) and DiskError (not writable).
    """
    if stage not in STAGES:
        hint = did_you_mean(stage, STAGES)
        raise RecipeError("E020", f"`{stage}` is not a stage: one of {', '.join(STAGES)}", hint=hint)
    _refuse_existing(output)
    _check_base(base)
    tuning = tuning or STAGES[stage].tuning
    source, said = _source(stage, data)
    chosen = _chosen(stage, base, tuning, source, output.stem)
    if stage == "reward" and "label" in source.get("columns", {}):
        chosen["loss"] = {"objective": "labels"}
    lines = list(_commented(stage, chosen, output))
    write_beside_schema(output, "\n".join(lines) + "\n")
    load(output)
    return [*said, f"wrote {output}; next: llamatune run {output}"]


def _check_base(base: str) -> None:
    """Any model can be a base that is whole; one of the hub that is not in the cache yet is left to the run."""
    try:
        find_model(Model(base=base), "score", download=False)
    except ModelError as error:
        if error.problems[0].code != "E203":
            raise


def _source(stage: str, data: Path | None) -> tuple[dict[str, Any], list[str]]:
    """The recipe's first data source, and what was recognised."""
    if data is None:
        return {"card": _example_card(stage)}, []
    if problem := missing_problem(str(data)):
        raise DataError.of([problem])
    seen = survey_of(read_rows(data))
    found = recognise_rows(seen.rows, place=data.name)
    kind = kind_of(found.format)
    labelled = found.columns.label is not None and stage in ("sft", "reward")
    if FORMATS[found.format] not in formats_of(STAGES[stage].rows) and not labelled:
        hint = f"try --stage {stage_for(kind)}"
        raise DataError(
            "E127", f"rows of format {found.format} are not for {stage}", place=str(data), hint=hint
        )
    path = str(data.resolve() if outside_problem(str(data)) else data)
    source: dict[str, Any] = {"path": path, "format": found.format}
    if columns := found.columns.model_dump(exclude_none=True):
        source["columns"] = columns
    said = [f"{data}: {rows_in_words(seen.count)}, format {found}"]
    if found.doubtful:
        source["ignore"] = list(found.doubtful)
        said.append(
            f"{data}: {', '.join(found.doubtful)} may be a part of the prompt; the recipe leaves it out (`ignore`)"
        )
    if labelled and stage == "sft":
        source["label"] = True
        said.append(f"{data}: the recipe takes the rows labelled true and leaves out the others (`label`)")
    return source, [*said, *([f"{data}: {seen.warning}"] if seen.warning else [])]


def _example_card(stage: str) -> str:
    """The first generated set among the shipped cards whose rows the stage can use; one for safety only if there is no
    other."""
    cards = [read_card(file)[0] for file in sorted(shipped("data_cards").glob("*.md"))]
    for card in sorted(cards, key=lambda card: card.category == "safety"):
        if (
            card.source.kind == "world"
            and FORMATS[card.format] in formats_of(STAGES[stage].rows)
            and "train" in card.splits
        ):
            return card.name
    raise RecipeError(
        "E034", "name your data with --data FILE", why=f"No shipped data set fits stage {stage}"
    )


def _chosen(stage: str, base: str, tuning: Tuning, source: dict[str, Any], name: str) -> dict[str, Any]:
    """The fields that a user is likely to touch, with their first values."""
    model: dict[str, Any] = {"base": base}
    if tuning != "full":
        model["lora"] = {key: getattr(Lora(), key) for key in ("rank", "alpha", "dropout", "targets")}
    if tuning == "qlora":
        model["quantization"] = "nf4"
    trained = {"model": model} if "model" in STAGES[stage].recipe.model_fields else {}
    first = STAGES[stage].starter(tuning, source)
    return {"stage": stage, "output": f"runs/{name}"} | trained | first


def _commented(stage: str, recipe: dict[str, Any], output: Path) -> Iterator[str]:
    schema = STAGES[stage].recipe
    yield f"# {_first_line(schema)}"
    yield f"# All fields: docs/reference/recipe.md. Check: llamatune validate {output}"
    yield from _block(schema, (), recipe)


def _block(schema: type[BaseModel], path: tuple[str, ...], values: dict[str, Any]) -> Iterator[str]:
    """A mapping's lines; each field below its sentence from the schema."""
    indent = "  " * len(path)
    for key, value in values.items():
        here = (*path, key)
        if not path and isinstance(value, dict):
            yield ""
        info, block = field_at(schema, here), block_at(schema, here)
        sentence = (info.description if info else None) or (_first_line(block) if block else None)
        yield from (f"{indent}# {line.strip()}" for line in (sentence or "").splitlines())
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _block(schema, here, value)
        else:
            yield from (indent + line for line in to_yaml({key: value}).splitlines())


def _first_line(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise RecipeError("E034", f"`{output}` exists, and is never overwritten", hint="name another file")


def write_beside_schema(output: Path, text: str) -> None:
    """Write a recipe that does not exist yet, and beside it the schema that editors check it by.

    Raises:
        RecipeError: the recipe exists, or a foreign file stands in the schema's place.
        DiskError: not writable.
    """
    _refuse_existing(output)
    text = f"# yaml-language-server: $schema={SCHEMA_FILE}\n{text}"
    schema = output.parent / SCHEMA_FILE
    if schema.exists() and TITLE not in schema.read_text("utf-8", errors="replace"):
        hint = "move it, or write the recipe into another folder"
        raise RecipeError("E034", f"`{schema}` exists and is not llamatune's", hint=hint)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DiskError("E801", f"cannot be written: {error.strerror}", place=str(output)) from None
