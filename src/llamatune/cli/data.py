"""Look before, at data: cards that name it, and rows as the model will see them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from llamatune.cli.options import AllowOutside, JsonOption, OverridesArgument
from llamatune.cli.terminal import announce_imports, errors_as_json, print_json, say, write, write_raw


def card(
    name: Annotated[str, typer.Argument(help="Name of the card.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="Draft a card for this file, or for a run's rows.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Measure the card's files again.")] = False,
    export: Annotated[
        Literal["hub", "croissant"] | None,
        typer.Option(help="Print it as the hub's metadata, or as Croissant.", show_default=False),
    ] = None,
) -> None:
    """Show a card's path, draft a card for a file, bring its hashes and counts up to date, or print it for others."""
    from llamatune.data.read.cards import draft_card, update_card
    from llamatune.recipe.cards import find_card_file

    if source is not None:
        write(sys.stdout, str(draft_card(source, Path("data_cards"), name=name)))
    elif update:
        write(sys.stdout, str(update_card(name, Path())))
    elif export is not None:
        from llamatune.hub.data_card import croissant, hub_metadata
        from llamatune.recipe.cards import find_card
        from llamatune.recipe.parsing.yaml import to_yaml

        found = find_card(name, Path())
        if export == "croissant":
            print_json(croissant(found))
        else:
            write(sys.stdout, f"---\n{to_yaml(hub_metadata(found))}---")
    else:
        write(sys.stdout, str(find_card_file(name, Path())))


def check(
    name: Annotated[str, typer.Argument(help="Name of the card.")], as_json: JsonOption = False
) -> None:
    """Verify a card, its files' hashes, and that every row can be used."""
    from llamatune.data.read.cards import check_card

    with errors_as_json(as_json):
        checked = check_card(name, Path())
    if as_json:
        print_json(checked.to_json())
    else:
        for line in checked.lines():
            write(sys.stdout, line)


def preview(
    recipe: Annotated[str, typer.Argument(help="A recipe, or a data file.")],
    overrides: OverridesArgument = None,
    rows: Annotated[int, typer.Option(help="How many rows.", min=1)] = 3,
    template: Annotated[str, typer.Option(help="Chat template, for a data file.")] = "tokenizer",
    base: Annotated[str, typer.Option(help="Base whose tokenizer is used, for a data file.")] = "pico",
    allow_outside: AllowOutside = False,
) -> None:
    """Show rows as the model will see them, with the trained tokens marked."""
    from llamatune.commands.preview import preview_rows, recipe_for_file
    from llamatune.recipe.load import load_stage
    from llamatune.recipe.shipped import find_recipe

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if recipe.endswith((".yaml", ".yml")) or not Path(recipe).is_file():
        loaded = load_stage(recipe, overrides or (), allow_outside=allow_outside)
        folder = find_recipe(recipe).parent
    else:
        loaded, folder = recipe_for_file(Path(recipe), base=base, template=template), Path()
    announce_imports()
    write_raw(sys.stdout, preview_rows(loaded, folder, rows, colour=colour, say=say))
