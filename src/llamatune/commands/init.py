"""`llamatune init`: a commented recipe that runs, for a stage, a base and a file, with the schema beside it.

Given a data file, it reads all of it, as the chosen base's tokenizer sees it, and writes lengths, batch and epochs
that fit; each such value has its measured reason beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from llamatune.data.counts import share_that_allows
from llamatune.data.formats.known import FORMATS, formats_of
from llamatune.data.formats.recognise import Recognised, recognise_rows
from llamatune.data.read.readers import read_rows
from llamatune.data.read.sources import open_source
from llamatune.data.read.survey import survey_of
from llamatune.errors import DataError, DiskError, ModelError, RecipeError
from llamatune.models.found import find_model
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Kind, Lora, Model
from llamatune.recipe.cards import read_card
from llamatune.recipe.load import load, loads
from llamatune.recipe.parsing.problems import block_at, did_you_mean, field_at
from llamatune.recipe.parsing.yaml import to_yaml
from llamatune.recipe.paths import missing_problem, outside_problem
from llamatune.recipe.recipes import STAGES, stage_for
from llamatune.recipe.schema import TITLE, json_schema
from llamatune.recipe.shipped import shipped
from llamatune.recipe.stages.common import Tuning
from llamatune.runs.display import counting
from llamatune.runs.shards import Say
from llamatune.wording import counted

if TYPE_CHECKING:
    from llamatune.data.measure import Measured

SCHEMA_FILE = "recipe.schema.json"

_LONGEST, _LONGEST_DOCUMENT = 4096, 1024
"""Most tokens in a row that a first recipe asks for; longer rows are left out or cut, and counted."""
_ONE_REPLY = ("alpaca", "prompt_completion")
_MANY = 0.05
"""Share of rows with one reply that are too long, above which the replies are cut and the rows are not left out."""
_BATCHES = (64, 32, 16, 8, 4, 2, 1)
_ENOUGH_STEPS = 30
_FEW_ROWS, _FEW_TOKENS = 200, 100_000
_LITTLE: Mapping[Kind, str] = {
    "conversations": "a model learns a style or a few facts, but not much more",
    "preferences": "a reward model learns little that holds for other replies",
}
_HELD_OUT = 20
"""How many rows a held-out loss should be the mean of."""


@dataclass
class Draft:
    """A recipe in the making: its blocks, and what was measured, by key path."""

    blocks: dict[str, Any]
    reasons: dict[tuple[str, ...], str] = field(default_factory=dict)

    def set(self, block: str, key: str, value: Any, reason: str) -> None:
        self.blocks[block][key] = value
        self.reasons[block, key] = reason


def write_recipe(
    output: Path, *, stage: str | None, base: str, data: Path | None, tuning: Tuning | None, say: Say = print
) -> None:
    """Write a recipe and its schema, and check the recipe by loading it.

    Args:
        stage: follows from the data's rows when None; sft without data.
        tuning: lora, qlora, full, or None for the stage's usual one.
        say: prints a line for the user.

    Raises:
        RecipeError: unknown stage, or a file that exists.
        DataError: data that the stage cannot use.
        ModelError: a base whose tokenizer cannot be used.
        DiskError: not writable.
    """
    _refuse_existing(output)
    if stage is not None and stage not in STAGES:
        hint = did_you_mean(stage, STAGES)
        raise RecipeError("E020", f"`{stage}` is not a stage: one of {', '.join(STAGES)}", hint=hint)
    _check_base(base)
    base = _absolute_if_outside(base) if Path(base).is_dir() else base
    if data is None:
        stage = stage or "sft"
        draft = _draft(stage, base, tuning, {"card": _example_card(stage)}, output.stem)
    else:
        stage, draft = _for_file(data, stage, base, tuning, output.stem, say)
    write_beside_schema(output, "\n".join(_commented(stage, draft, output)) + "\n")
    load(output, allow_outside=True)
    say(f"wrote {output}; next: llamatune run {output}")


def _check_base(base: str) -> None:
    """Any whole model can be a base; one of the hub that is not in the cache yet is left to the run to check."""
    try:
        find_model(Model(base=base), "score", download=False)
    except ModelError as error:
        if error.problems[0].code != "E203":
            raise


def _draft(stage: str, base: str, tuning: Tuning | None, source: dict[str, Any], name: str) -> Draft:
    """The fields that a user is likely to touch, with their first values."""
    tuning = tuning or STAGES[stage].tuning
    model: dict[str, Any] = {"base": base}
    if tuning != "full":
        model["lora"] = {key: getattr(Lora(), key) for key in ("rank", "alpha", "dropout", "targets")}
    if tuning == "qlora":
        model["quantization"] = "nf4"
    trained = {"model": model} if "model" in STAGES[stage].recipe.model_fields else {}
    first = STAGES[stage].starter(tuning, source)
    return Draft({"stage": stage, "output": f"runs/{name}"} | trained | first)


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


# ---- a file -------------------------------------------------------------------------------------------------


def _for_file(
    data: Path, stage: str | None, base: str, tuning: Tuning | None, name: str, say: Say
) -> tuple[str, Draft]:
    """The stage, and a recipe that fits the file."""
    if problem := missing_problem(str(data)):
        raise DataError.of([problem])
    seen = survey_of(read_rows(data))
    found = recognise_rows(seen.rows, place=data.name)
    stage = stage or _stage_of(found)
    say(f"{data}: {counted(seen.count, 'row')}, format {found}; stage {stage}")
    draft = _draft(stage, base, tuning, _source(data, found, stage, say), name)
    if found.columns.label is not None and STAGES[stage].rows == "preferences":
        draft.blocks["loss"] = {"objective": "labels"}
    if seen.warning:
        say(f"{data}: {seen.warning}")
    with quiet_upstream():
        measured = _measured(draft, say)
    if measured is not None:
        _choose_lengths(STAGES[stage].rows, draft, measured)
        _choose_steps(STAGES[stage].rows, draft, measured)
        for line in _remarks(STAGES[stage].rows, measured):
            say(line)
    return stage, draft


def _stage_of(found: Recognised) -> str:
    return "reward" if found.columns.label is not None else stage_for(found.kind)


def _source(data: Path, found: Recognised, stage: str, say: Say) -> dict[str, Any]:
    """The recipe's first data source."""
    kind = STAGES[stage].rows
    labelled = found.columns.label is not None and kind in ("conversations", "preferences")
    if FORMATS[found.format] not in formats_of(kind) and not labelled:
        raise DataError(
            "E127",
            f"rows of format {found.format} are not for {stage}",
            place=str(data),
            hint=f"try --stage {_stage_of(found)}",
        )
    source: dict[str, Any] = {"path": _absolute_if_outside(str(data)), "format": found.format}
    if columns := found.columns.model_dump(exclude_none=True):
        source["columns"] = columns
    if found.doubtful:
        source["ignore"] = list(found.doubtful)
        doubtful = ", ".join(found.doubtful)
        say(f"{data}: {doubtful} may be part of the prompt; the recipe leaves it out (`ignore`)")
    if labelled and kind == "conversations":
        source["label"] = True
        say(f"{data}: the recipe takes the rows labelled true and leaves out the others (`label`)")
    return source


def _absolute_if_outside(path: str) -> str:
    """A recipe may name what is outside the working directory, behind a link too, by its absolute path only."""
    return str(Path(path).resolve()) if outside_problem(path) else path


def _measured(draft: Draft, say: Say) -> Measured | None:
    """Every row as the base's tokenizer sees it; None where the base is not here."""
    from llamatune.data.encode.encoders import encoder_for
    from llamatune.data.measure import measure
    from llamatune.models.load import load_tokenizer

    blocks = dict(draft.blocks)
    role = _role(draft)
    blocks["data"] = {role: blocks["data"][role], "max_length": 1 << 20, "on_bad_row": "drop"}
    recipe = loads(json.dumps(blocks), name="recipe")
    try:
        base = find_model(recipe.model, "score").base
    except ModelError as error:
        if error.problems[0].code != "E203":
            raise
        say(f"{error.problems[0].what}: lengths were not measured, and `data.max_length` is a guess")
        return None
    kind, encoder = encoder_for(recipe, load_tokenizer(base))
    opened = open_source((recipe.data.train or recipe.data.eval)[0], Path(), kind=kind, on_bad_row="drop")
    with counting("reading rows") as tick:
        measured = measure(opened, encoder, tick=tick)
    measured.context = int(base.config.get("max_position_embeddings") or 1 << 20)
    if not measured.lengths:
        raise DataError(
            "E132",
            f"none of {counted(measured.rows, 'row')} can be used",
            place=opened.name,
            why="; ".join(measured.first_bad) or None,
            hint="`llamatune data preview` shows what a stage makes of a file",
        )
    return measured


def _role(draft: Draft) -> str:
    """What its rows are for."""
    return "train" if "train" in draft.blocks["data"] else "eval"


def _choose_lengths(kind: Kind, draft: Draft, measured: Measured) -> None:
    """`max_length`, and what becomes of longer rows."""
    from llamatune.data.measure import shares

    room = measured.context - int(draft.blocks.get("rollout", {}).get("max_new_tokens", 0))
    most = min(room, _LONGEST_DOCUMENT if kind == "documents" else _LONGEST)
    length = max(min(-(-measured.longest // 32) * 32, most), 8)
    draft.set("data", "max_length", length, shares(measured.lengths))
    longer = measured.longer_than(length)
    lost = longer + measured.bad + sum(measured.left_out.values())
    if not longer:
        draft.set("data", "too_long", "error", "no row is longer")
    elif kind == "documents":
        split = counted(longer, "document is", "documents are")
        draft.set("data", "too_long", "truncate", f"{split} longer, and split")
        lost -= longer
    else:
        limit = f"the base's context, {room:,}" if most == room else counted(most, "token")
        are = "is" if longer == 1 else "are"
        reason = f"{longer:,} of {counted(measured.rows, 'row')} {are} longer than {limit}"
        single = draft.blocks["data"][_role(draft)][0].get("format") in _ONE_REPLY
        if kind == "conversations" and single and longer > _MANY * measured.rows:
            draft.set("data", "too_long", "truncate_reply", f"{reason}, and too many to lose")
        else:
            draft.set("data", "too_long", "drop", reason)
    if measured.bad:
        draft.set(
            "data",
            "on_bad_row",
            "drop",
            f"{counted(measured.bad, 'row')} cannot be read; first: {measured.first_bad[0]}",
        )
    if lost > 0.01 * measured.rows:
        share = share_that_allows(lost, measured.rows)
        draft.set(
            "data",
            "max_dropped",
            share,
            f"at most {lost:,} of {counted(measured.rows, 'row')} will be left out",
        )


def _choose_steps(kind: Kind, draft: Draft, measured: Measured) -> None:
    """Held-out rows, batch, epochs and warm-up for this number of rows."""
    rows = len(measured.lengths)
    share = 0.02 if rows >= _HELD_OUT / 0.02 else round(min(_HELD_OUT / rows, 0.1), 3)
    if rows < 50:
        share, reason = 0.0, f"{counted(rows, 'row is', 'rows are')} too few to hold some out"
    else:
        reason = f"about {round(share * rows):,} of {rows:,} rows"
    draft.set("data", "eval_fraction", share, reason)
    epochs = draft.blocks["optimization"].get("epochs")
    if epochs is None:
        return
    if kind == "conversations" and rows < 1000:
        epochs = 3 if rows >= 200 else 5
        draft.set("optimization", "epochs", epochs, f"few rows ({rows:,}) are seen more often")
    # Documents are packed into sequences that are nearly full.
    sequences = measured.tokens / draft.blocks["data"]["max_length"] if kind == "documents" else rows
    sequences *= 1 - share
    size = next((one for one in _BATCHES if sequences * epochs / one >= _ENOUGH_STEPS), 1)
    steps = max(math.ceil(sequences / size) * epochs, 1)
    about = "about " if kind == "documents" or share else ""
    draft.set("optimization", "batch_size", size, about + counted(steps, "step"))
    # A reward model's warm-up has a least number of steps anyway.
    if steps < 200 and kind != "preferences":
        warmup = max(steps // 20, 2)
        draft.set("optimization", "warmup", warmup, "steps: a share of so few steps would be none")
    draft.blocks["logging"]["every_steps"] = max(min(steps // 20, 10), 1)


def _remarks(kind: Kind, measured: Measured) -> Iterator[str]:
    if measured.duplicates:
        again = counted(measured.duplicates, "row is", "rows are")
        yield f"{again} there more than once, and used once"
    for reason, count in measured.left_out.items():
        yield f"{counted(count, 'row is', 'rows are')} left out: {reason.value}"
    if measured.bad:
        yield f"warning: {counted(measured.bad, 'row')} cannot be read, and left out (`on_bad_row: drop`):"
        yield from (f"  {line}" for line in measured.first_bad)
    rows, tokens = len(measured.lengths), measured.tokens
    if kind == "documents" and tokens < _FEW_TOKENS:
        yield f"warning: {counted(tokens, 'token')} of text are hardly enough to change what a model knows"
    elif kind in _LITTLE and rows < _FEW_ROWS:
        yield f"warning: from {counted(rows, 'row')} {_LITTLE[kind]}"


# ---- as text ------------------------------------------------------------------------------------------------


def _commented(stage: str, draft: Draft, output: Path) -> Iterator[str]:
    schema = STAGES[stage].recipe
    yield f"# {_first_line(schema)}"
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
        info, block = field_at(schema, here), block_at(schema, here)
        sentence = (info.description if info else None) or (_first_line(block) if block else None)
        yield from (f"{indent}# {line.strip()}" for line in (sentence or "").splitlines())
        if here in reasons:
            yield f"{indent}# Here: {' '.join(reasons[here].split())}"
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _block(schema, here, value, reasons)
        else:
            yield from (indent + line for line in to_yaml({key: value}).splitlines())


def _first_line(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise RecipeError("E034", f"`{output}` exists, and is never overwritten", hint="name another file")


def write_beside_schema(output: Path, text: str) -> None:
    """Write a recipe that does not exist yet, and beside it the schema that editors check it against.

    Raises:
        RecipeError: the recipe exists, or another file is in the schema's place.
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
