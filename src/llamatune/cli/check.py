"""Look before: what is known of a run before it starts, without torch wherever that is possible."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from llamatune.cli.options import AllowOutside, JsonOption, OverridesArgument, RecipeArgument
from llamatune.cli.terminal import announce_imports, errors_as_json, print_json, say, write


def validate(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print the recipe with every default written out.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read and encode every row with the base's tokenizer.")
    ] = False,
    allow_outside: AllowOutside = False,
    as_json: JsonOption = False,
) -> None:
    """Check that a recipe will start: keys, files, models, rows, output and disk. Trains nothing."""
    from llamatune.commands.validate import validate as validate_recipe
    from llamatune.recipe.load import dump

    if deep:
        announce_imports()
    with errors_as_json(as_json):
        found = validate_recipe(recipe, overrides or (), allow_outside=allow_outside, deep=deep, say=say)
        if not as_json and not resolved:
            for line in found.lines():
                say(line)
        found.raise_problems()
    if as_json:
        print_json(found.to_json())
    elif resolved:
        write(sys.stdout, dump(found.recipe), end="")


def plan(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="A card such as h100, a100-80, rtx4090, or cpu; what is here when left out.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            help="How many of them on a machine, one process each; `hardware.devices` when left out.",
            min=1,
            show_default=False,
        ),
    ] = None,
    nodes: Annotated[int, typer.Option(help="How many machines.", min=1)] = 1,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Also make a step here, on made-up rows as long as the recipe allows."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a run will need: memory, what makes it fit, hours, disk, energy. Loads and downloads nothing."""
    from llamatune.commands.plan import measured_line, pipeline_plan_lines, plan_lines
    from llamatune.plan.planned import PipelinePlan, plan_all

    if measure and (device or devices or nodes > 1):
        raise typer.BadParameter(
            "--measure is for one device that is here: remove --device, --devices, --nodes"
        )
    step = None
    with errors_as_json(as_json):
        planned = plan_all(recipe, overrides or (), device=device, devices=devices, nodes=nodes)
        if measure:
            announce_imports()
            from llamatune.commands.measure import can_be_measured, measure_step

            if isinstance(planned, PipelinePlan) or not can_be_measured(planned.recipe):
                raise typer.BadParameter("--measure is for chats, documents and pairs: sft, pretrain, reward")
            step = measure_step(recipe, overrides or ())
    if as_json:
        print_json(planned.to_json() | ({"measured": asdict(step)} if step else {}))
        return
    lines = pipeline_plan_lines(planned) if isinstance(planned, PipelinePlan) else plan_lines(planned)
    for line in lines:
        write(sys.stdout, line)
    if step:
        write(sys.stdout, measured_line(step))


def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from llamatune.recipe.schema import json_schema

    print_json(json_schema())


def analyse(
    data: Annotated[str, typer.Argument(help="A data card, or a data file.")],
    split: Annotated[
        str | None, typer.Option(help="Split of the card; train when left out.", show_default=False)
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Count tokens by this model's tokenizer.", show_default=False)
    ] = None,
    languages: Annotated[
        Path | None,
        typer.Option(help="A fastText model that tells languages, such as lid.176.bin.", show_default=False),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(help="A JSON file of identity terms, such as HolisticBias's.", show_default=False),
    ] = None,
    toxicity: Annotated[
        Path | None, typer.Option(help="The folder of a classifier.", show_default=False)
    ] = None,
    toxic_label: Annotated[
        str | None, typer.Option(help="Its label that means toxic.", show_default=False)
    ] = None,
    toxicity_share: Annotated[
        float, typer.Option(help="Share of the texts that it looks at.", min=0.0001, max=1)
    ] = 0.1,
    against: Annotated[
        str | None,
        typer.Option(
            help="A benchmark, CARD, CARD:SPLIT or a file: how much of its rows is here (needs --base).",
            show_default=False,
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Leave out `languages` or `near-duplicates`; repeatable.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the page; runs/analysis-NAME.", show_default=False)
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write the figures into the data card, with the data's hash.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what data holds: lengths, languages, pronouns, identity terms, duplicates, personal data, pairs."""
    from llamatune.analysis.analysed import SKIPPABLE, Wanted, default_output
    from llamatune.analysis.analysed import analyse as analyse_rows
    from llamatune.analysis.into_card import check_updatable, write_into_card
    from llamatune.commands.analyse import analysis_lines

    left_out = [part for part in SKIPPABLE if part in (without or ())]
    if unknown := set(without or ()) - set(left_out):
        raise typer.BadParameter(f"--without {min(unknown)}: it is one of {', '.join(SKIPPABLE)}")
    folder = output or default_output(data, split)
    with errors_as_json(as_json):
        if update:
            check_updatable(data)
        wanted = Wanted(base, languages, terms, toxicity, toxic_label, toxicity_share, against, left_out)
        record = analyse_rows(data, wanted, split=split, output=folder, say=say)
        if update:
            say(f"wrote the figures into {write_into_card(record)}")
    if as_json:
        print_json(record)
    else:
        for line in analysis_lines(record):
            write(sys.stdout, line)
    say(f"report: {folder}/report.html")
