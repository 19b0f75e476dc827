"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

RecipeArgument = Annotated[str, typer.Argument(help="Recipe file, or a shipped recipe such as pico/sft.")]
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
