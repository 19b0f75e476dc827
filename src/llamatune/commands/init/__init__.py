"""`llamatune init`: a commented recipe that runs, for a stage, a base and a file, with the schema beside it.

Given a data file, it reads all of it, as the chosen base's tokenizer sees it, and writes lengths, batch and epochs
that fit; each such value has its measured reason beside it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from llamatune.commands.init.choices import (
    Draft,
    choose_lengths,
    choose_steps,
    measured_rows,
    remarks,
    shorten_to_context,
)
from llamatune.commands.init.text import commented, refuse_existing, write_beside_schema
from llamatune.data.formats.known import FORMATS, formats_of
from llamatune.data.formats.labels import is_good_by
from llamatune.data.formats.recognise import (
    Recognised,
    check_prompts_alone,
    field_for,
    recognise_rows,
)
from llamatune.data.formats.unused import MATTER
from llamatune.data.prepare import only_one_value
from llamatune.data.read.readers import read_rows
from llamatune.data.read.survey import Survey, survey_of
from llamatune.errors import DataError, ModelError, Problem, RecipeError
from llamatune.models.found import find_model
from llamatune.models.quiet import quiet_upstream
from llamatune.outside import exists
from llamatune.recipe.blocks import Kind, Lora, Model
from llamatune.recipe.cards import read_card
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load, loads
from llamatune.recipe.parsing.problems import did_you_mean
from llamatune.recipe.parsing.yaml import parse
from llamatune.recipe.paths import missing_problem, outside_problem
from llamatune.recipe.reading import models
from llamatune.recipe.recipes import STAGES, Recipe, stage_for
from llamatune.recipe.shipped import shipped
from llamatune.recipe.stages.common import TrainingRecipe, Tuning
from llamatune.recipe.stages.sft import ConversationSource
from llamatune.runs.shards import Say
from llamatune.wording import counted, in_shell


def write_recipe(
    output: Path,
    *,
    stage: str | None,
    base: str,
    data: Path | None,
    tuning: Tuning | None,
    source: str | None = None,
    say: Say = print,
) -> None:
    """Write a recipe and its schema, and check the recipe by loading it.

    Args:
        stage: follows from the data's rows when None; sft without data.
        tuning: lora, qlora, full, or None for the stage's usual one.
        source: what `data.train` is to say of the file, beside its path, as YAML.
        say: prints a line for the user.

    Raises:
        RecipeError: unknown stage, a file that exists, or a `source` that no recipe may have.
        DataError: data that the stage cannot use.
        ModelError: a base whose tokenizer cannot be used.
        DiskError: not writable.
    """
    refuse_existing(output)
    if stage is not None and stage not in STAGES:
        hint = did_you_mean(stage, STAGES)
        raise RecipeError("E020", f"`{stage}` is not a stage: one of {', '.join(STAGES)}", hint=hint)
    if tuning in ("lora", "qlora") and not _trains(stage or "sft"):
        raise RecipeError(
            "E025",
            f"`--{tuning}` is for stages that train, and {stage} only asks its model",
            hint="leave it out; `model.adapter` names an adapter to ask, and `model.quantization: nf4` holds the base "
            "in 4 bits",
        )
    _check_base(base)
    base = _absolute_if_outside(base) if Path(base).is_dir() else base
    if data is None:
        stage = stage or "sft"
        draft = _draft(stage, base, tuning, {"card": _example_card(stage)}, output.stem)
        shorten_to_context(draft)
    else:
        stage, draft = _for_file(data, stage, base, tuning, output.stem, source, say)
    write_beside_schema(output, "\n".join(commented(stage, draft, output)) + "\n")
    recipe = load(output, allow_outside=True)
    say(f"wrote {output}; next: llamatune run {in_shell(output)}")
    for line in _to_be_trained(recipe):
        say(line)


def _trains(stage: str) -> bool:
    return issubclass(STAGES[stage].recipe, TrainingRecipe)


def _to_be_trained(recipe: Recipe | Pipeline) -> Iterator[str]:
    """What a first recipe has for runs that nobody has made."""
    if isinstance(recipe, Pipeline):
        return
    for at, name in models(recipe):
        if at[0] != "model" and not exists(Path(name)):
            first = (
                f"`llamatune init --stage reward --data PAIRS --output {Path(name).name}.yaml` makes a recipe for one"
                if at[0] in ("reward", "judges")
                else "name a run of yours"
            )
            yield f"before that, `{'.'.join(map(str, at))}` needs what is not there yet, `{name}`: {first}"


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


def _for_file(
    data: Path, stage: str | None, base: str, tuning: Tuning | None, name: str, source: str | None, say: Say
) -> tuple[str, Draft]:
    """The stage, and a recipe that fits the file."""
    if problem := missing_problem(str(data)):
        raise DataError.of([problem])
    told = parse(source, "--source").data if source is not None else {}
    seen = _surveyed(data)
    assumed = _draft(stage or "sft", base, tuning, {"path": str(data)} | told, name)
    found = _recognised(seen, assumed, stage, data)
    stage = stage or ("sft" if "side" in told else _stage_of(found, seen))
    say(f"{data}: {counted(seen.count, 'row')}, format {found}; stage {stage}")
    draft = _draft(stage, base, tuning, told | _source(data, found, seen, told, stage, say), name)
    if found.kind == "scores":
        draft.blocks["loss"] = {"objective": "scores"}
    elif found.columns.label is not None and STAGES[stage].rows == "preferences":
        draft.blocks["loss"] = {"objective": "labels"}
        if len(labels := _labels(found.columns.label, seen)) == 1:
            raise only_one_value("labels", bool(labels.pop()), seen.count, str(data))
    for warning in seen.warnings(found):
        say(f"{data}: {warning}")
    try:
        with quiet_upstream():
            measured = measured_rows(draft, say)
    except DataError as error:
        raise DataError.of([_for_init(one) for one in error.problems]) from None
    if measured is not None:
        measured = choose_lengths(STAGES[stage].rows, draft, measured, say)
        if _trains(stage):
            choose_steps(STAGES[stage].rows, draft, measured)
        for line in remarks(STAGES[stage].rows, measured):
            say(line)
    return stage, draft


def _surveyed(data: Path) -> Survey:
    """A look at all rows. Lines that are none are passed over here: they are counted when rows are measured, and the
    recipe leaves them out. Raises what is wrong with the first of them if they are as many as the rows."""
    bad: list[DataError] = []
    try:
        seen = survey_of(read_rows(data, skip=bad.append))
    except DataError:
        if bad:
            raise bad[0] from None
        raise
    if len(bad) >= seen.count:
        raise bad[0]
    return seen


def _recognised(seen: Survey, assumed: Draft, stage: str | None, data: Path) -> Recognised:
    """The format, as the source of an assumed recipe has it, or by what the rows look like.

    Raises:
        RecipeError: what is told is no source.
        DataError: E120 to E122, E127, E128; the hint says how `init` can be told.
    """
    rows = loads(json.dumps(assumed.blocks), name="--source").data
    source = (rows.train or rows.eval)[0]
    kind = STAGES[stage].rows if stage is not None else None
    if kind == "preferences":
        # Of a reward model's rows, a label may be all that there is.
        kind = None
    if source.columns is not None and source.columns.score is not None:
        kind = "scores"
    if isinstance(source, ConversationSource) and source.side is not None:
        kind = "preferences"

    def recognised(kind: Kind | None) -> Recognised:
        return recognise_rows(
            seen.rows,
            format=source.format,
            columns=source.columns,
            ignore=source.ignore,
            label=source.label,
            kind=kind,
            place=data.name,
        )

    try:
        found = recognised(kind)
        if stage is None:
            check_prompts_alone(found, data.name)
    except DataError as error:
        problems = [_for_init(one) for one in error.problems]
        if kind is not None and problems[0].code == "E127":
            with suppress(DataError):
                other = f"try --stage {_stage_of(recognised(None), seen)}"
                problems = [replace(one, hint=f"{other}; or {one.hint}") for one in problems]
        raise DataError.of(problems) from None
    return found


def _for_init(problem: Problem) -> Problem:
    """The problem, whose hint, if it asks for words in a recipe, says how `init` can be told them."""
    asked = re.search("`((?:columns|format|ignore|side): [^`]+)`", problem.hint or "")
    if asked is None:
        return problem
    here = f"`init` takes what a recipe says of a file by --source, such as --source '{asked[1]}'"
    return replace(problem, hint=f"{problem.hint}; {here}")


def _stage_of(found: Recognised, seen: Survey) -> str:
    label = found.columns.label
    if label is not None and _labels(label, seen) == {True}:
        # There is nothing to tell them from.
        return "sft"
    graded = label is not None or found.kind == "scores"
    return "reward" if graded else stage_for(found.kind)


def _labels(column: str, seen: Survey) -> set[bool | None]:
    """What a column says of the replies of all rows."""
    return {is_good_by(row.get(column), column) for row in seen.rows}


def _source(
    data: Path, found: Recognised, seen: Survey, told: dict[str, Any], stage: str, say: Say
) -> dict[str, Any]:
    """The recipe's first data source; `told` is what the user has said of it."""
    kind = STAGES[stage].rows
    labelled = found.columns.label is not None and kind in ("conversations", "preferences")
    graded = labelled or (found.kind == "scores" and kind == "preferences")
    if FORMATS[found.format] not in formats_of(kind) and not graded and "side" not in told:
        raise DataError(
            "E127",
            f"rows of format {found.format} are not for {stage}",
            place=str(data),
            hint=f"try --stage {_stage_of(found, seen)}"
            + (
                "; a column of scores is named by --source 'columns: {score: ...}'"
                if kind == "preferences"
                else ""
            ),
        )
    source: dict[str, Any] = {"path": _absolute_if_outside(str(data)), "format": found.format}
    used = _used_for_prompts(found)
    if columns := found.columns.model_dump(exclude_none=True) | used:
        source["columns"] = columns
    for field, name in used.items():
        say(f"{data}: {name} may be part of the prompt; the recipe uses it (`columns.{field}`)")
    if left := [name for name in found.doubtful if name not in used.values()]:
        source["ignore"] = [*told.get("ignore", []), *left]
        say(
            f"warning: {data}: {', '.join(left)} may be part of the prompt, and the recipe leaves it out (`ignore`): "
            "if a question cannot be answered without it, write it into the prompt first"
        )
    if labelled and kind == "conversations" and "label" not in told:
        source["label"] = True
        column = found.columns.label or "label"
        good = f", those that `{column}` calls good," if column.casefold() != "label" else ""
        say(f"{data}: the recipe takes the rows labelled true{good} and leaves out the others (`label`)")
    return source


def _used_for_prompts(found: Recognised) -> dict[str, str]:
    """Columns that hold what a question is about, or a system message, and can be used: by what they are used as."""
    used: dict[str, str] = {}
    for name in found.usable:
        field = field_for(name, found)
        if field == "system" or (field == "input" and name.lower() in MATTER):
            used.setdefault(field, name)
    return used


def _absolute_if_outside(path: str) -> str:
    """A recipe may name what is outside the working directory, behind a link too, by its absolute path only."""
    return str(Path(path).resolve()) if outside_problem(path) else path
