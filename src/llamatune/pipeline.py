"""From a loaded recipe to a finished run, and from a loaded pipeline to the runs of all its steps.

A step of a pipeline is an ordinary run. It is done while it would be made from the same recipe, data and models again;
so a change deep in the graph makes those steps run again that depend on it, and no others: where a step comes out the
same, to the byte, what takes from it is done as before.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from llamatune.errors import RecipeError
from llamatune.forward.memory import no_memory_left, ran_out_of_memory
from llamatune.launch.meeting import meet, wait_for_all
from llamatune.launch.side_by_side import OneByOne, SideBySide, UnderWay
from llamatune.launch.watch import watched
from llamatune.models.facts import facts_of
from llamatune.models.found import check_models
from llamatune.models.quiet import quiet_upstream, without_hub_kernels
from llamatune.recipe.graph.steps import Pipeline, Step
from llamatune.recipe.parsing.problems import did_you_mean
from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs.display import Display
from llamatune.runs.due import Doing, Due, Standing, depending, due
from llamatune.runs.files import disk_errors
from llamatune.runs.handover import Result
from llamatune.runs.lock import RunLock
from llamatune.runs.opening import Resume, open_run, standing_of
from llamatune.runs.pipelines import PipelineRecord
from llamatune.runs.ranks import is_main, processes
from llamatune.runs.run import Run


def run(
    recipe: StageRecipe | Pipeline,
    *,
    recipe_dir: Path = Path(),
    overwrite: bool = False,
    resume: Resume = "auto",
    force: Collection[str] = (),
) -> Result:
    """Run a recipe's stage, or all steps of a pipeline; or resume where an earlier process stopped.

    Args:
        recipe: from `llamatune.load(path)`.
        recipe_dir: where data cards beside the recipe are looked for.
        overwrite: replace a finished run in the recipe's `output`; of a pipeline, those of all steps.
        resume: `auto` resumes from the newest valid checkpoint, `none` starts again.
        force: facts that may differ from those the run was started with, such as `optimization.epochs`.

    Returns:
        What `result.json` holds, of a pipeline that of its last step. A run that had finished before, and would be made
        from the same recipe, data and models again, is not run again: its result has `earlier` set.

    Raises:
        LlamatuneError: bad input, with place, reason and hint, before anything is spent; or what ended the run.
        StoppedError: a signal asked the run to stop; call again to go on.
    """
    if isinstance(recipe, Pipeline):
        return run_steps(recipe, overwrite=overwrite, resume=resume, force=force)[recipe.steps[-1].name]
    check_models(recipe, beside=recipe_dir)
    notices = meet(recipe, lambda: facts_of(recipe, recipe_dir))
    with open_run(
        recipe,
        recipe_dir=recipe_dir,
        facts=lambda: facts_of(recipe, recipe_dir),
        overwrite=overwrite,
        resume=resume,
        force=force,
    ) as target:
        target.notices += [*notices, *_fewer_than_asked(recipe)]
        return target.done or _run_stage(recipe, target)


def _fewer_than_asked(recipe: StageRecipe) -> list[str]:
    devices = recipe.hardware.devices or 1
    if devices == 1 or processes() > 1:
        return []
    return [f"`hardware.devices` is {devices}, and this is one process: `llamatune launch` starts as many"]


@quiet_upstream()
def _run_stage(recipe: StageRecipe, target: Run) -> Result:
    stage = import_module(f"llamatune.stages.{recipe.stage}")
    with watched(target.position, recipe.hardware.stuck_after_minutes * 60, target.lost):
        try:
            result: Result = stage.run(recipe, target)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            raise no_memory_left(error) from error
    return result


# ---- steps ----------------------------------------------------------------------------------------------------


def chosen_steps(pipeline: Pipeline, start: str | None, only: Collection[str]) -> frozenset[str]:
    """The steps that may run.

    Args:
        start: this step, and all that depend on it; all when None.
        only: these steps; all when empty. A step of rounds is named as round-2/NAME, or as NAME for all rounds.

    Raises:
        RecipeError: E064, there is no such step.
    """
    found = frozenset(pipeline.needs)
    if start is not None:
        below = [depending(pipeline.needs, name) for name in _called(pipeline, start)]
        found &= frozenset().union(*below)
    if only:
        found &= {name for one in only for name in _called(pipeline, one)}
    return found


def _called(pipeline: Pipeline, name: str) -> list[str]:
    found = [known for known in pipeline.needs if name in (known, known.rpartition("/")[2])]
    if not found:
        hint = did_you_mean(name, pipeline.needs) or f"the steps are {', '.join(pipeline.needs)}"
        raise RecipeError("E064", f"the pipeline has no step `{name}`", place=pipeline.output, hint=hint)
    return found


def due_steps(
    pipeline: Pipeline, chosen: Collection[str] | None = None, *, overwrite: bool = False
) -> dict[str, Due]:
    """What a start would do with each step, and why. Nothing is written, and torch stays unimported.

    Raises:
        LlamatuneError: data or models that steps begin with are not there.
    """
    standing: dict[str, Standing] = {}
    for step in pipeline.steps:
        made = all(standing[name] == Standing("finished") for name in step.needs)
        standing[step.name] = _standing(step, made, overwrite and (chosen is None or step.name in chosen))
    return due(pipeline.needs, standing, chosen)


def _standing(step: Step, made: bool, overwrite: bool) -> Standing:
    """`made`: whether all that it takes is there, and stays."""
    found = standing_of(step.recipe, (lambda: facts_of(step.recipe, step.folder)) if made else None)
    if overwrite and found.state == "finished" and not found.changed:
        return Standing("finished", ("--overwrite",))
    return found


def run_steps(
    pipeline: Pipeline,
    *,
    chosen: Collection[str] | None = None,
    overwrite: bool = False,
    resume: Resume = "auto",
    force: Collection[str] = (),
) -> dict[str, Result]:
    """Run the steps of a pipeline that are not done, each after those that it needs.

    Args:
        chosen: from `chosen_steps`; the others are left as they are.
        overwrite: run the chosen steps again although they are done.
        resume, force: as in `run`.

    Returns:
        The result of each step that has finished.

    Raises:
        RecipeError: E031, a step's folder holds a run that the pipeline did not begin, and that is out of date; E064,
            what a chosen step takes is not there.
        LlamatuneError: what ended a step.
    """
    may = frozenset(pipeline.needs if chosen is None else chosen)
    results: dict[str, Result] = {}
    left = dict(enumerate(pipeline.steps, 1))
    _check_inputs(pipeline, may)
    with (
        Display("pipeline", quiet=not is_main()) as display,
        _opened(pipeline, display.say) as record,
        _under_way(pipeline, display.say) as steps,
    ):
        while left or steps.busy:
            waits = {step.name for step in left.values()} | steps.names
            number = next((at for at, step in left.items() if not waits & set(step.needs)), None)
            if number is None or not steps.free:
                ended = steps.next_ended()
                results[ended.name] = ended.result
                record.end(ended.name, ended.seconds)
                display.say(f"step {ended.name}: {ended.result.describe()}")
                continue
            step = left.pop(number)
            found = _due_now(step, may, overwrite)
            if not found.doing.runs:
                known = Result.read(Path(step.recipe.output))
                if known is not None:
                    results[step.name] = known
                    record.reuse(step.name)
                continue
            _check_ours(step, found, record)
            why = f": {found.why}" if found.why else ""
            display.say(f"step {number} of {len(pipeline.steps)}, {step.name}: {found.doing.value}{why}")
            record.begin(step.name, found)
            again = found.doing is Doing.AGAIN
            how: Resume = "none" if again and not force else resume
            steps.start(step.name, partial(_run_step, step, overwrite=again, resume=how, force=force))
    return results


@contextmanager
def _under_way(pipeline: Pipeline, say: Callable[[str], None]) -> Iterator[UnderWay]:
    """Raises RecipeError, E025: several processes run each step, and side by side as well."""
    if pipeline.recipe.side_by_side == 1:
        yield OneByOne()
        return
    if processes() > 1:
        raise RecipeError(
            "E025",
            f"`side_by_side` is {pipeline.recipe.side_by_side}, and {processes()} processes run each step",
            place="side_by_side",
            why="each process would start all steps",
            hint="set `side_by_side` to 1, or use `llamatune run`",
        )
    on_cpu = all(step.recipe.hardware.device == "cpu" for step in pipeline.steps)
    with SideBySide(pipeline.recipe.side_by_side, Path(pipeline.output), say, cpu=on_cpu) as steps:
        yield steps


def _run_step(step: Step, **how: Any) -> Result:
    with without_hub_kernels():
        result = run(step.recipe, recipe_dir=step.folder, **how)
    # What the first process writes is there for all, before the next step reads it.
    wait_for_all()
    _give_back()
    return result


def _due_now(step: Step, chosen: Collection[str], overwrite: bool) -> Due:
    """What becomes of a step once all that it needs has been made."""
    may = step.name in chosen
    standing = _standing(step, made=may, overwrite=overwrite and may)
    return due({step.name: ()}, {step.name: standing}, chosen)[step.name]


def _check_inputs(pipeline: Pipeline, chosen: Collection[str]) -> None:
    """What the chosen steps take from others is there. Raises RecipeError (E064)."""
    there = {step.name: Result.read(Path(step.recipe.output)) is not None for step in pipeline.steps}
    for step in pipeline.steps:
        missing = [name for name in step.needs if name not in chosen and not there[name]]
        if step.name in chosen and missing:
            raise RecipeError(
                "E064",
                f"the step `{step.name}` takes from `{missing[0]}`, which has not finished",
                place=step.recipe.output,
                hint=f"leave --only and --from out, or begin with `--from {missing[0]}`",
            )


def _check_ours(step: Step, found: Due, record: PipelineRecord) -> None:
    if found.doing is Doing.AGAIN and step.name not in record.begun:
        raise RecipeError(
            "E031",
            f"`{step.recipe.output}` holds a run that the pipeline did not begin, and that is out of date: {found.why}",
            place=step.recipe.output,
            hint="move it away, or name another `output` for the pipeline",
        )


@contextmanager
def _opened(pipeline: Pipeline, say: Callable[[str], None]) -> Iterator[PipelineRecord]:
    """The pipeline's folder, held by this process; however it ends, the report says how far it came."""
    folder = Path(pipeline.output)
    record = PipelineRecord.read(folder)
    if not is_main():
        record.open(pipeline)
        yield record
        return
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = RunLock.take(folder)
    try:
        record.open(pipeline)
        yield record
    finally:
        try:
            record.write()
            _report(folder, say)
        finally:
            lock.release()


def _report(folder: Path, say: Callable[[str], None]) -> None:
    """The page about the pipeline; if it fails, the pipeline must not."""
    from llamatune.runs.report.page import write_report

    try:
        write_report(folder)
    except Exception as error:
        say(f"warning: report.html could not be written: {type(error).__name__}: {error}")


def _give_back() -> None:
    """Free the memory of a step before the next one."""
    gc.collect()
    # The C library keeps what was freed, in pieces: without this, a step begins with a third more than alone.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def tree_of(pipeline: Pipeline, found: dict[str, Due]) -> Iterator[str]:
    """The steps as lines: what becomes of each, and what it takes from."""
    for step in pipeline.steps:
        takes = f" <- {', '.join(step.needs)}" if step.needs else ""
        one = found[step.name]
        why = f" ({one.why})" if one.why else ""
        yield f"{step.name} [{step.recipe.stage}]{takes}: {one.doing.value}{why}"
