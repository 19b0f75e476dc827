"""Train: run a recipe or a pipeline, and make the page about a run again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llamatune.cli.options import (
    AllowOutside,
    ForceResumeOption,
    FromOption,
    OnlyOption,
    OverridesArgument,
    OverwriteOption,
    RecipeArgument,
    ResumeOption,
)
from llamatune.cli.terminal import announce_imports, say, write
from llamatune.wording import in_shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llamatune.recipe.graph.steps import Pipeline


def run(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = "auto",
    force_resume: ForceResumeOption = None,
    allow_outside: AllowOutside = False,
    start: FromOption = None,
    only: OnlyOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Of a pipeline: say which steps would run, and why. Runs nothing."),
    ] = False,
) -> None:
    """Run a recipe's stage or a pipeline's steps, or resume them; prints what was made."""
    from llamatune.errors import StoppedError
    from llamatune.launch.meeting import part_processes
    from llamatune.pipeline import run as run_recipe
    from llamatune.recipe.graph.steps import Pipeline
    from llamatune.recipe.load import load
    from llamatune.recipe.recipes import STAGES
    from llamatune.recipe.shipped import find_recipe
    from llamatune.runs.ranks import is_main

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
    then = STAGES[loaded.stage].then.format(run=in_shell(loaded.output))
    say(f"{result.describe()}; report: {loaded.output}/report.html; {then}")
    write(sys.stdout, f"{loaded.output}/{result.artefact}")


def launch(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    devices: Annotated[
        int | None,
        typer.Option(help="Processes on this machine; one a GPU when left out.", min=1, show_default=False),
    ] = None,
    nodes: Annotated[int, typer.Option(help="How many machines.", min=1)] = 1,
    node_rank: Annotated[
        int | None, typer.Option(help="Which of them this one is, from 0.", min=0, show_default=False)
    ] = None,
    rendezvous: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where they meet: the first one, a free port.", show_default=False
        ),
    ] = None,
    job: Annotated[str, typer.Option(help="Tells apart runs that meet at the same port.")] = "llamatune",
    wait: Annotated[float, typer.Option(help="Seconds in which all machines have to come.", min=1)] = 120,
    restarts: Annotated[
        int, typer.Option(help="How often to go on by itself after a process died.", min=0)
    ] = 0,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Write a file for sbatch, and print how to submit it.")
    ] = False,
    time: Annotated[str, typer.Option(help="With --slurm: the limit, as sbatch takes it.")] = "24:00:00",
    overwrite: OverwriteOption = False,
    resume: ResumeOption = "auto",
    force_resume: ForceResumeOption = None,
    allow_outside: AllowOutside = False,
    start: FromOption = None,
    only: OnlyOption = None,
) -> None:
    """Run a recipe in several processes, on this machine or on several; or write a file for Slurm."""
    from llamatune.commands.launch import Asked, launch_recipe, write_for_slurm

    options: dict[str, list[str | None]] = {
        "--from": [start],
        "--only": [*(only or [])],
        "--force-resume": [*(force_resume or [])],
    }
    handed = [word for name, values in options.items() for one in values if one for word in (name, one)]
    flags = {"--overwrite": overwrite, "--allow-outside": allow_outside, "--resume=none": resume == "none"}
    asked = Asked(
        recipe,
        tuple(overrides or ()),
        (*handed, *(name for name, on in flags.items() if on)),
        allow_outside=allow_outside,
        devices=devices,
        nodes=nodes,
        restarts=restarts,
        wait=wait,
    )
    if slurm:
        write(sys.stdout, write_for_slurm(asked, time=time))
        return
    sys.exit(launch_recipe(asked, node_rank, rendezvous, job, say=say))


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
    from llamatune.runs.report.page import write_report

    write(sys.stdout, str(write_report(directory)))
