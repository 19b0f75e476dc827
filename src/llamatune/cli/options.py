"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def recipes_beginning(incomplete: str) -> list[str]:
    """What the shell may complete a recipe's name to: shipped recipes, and recipe files and folders here."""
    from llamatune.recipe.shipped import shipped_recipes

    here = [name for name in paths_beginning(incomplete) if name.endswith(("/", ".yaml", ".yml"))]
    return sorted({*here, *(name for name in shipped_recipes() if name.startswith(incomplete))})


def paths_beginning(incomplete: str) -> list[str]:
    """What the shell may complete a path to; folders end with a slash."""
    from pathlib import Path

    above, slash, begun = incomplete.rpartition("/")
    folder = Path(above + slash)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        f"{above}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(begun) and (begun or not path.name.startswith("."))
    ]


RecipeArgument = Annotated[
    str,
    typer.Argument(
        help="Recipe file, or a shipped recipe such as pico/sft.", autocompletion=recipes_beginning
    ),
]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(help="Overrides such as optimization.epochs=3.", show_default=False)
]
AllowOutside = Annotated[
    bool, typer.Option("--allow-outside", help="Let relative paths leave the working directory.")
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        help="The adapter's base, if it cannot be found under the name noted with the adapter.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a finished run in `output`.")]
ResumeOption = Annotated[
    Literal["auto", "none"],
    typer.Option(help="Resume an unfinished run where it was saved, or start it again."),
]
ForceResumeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Resume although KEY has changed; repeatable.", show_default=False),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="STEP", help="Of a pipeline: only this step and all that depend on it."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="STEP", help="Of a pipeline: only this step; repeatable."),
]
