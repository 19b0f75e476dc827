"""Train: run a recipe or a pipeline, and make the page about a run again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llamatune.cli.options import AllowOutside, OverridesArgument, RecipeArgument
from llamatune.cli.terminal import announce_imports, say, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llamatune.recipe.graph.steps import Pipeline


def run(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished run in `output`.")
    ] = False,
    resume: Annotated[
        Literal["auto", "none"],
        typer.Option(help="Resume an unfinished run where it was saved, or start it again."),
    ] = "auto",
    force_resume: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Resume although KEY has changed; repeatable.", show_default=False),
    ] = None,
    allow_outside: AllowOutside = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STEP", help="Of a pipeline: only this step and all that depend on it."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="STEP", help="Of a pipeline: only this step; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Of a pipeline: say which steps would run, and why. Runs nothing."),
    ] = False,
) -> None:
    """Run a recipe's stage or a pipeline's steps, or resume them; prints what was made."""
    from llamatune.errors import StoppedError
    from llamatune.pipeline import run as run_recipe
    from llamatune.recipe.graph.steps import Pipeline
    from llamatune.recipe.load import load
    from llamatune.recipe.recipes import STAGES
    from llamatune.recipe.shipped import find_recipe
    from llamatune.runs.ranks import is_main, part_processes

    loaded = load(recipe, overrides or (), allow_outside=allow_outside)
    how: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "force": force_resume or ()}
    try:
        if isinstance(loaded, Pipeline):
            _run_pipeline(loaded, start, only or (), dry_run=dry_run, how=how)
            part_processes()
            return
        if start or only or dry_run:
            raise typer.BadParameter("--from, --only and --dry-run are for pipelines")
        announce_imports()
        result = run_recipe(loaded, recipe_dir=find_recipe(recipe).parent, **how)
    except StoppedError:
        part_processes()
        raise
    part_processes()
    if not is_main():
        return  # the first process of a distributed run speaks for all
    then = STAGES[loaded.stage].then.format(run=loaded.output)
    say(f"{result.describe()}; report: {loaded.output}/report.html; {then}")
    write(sys.stdout, f"{loaded.output}/{result.artefact}")


def _run_pipeline(
    pipeline: Pipeline, start: str | None, only: Sequence[str], *, dry_run: bool, how: dict[str, Any]
) -> None:
    from llamatune.pipeline import chosen_steps, due_steps, run_steps, tree_of
    from llamatune.runs.ranks import is_main
    from llamatune.runs.report.steps import version_lines
    from llamatune.wording import counted

    chosen = chosen_steps(pipeline, start, only)
    if dry_run:
        for line in tree_of(pipeline, due_steps(pipeline, chosen, overwrite=how["overwrite"])):
            write(sys.stdout, line)
        return
    results = run_steps(pipeline, chosen=chosen, **how)
    if not is_main():
        return
    ran = sum(not result.earlier for result in results.values())
    for line in version_lines(Path(pipeline.output)):
        say(line)
    steps = f"{counted(ran, 'step')} ran, {len(results) - ran:,} of {len(pipeline.steps):,} had been done"
    say(f"{steps}; report: {pipeline.output}/report.html")
    for step in pipeline.steps:
        if step.name in results:
            write(sys.stdout, f"{step.recipe.output}/{results[step.name].artefact}")


def report(
    directory: Annotated[Path, typer.Argument(help="A run directory, finished or not.")],
) -> None:
    """Make a run's report.html again, from the files in its directory."""
    from llamatune.runs.report import write_report

    write(sys.stdout, str(write_report(directory)))
