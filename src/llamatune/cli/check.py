"""Look before: what is known of a run before it starts, without torch wherever that is possible."""

from __future__ import annotations

import sys
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
        found = validate_recipe(recipe, overrides or (), allow_outside=allow_outside, deep=deep)
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
            help="A card such as h100, a100-80, rtx4090, or cpu; the processor where there is no GPU.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[int, typer.Option(help="How many of them, one process each.", min=1)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Say what a run will need: memory, what makes it fit, hours, disk, energy. Loads and downloads nothing."""
    from llamatune.commands.plan import pipeline_plan_lines, plan_lines
    from llamatune.plan.planned import PipelinePlan, plan_all

    with errors_as_json(as_json):
        planned = plan_all(recipe, overrides or (), device=device, devices=devices)
    if as_json:
        print_json(planned.to_json())
    else:
        lines = pipeline_plan_lines(planned) if isinstance(planned, PipelinePlan) else plan_lines(planned)
        for line in lines:
            write(sys.stdout, line)


def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from llamatune.recipe.schema import json_schema

    print_json(json_schema())
