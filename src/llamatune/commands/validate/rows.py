"""What `llamatune validate` looks at in the rows of a recipe: the first of each source, or with `deep` all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from llamatune.commands.validate.findings import Validation
from llamatune.commands.validate.models import longest_answer
from llamatune.data.encode.encoders import kind_for
from llamatune.data.formats.canonical import canonical
from llamatune.data.read.sources import find_files, holds_out_nothing, is_at_hand
from llamatune.data.read.survey import survey_of
from llamatune.data.rows import Adjustment, RowRejected, with_reason
from llamatune.errors import DataError, Problem
from llamatune.models.found import Found
from llamatune.recipe.blocks import Data, Kind, Source
from llamatune.recipe.cards import find_card
from llamatune.recipe.paths import missing_problem
from llamatune.recipe.recipes import Recipe
from llamatune.recipe.shipped import run_problem
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.runs.files import size
from llamatune.wording import counted

FIRST_LOOK = 1000
"""Rows of each source that are looked at without `deep`."""

_SHOWN = 3
"""Bad rows that are shown, at most."""


def all_sources(recipe: Recipe) -> Iterator[tuple[str, Source, Kind, Data]]:
    """Each source with its role, what its rows become, and the policies that it is under."""
    data = getattr(recipe, "data", None)
    if not isinstance(data, Data):
        return
    kind = kind_for(recipe)
    yield from (("data", source, kind, data) for source in data.train)
    yield from (("held-out data", source, kind, data) for source in data.eval)
    if isinstance(recipe, PpoRecipe) and recipe.data.mix is not None:
        yield from (("pretraining mix", source, "ptx", recipe.data.mix) for source in recipe.data.mix.train)


def check_source(
    found: Validation, role: str, source: Source, kind: Kind, data: Data, folder: Path, deep: bool
) -> None:
    """The first rows of a source: that they are there, can be read, and are what the stage takes."""
    if not _is_there(source, folder):
        return
    if not is_at_hand(source, folder):
        _say_not_at_hand(found, role, source, folder)
        return
    files = find_files(source, folder, kind=kind)
    if role == "held-out data" and holds_out_nothing(source, kind):
        found.add(
            role, f"{source.run} held out nothing: there is no evaluation on it", name=files.name, rows=0
        )
        return
    bad: list[Problem] = []

    def skip(error: DataError) -> None:
        bad.extend(error.problems[:1])

    first = list(islice(islice(files.rows(skip), source.max_rows), FIRST_LOOK + 1))
    whole, first = len(first) <= FIRST_LOOK, first[:FIRST_LOOK]
    survey = survey_of(iter(first))
    recognised = files.recognise(survey.rows, source, kind)
    left_out: Counter[str] = Counter()
    adjusted: Counter[Adjustment] = Counter()
    for place, raw in first:
        try:
            canonical(raw, recognised, place, adjusted, is_safety=False, label=source.label)
        except RowRejected as rejected:
            left_out[rejected.reason.value] += 1
        except DataError as error:
            bad += error.problems[:1]
    if not whole and not deep:
        found.unchecked.append(f"the rows of {files.name} after the first {FIRST_LOOK:,}")
    # A look at every row counts them.
    if bad and data.on_bad_row == "error" and not deep:
        raise DataError.of(bad[:_SHOWN])
    rows = len(first) if whole else None
    if files.card is not None and files.card.splits[source.split].files:
        of_card = [file.rows for file in files.card.splits[source.split].files]
        rows = sum(one or 0 for one in of_card) if all(of_card) else rows
    bytes_ = sum(file.stat().st_size for file in files.files)
    how_many = counted(rows, "row") if rows is not None else f"more than {FIRST_LOOK:,} rows ({size(bytes_)})"
    text = f"{files.name}, {how_many}, format {recognised}"
    counts = {**left_out, **{kind.value: count for kind, count in adjusted.items()}}
    text += "".join(f", {with_reason(count, what)}" for what, count in counts.items())
    if bad and data.on_bad_row == "drop":
        text += f", {len(bad):,} cannot be used and are left out, the first: {bad[0].place}: {bad[0].what}"
    text += "".join(f"; {warning}" for warning in survey.warnings(recognised))
    found.add(
        role,
        text,
        name=files.name,
        rows=rows,
        rows_seen=len(first),
        bytes=bytes_,
        format=recognised.format,
        columns=recognised.columns.names,
        not_used=list(recognised.ignored),
        bad=len(bad),
        counts=counts,
    )


def _is_there(source: Source, folder: Path) -> bool:
    """False for what the recipe's own problems say already."""
    if source.path is not None:
        return missing_problem(source.path) is None
    if source.run is not None:
        return run_problem(source.run) is None
    if source.card is None:
        return True
    with suppress(DataError):
        return source.split in find_card(source.card, folder).splits
    return False


def _say_not_at_hand(found: Validation, role: str, source: Source, folder: Path) -> None:
    card = find_card(source.card, folder) if source.card is not None else None
    if card is not None and card.source.kind == "world":
        rows = card.splits[source.split].rows
        how_many = f", {counted(rows, 'row')}" if rows is not None else ""
        text = f"{card.name}{how_many}, format {card.format}, made at the first run"
        found.add(role, text, name=card.name, rows=rows, format=card.format)
        return
    name = card.source.id if card is not None else source.hub
    found.unchecked.append(f"the rows of the hub data set {name} (--deep loads them)")


def check_every_row(found: Validation, start: Found, folder: Path, say: Callable[[str], None]) -> None:
    """Every row, read and encoded as `run` does; what it would refuse, source by source and then of all together."""
    from llamatune.data.encode.encoders import encoder_for, mix_encoder_for
    from llamatune.data.prepare import check_what_is_judged, prepare, prepare_prompts, refusals
    from llamatune.models.quiet import quiet_upstream
    from llamatune.models.tokenizer import load_tokenizer

    recipe = found.recipe
    context = start.base.context
    with quiet_upstream(), found.gathering():
        tokenizer = load_tokenizer(start.base)
        kind, encoder = encoder_for(recipe, tokenizer)
        mixed = mix_encoder_for(recipe, tokenizer) if isinstance(recipe, PpoRecipe) else None
        new = longest_answer(recipe)
        room = None if context is None else context - new
        problems = refusals(recipe.data, encoder, kind=kind, recipe_dir=folder, say=say, room=room)
        if isinstance(recipe, PpoRecipe) and recipe.data.mix is not None and mixed is not None:
            problems += refusals(recipe.data.mix, mixed, kind="ptx", recipe_dir=folder, say=say)
        if problems:
            raise DataError.of(problems)
        said: list[str] = []
        settings: dict[str, Any] = {
            "seed": recipe.seed,
            "recipe_dir": folder,
            "report": said.append,
            "say": say,
        }
        if isinstance(recipe, PpoRecipe):
            prepared = prepare_prompts(recipe.data, encoder, mixed, **settings)
        else:
            prepared = prepare(recipe.data, encoder, kind=kind, **settings)
        if isinstance(recipe, RewardRecipe):
            check_what_is_judged(recipe, prepared, said.append)
        counts = prepared.to_json()["counts"]
        found.add("every row", "; ".join(line for line in said if ": format" not in line), **counts)
