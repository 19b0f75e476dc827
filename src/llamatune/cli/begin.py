"""Begin: a recipe to start from, and what this machine has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llamatune.cli.options import JsonOption
from llamatune.cli.terminal import announce_imports, say, write
from llamatune.wording import in_shell

if TYPE_CHECKING:
    from llamatune.recipe.stages.common import Tuning


def init(
    output: Annotated[Path, typer.Option(help="Recipe file to write.")] = Path("recipe.yaml"),
    stage: Annotated[
        str | None,
        typer.Option(
            help="Any stage, such as evaluate; pretrain, sft, reward or ppo by the data when left out.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="Base model: pico, a folder, or a hub id.")] = "pico",
    data: Annotated[Path | None, typer.Option(help="Your data; its format is recognised.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="What the recipe is to say of your data, as YAML: 'columns: {prompt: q, completion: a}'.",
            show_default=False,
        ),
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Train a LoRA adapter (sft's default).")] = False,
    qlora: Annotated[bool, typer.Option("--qlora", help="LoRA on a 4-bit base.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Train all weights (pretrain's default).")] = False,
) -> None:
    """Write a commented recipe to start from."""
    from llamatune.commands.init import write_recipe

    flags: dict[Tuning, bool] = {"lora": lora, "qlora": qlora, "full": full}
    chosen = [name for name, on in flags.items() if on]
    if len(chosen) > 1:
        raise typer.BadParameter("give one of --lora, --qlora and --full")
    tuning = chosen[0] if chosen else None
    if source is not None and data is None:
        raise typer.BadParameter("--source says something of --data, which is missing")
    if data is not None:
        announce_imports()
    write_recipe(output, stage=stage, base=base, data=data, tuning=tuning, source=source, say=say)


def recipes(
    name: Annotated[str | None, typer.Argument(help="A shipped recipe to copy.", show_default=False)] = None,
    copy: Annotated[
        Path | None, typer.Option(help="Copy the recipe to this file, to change it.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the shipped recipes, or copy one to start from."""
    import json
    import shutil

    from llamatune.commands.recipes import as_records, copy_recipe, listed_recipes, recipes_table
    from llamatune.recipe.parsing.yaml import read_text
    from llamatune.recipe.shipped import find_recipe

    if copy is not None:
        if name is None:
            raise typer.BadParameter("name the recipe to copy: llamatune recipes pico/sft --copy mine.yaml")
        say(f"wrote {copy_recipe(name, copy)}; next: llamatune run {in_shell(copy)}")
    elif name is not None:
        write(sys.stdout, read_text(find_recipe(name)), end="")
    else:
        listed = listed_recipes()
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        text = json.dumps(as_records(listed), indent=2) if as_json else recipes_table(listed, width)
        write(sys.stdout, text)


def doctor(as_json: JsonOption = False) -> None:
    """Print versions, devices, where things are kept, and what is missing."""
    import json

    from llamatune.commands.doctor import diagnose
    from llamatune.commands.doctor import report as report_on

    found = diagnose()
    write(sys.stdout, json.dumps(found, indent=2) if as_json else report_on(found))
