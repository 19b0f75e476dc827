"""Open a run directory: lock it, and decide whether to start, to go on or to do nothing.

What was begun is compared with what is asked for, recipe and facts alike: a finished run is done only if it would be
made from the same things again, and an unfinished one goes on only as the training that it began as.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from llamatune.errors import CheckpointError, DiskError, LlamatuneError, RecipeError, StoppedError
from llamatune.recipe.load import dump
from llamatune.recipe.paths import FINISHED, MARKER, check_output
from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs import checkpoints
from llamatune.runs.checkpoints import Checkpoint
from llamatune.runs.due import Standing
from llamatune.runs.files import REPORT, cut_back, cut_torn_line, disk_errors, remove, sweep, write_atomic
from llamatune.runs.handover import (
    ALL_SAMPLES,
    ASKED,
    COMPARISONS,
    CONVERSATIONS,
    PREFERENCES,
    PREFERENCES_TEST,
    Result,
)
from llamatune.runs.lock import RunLock
from llamatune.runs.manifest import (
    check_same,
    differences,
    flatten,
    known_then,
    must_match,
    of_blocks,
    read_manifest,
)
from llamatune.runs.run import ARTEFACTS, GROWING, Run, sizes_at
from llamatune.runs.signals import StoppedEarly
from llamatune.runs.status import Status
from llamatune.shown import masked

Resume = Literal["auto", "none"]
Facts = Callable[[], Mapping[str, Any]]
"""Gathers what a run is made from in addition to its recipe, as far as that is known before anything is loaded; called
only where there is something to compare it with."""

_FILES = (
    FINISHED,
    "manifest.json",
    "data.json",
    "preview.json",
    "evaluation.json",
    "nonfinite.json",
    REPORT,
    "events.jsonl",
    CONVERSATIONS,
    PREFERENCES,
    PREFERENCES_TEST,
    COMPARISONS,
    ALL_SAMPLES,
    ASKED,
    *GROWING,
)
_FOLDERS = (*ARTEFACTS, "data_cards")
_MADE_LAST = (*ARTEFACTS, FINISHED)
_UNREADABLE = ", which says what it was made from, cannot be read"
_SHOWN = 12
"""How many differences a message lists."""


@contextmanager
def open_run(
    recipe: StageRecipe,
    *,
    recipe_dir: Path,
    facts: Facts = dict,
    overwrite: bool = False,
    resume: Resume = "auto",
    force: Collection[str] = (),
) -> Iterator[Run]:
    """Lock the directory and decide whether to start, to go on or to do nothing.

    Args:
        recipe: what to run.
        recipe_dir: where data cards beside the recipe are looked for.
        facts: see `Facts`.
        overwrite: replace a finished run.
        resume: `none` starts again where `auto` would go on from the newest valid checkpoint.
        force: facts that may differ from those the run was started with.

    Raises:
        RecipeError: the directory holds something else, a finished run of another recipe or made from other data or
            models, or an unfinished run of something else; or another process works in it.
        CheckpointError: there are checkpoints, and none of them can be trusted.
        DiskError: the directory cannot be written.
        StoppedError: a signal asked the run to stop while inside.
        LlamatuneError: what gathering the facts raises.
    """
    run = Run(recipe, recipe_dir, force)
    check_output(run.directory)
    if not run.is_main:
        if not overwrite:
            run.done = _done(run, facts)
        with run.stop.listening(), _ending(run):
            yield run
        return
    with disk_errors(run.directory):
        run.directory.mkdir(parents=True, exist_ok=True)
    run.lock = RunLock.take(run.directory)
    try:
        sweep(run.directory)
        if not overwrite:
            run.done = _done(run, facts)
        if run.done is not None:
            _complete(run)
            yield run
            return
        _start_or_go_on(run, facts, resume)
        run.status.begin(run.checkpoint.step if run.checkpoint else 0)
        run.stop.give_up = partial(_end, run, "stopped", 130, "interrupted at once by a second Ctrl-C")
        with run.stop.listening():
            try:
                with _ending(run):
                    yield run
            finally:
                with run.stop.waiting():
                    _report(run)
    finally:
        run.lock.release()


# ---- done -------------------------------------------------------------------------------------------------


def _done(run: Run, facts: Facts) -> Result | None:
    """The result of a finished run that would be made from the same things again.

    Raises:
        RecipeError: it was made from something else.
    """
    result = _result(run)
    if result is None:
        return None
    changes = _changes(run.recipe, facts)
    if changes is None:
        raise _finished(run, f"and its manifest.json{_UNREADABLE}")
    if changes:
        more = f"; and {len(changes) - _SHOWN:,} more" if len(changes) > _SHOWN else ""
        raise _finished(run, f"which was made from something else: {'; '.join(changes[:_SHOWN])}{more}")
    return result


def standing_of(recipe: StageRecipe, facts: Facts | None) -> Standing:
    """How far the run in a recipe's output has come, and what has changed since.

    Args:
        facts: None where they cannot be known yet, since what the recipe names has to be made first.

    Raises:
        LlamatuneError: what gathering the facts raises.
    """
    directory = Path(recipe.output)
    if not (directory / MARKER).is_file():
        return Standing("absent")
    changes = _changes(recipe, facts)
    if Result.read(directory) is None:
        return Standing("unfinished", tuple(changes or ()))
    return Standing("finished", (f"manifest.json{_UNREADABLE}",) if changes is None else tuple(changes))


def _changes(recipe: StageRecipe, facts: Facts | None) -> list[str] | None:
    """What a run was made from and would not be made from now, as `key: old -> new`; None where it does not say."""
    manifest = read_manifest(Path(recipe.output))
    if manifest is None:
        return None
    other = differences(manifest["recipe"], must_match(flatten(recipe.model_dump())))
    # What other recipes name need not even be there.
    if not other and facts is not None:
        now = facts()
        other = differences(of_blocks(manifest["facts"], now), known_then(manifest["facts"], now))
    return [f"{key}: {change}" for key, change in other.items()]


def _finished(run: Run, which: str) -> RecipeError:
    return RecipeError(
        "E031",
        f"output `{run.directory}` already holds a finished run, {which}",
        place="output",
        hint="add --overwrite to run again and replace it, or name another folder",
    )


def _result(run: Run) -> Result | None:
    return Result.read(run.directory) if (run.directory / MARKER).is_file() else None


def _complete(run: Run) -> None:
    """What a process that died after writing its result had left to do."""
    assert run.done is not None
    status = Status.read(run.directory)
    if status.state != "finished" and status.attempts:
        status.complete(run.done.steps)
    if not (run.directory / REPORT).exists():
        _report(run)


# ---- start or go on ---------------------------------------------------------------------------------------


def _start_or_go_on(run: Run, facts: Facts, resume: Resume) -> None:
    run.status = Status.read(run.directory)
    if _result(run) is None and resume == "auto":
        if previous := run.status.previous_end():
            run.notices.append(previous)
        run.checkpoint = _newest_checkpoint(run)
    forced: list[str] = []
    if run.checkpoint is None:
        _clear(run)
    else:
        forced = _check_same(run, facts())
        with disk_errors(run.directory):
            _cut_back(run, run.checkpoint)
    write_atomic(run.directory / MARKER, dump(run.recipe))
    for notice in run.notices:
        run.event("resume", notice)
    run.notices += run.forced_changes(forced)
    if run.lock is not None and run.lock.warning:
        run.event("warning", run.lock.warning)
        run.notices.append(f"warning: {run.lock.warning}")


def _check_same(run: Run, facts: Mapping[str, Any]) -> list[str]:
    """Lines about forced differences from what the run was begun with; one that is not forced raises RecipeError."""
    manifest = read_manifest(run.directory) or {"recipe": {}, "facts": {}}
    recorded = {**manifest["recipe"], **of_blocks(manifest["facts"], facts)}
    now = {**must_match(flatten(run.recipe.model_dump())), **known_then(manifest["facts"], facts)}
    return check_same(recorded, now, forced=run.forced, run=str(run.directory))


def _newest_checkpoint(run: Run) -> Checkpoint | None:
    """Where to resume, with notices about what had to be passed over."""
    found = checkpoints.find_checkpoint(run.checkpoints)
    run.notices += [
        f"{folder.name} is not complete and is removed" for folder in checkpoints.unfinished(run.checkpoints)
    ]
    if found.newest is None and found.damaged:
        raise CheckpointError(
            "E402",
            "no checkpoint can be trusted: " + "; ".join(found.damaged),
            place=str(run.directory / "checkpoints"),
            why="starting from the beginning would silently throw away what was trained",
            hint="restore one from a copy, or start again with --resume none",
        )
    run.notices += [f"{what}; using {found.newest.folder.name}" for what in found.damaged if found.newest]
    if found.newest is not None:
        run.notices.append(f"going on from {found.newest.folder.name}")
    return found.newest


def _clear(run: Run) -> None:
    """Take away what an earlier run in this directory wrote, and nothing else.

    Its checkpoints go first: without its result, a next start would go on from them.
    """
    if not run.notices:
        run.status = Status(run.directory / "run.json")
    with disk_errors(run.directory):
        for folder in checkpoints.complete(run.checkpoints):
            checkpoints.discard(folder)
        for name in ("checkpoints", *_FILES, *_FOLDERS):
            remove(run.directory / name)


def _cut_back(run: Run, checkpoint: Checkpoint) -> None:
    """Drop what was written after the checkpoint, or by a process that died before it said so: those steps will be done
    again."""
    sizes = sizes_at(checkpoint)
    for name in GROWING:
        file, recorded = run.directory / name, sizes.get(name)
        if recorded is None:
            file.unlink(missing_ok=True)
            continue
        there = file.stat().st_size if file.exists() else 0
        if there < recorded:
            run.notices.append(
                f"{name} has {there:,} of {recorded:,} bytes: the lines of some steps are lost"
            )
            cut_torn_line(file)
        else:
            cut_back(file, recorded)
    whole = checkpoints.complete(run.checkpoints)
    for folder in whole[: whole.index(checkpoint.folder)]:
        run.notices.append(f"{folder.name} is set aside as {checkpoints.set_aside(folder).name}")
    # A process that died between a checkpoint and this: the last step may make no other one.
    checkpoints.rotate(run.checkpoints, run.recipe.checkpoint.keep)
    # Of the result, one that could not be read.
    for left in (*checkpoints.unfinished(run.checkpoints), *(run.directory / name for name in _MADE_LAST)):
        remove(left)


# ---- the end ----------------------------------------------------------------------------------------------


@contextmanager
def _ending(run: Run) -> Iterator[None]:
    """However the run ends, run.json says how."""
    try:
        yield
    except StoppedError as error:
        _end(run, "stopped", error.exit_code, error.problems[0].what)
        raise
    except StoppedEarly as early:
        stopped = run.stopped(str(early))
        _end(run, "stopped", stopped.exit_code, stopped.problems[0].what)
        raise stopped from None
    except LlamatuneError as error:
        _end(run, "failed", error.exit_code, error.problems[0].what)
        raise
    except KeyboardInterrupt:
        _end(run, "stopped", 130, "interrupted at once by a second Ctrl-C")
        raise
    except BaseException as error:
        _end(run, "failed", 1, masked(f"{type(error).__name__}: {error}"))
        raise


def _report(run: Run) -> None:
    """The page about the run; if it fails, the run must not."""
    from llamatune.runs.report.page import write_report

    if not run.is_ours:
        return
    try:
        write_report(run.directory)
    except Exception as error:
        with suppress(DiskError):
            run.event("warning", f"report.html could not be written: {type(error).__name__}: {error}")


def _end(run: Run, state: str, exit_code: int, reason: str) -> None:
    if not run.is_main or not run.is_ours:
        return
    # The disk may be what ended the run, and that error is already on its way.
    with suppress(DiskError):
        run.status.end(state, exit_code, reason)
