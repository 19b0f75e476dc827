"""Ask people: the page on which they compare replies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from llamatune.cli.options import BaseOption, JsonOption, paths_beginning
from llamatune.cli.terminal import errors_as_json, print_json, say, write


def annotate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_FILE",
            help="A run that waits for labels, a file of pairs, or a model that answers what is asked.",
            autocompletion=paths_beginning,
        ),
    ],
    session: Annotated[
        Literal["helpfulness", "safety"],
        typer.Option(help="What is judged; safety also asks which replies are safe."),
    ] = "helpfulness",
    scale: Annotated[
        Literal["grades", "seven"] | None,
        typer.Option(
            help="Forced choice in four grades, or seven points; seven for runs of stage evaluate.",
            show_default=False,
        ),
    ] = None,
    each: Annotated[
        int | None,
        typer.Option(help="How many people judge each pair; everybody all, when left out.", min=1),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Who answers what annotators write; the chat goes on from the chosen reply."),
    ] = None,
    other: Annotated[
        str | None, typer.Option(help="The other variant; the same model when left out.")
    ] = None,
    base: BaseOption = None,
    temperature: Annotated[float, typer.Option(help="Of the first variant.", min=0, max=5)] = 0.7,
    other_temperature: Annotated[float, typer.Option(help="Of the other one.", min=0, max=5)] = 1.3,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling, of both.", min=0.01, max=1)] = 0.95,
    max_new_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.", min=1)] = 256,
    guidelines: Annotated[
        Path | None, typer.Option(help="A text file to show in place of llamatune's own guidelines.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the database and the files; annotations/NAME when left out."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Licence of the rows, for their data card, as the hub writes it."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of this machine; 8642, or a free one.", min=0, max=65535)
    ] = None,
    only_export: Annotated[
        bool, typer.Option("--export", help="Write the files from what was said so far; serve nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve a page on which people compare replies, blind; writes preferences.jsonl, or the labels a run waits for."""
    from llamatune.annotation.annotate import Wishes, annotate

    wishes = Wishes(
        session,
        scale,
        each,
        model,
        other,
        base,
        temperature,
        other_temperature,
        top_p,
        max_new_tokens,
        guidelines=guidelines,
        output=output,
        licence=licence,
        port=port,
        only_export=only_export,
    )

    def started(address: str) -> None:
        say("open this address in a browser of this machine; Ctrl-C ends, and whatever was clicked is kept:")
        write(sys.stderr if as_json else sys.stdout, address)

    with errors_as_json(as_json):
        done, folder = annotate(what, wishes, say, started)
    if as_json:
        print_json(done.figures)
    else:
        write(sys.stdout, str(folder / "preferences.jsonl"))
