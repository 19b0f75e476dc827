"""Take it away: to the hub, and from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llamatune.cli.options import BaseOption
from llamatune.cli.terminal import announce_imports, say, write


def push(
    run: Annotated[str, typer.Argument(help="A finished run; with --dataset one that made rows.")],
    name: Annotated[str, typer.Argument(help="Where to, as the hub calls it: org/name.")],
    dataset: Annotated[
        bool, typer.Option("--dataset", help="Push the rows that a stage made, as a data set.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Push the merged model in place of the adapter.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            help="The hub's name of a base that was a folder here: org/name, or org/name@COMMIT.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the result, as the hub writes it; that of the base when left out.",
            show_default=False,
        ),
    ] = None,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A run of stage evaluate that judged it, for the card; repeatable.",
            show_default=False,
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private/--public", help="Who may see a repository that is new.")
    ] = True,
    revision: Annotated[
        str | None, typer.Option(help="Push to this branch, made where it is missing.", show_default=False)
    ] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make it all ready and show what would go; send nothing.")
    ] = False,
) -> None:
    """Push what a run made to the hub, with a card made from the run."""
    from llamatune.errors import RecipeError

    target = (name, "dataset" if dataset else "model", private, revision, pr)
    if dataset and (merge or base or evaluation):
        what = "`--merge`, `--base` and `--evaluation` are for models, and `--dataset` is for rows"
        raise RecipeError("E507", what)
    announce_imports()
    from llamatune.hub.dataset import push_rows
    from llamatune.hub.push import Target, push

    if dataset:
        pushed = push_rows(run, Target(*target), licence=licence, dry_run=dry_run, say=say)
    else:
        pushed = push(
            run,
            Target(*target),
            merge=merge,
            base=base,
            licence=licence,
            evaluations=evaluation or (),
            dry_run=dry_run,
            say=say,
        )
    write(sys.stdout, pushed)


def pull(
    name: Annotated[str, typer.Argument(help="What the hub calls it: org/name, or org/name@REVISION.")],
    dataset: Annotated[bool, typer.Option("--dataset", help="A data set, not a model.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="A branch, a tag or a commit.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Copy it to this folder; the cache holds it in either case.", show_default=False),
    ] = None,
) -> None:
    """Download a model, an adapter with its base, or a data set from the hub, and say what it is."""
    from llamatune.hub.pull import pull

    write(sys.stdout, str(pull(name, dataset=dataset, revision=revision, output=output, say=say)))


def export(
    run: Annotated[str, typer.Argument(help="A finished run, an adapter, a model folder or a hub id.")],
    ollama: Annotated[
        bool, typer.Option("--ollama", help="Write a folder with a Modelfile, for `ollama create`.")
    ] = False,
    vllm: Annotated[bool, typer.Option("--vllm", help="Print the line with which vLLM serves it.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write; RUN-ollama when left out.", show_default=False)
    ] = None,
    base: BaseOption = None,
) -> None:
    """Take a model to another program: a folder for Ollama, or the line with which vLLM serves it."""
    if ollama == vllm:
        raise typer.BadParameter("give one of --ollama and --vllm")
    announce_imports()
    from llamatune.hub.export import export_ollama, vllm_line

    if vllm:
        write(sys.stdout, vllm_line(run, base=base))
        return
    folder = output or Path(f"{run.rstrip('/')}-ollama")
    for line in export_ollama(run, folder, base=base, say=say):
        write(sys.stdout, line)
