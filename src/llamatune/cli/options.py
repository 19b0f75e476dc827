"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

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
