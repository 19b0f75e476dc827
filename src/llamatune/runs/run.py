"""The run directory: everything a run was made from, what it learnt, and how to go on with it.

resolved.yaml      the recipe with every default written out; loads back to the same recipe
manifest.json      what the run was made from: recipe, data, base, tokenizer, versions, seed
run.json           who works on it, how far it is, how earlier processes ended
checkpoints/       where the same command goes on (see `checkpoints`)
metrics.jsonl      what was learnt, one JSON object a line; the same over any number of interruptions
speed.jsonl        what the clock and the memory said meanwhile
events.jsonl       resumes, warnings, smaller micro-batches: what a reader of the result should know
data.json          rows kept and left out, by source and reason
preview.json       a few training rows with their trained tokens
data_cards/        draft cards of data files that were named without one
replies.jsonl      sample replies before, during and after training
completions.jsonl  of PPO: each answer of the policy with its scores
evaluation.json    of a reward model: how well it tells the better reply, on each held-out set; of PPO: rewards of
                   held-out prompts over time
adapter/ or model/ the artefact
result.json        written last: its presence says that the run finished
report.html        all of this to look at
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from llamatune.errors import CheckpointError, DiskError, LlamatuneError, RecipeError, StoppedError
from llamatune.recipe.load import check_output, dump
from llamatune.recipe.paths import FINISHED, MARKER
from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs import checkpoints
from llamatune.runs.checkpoints import Checkpoint
from llamatune.runs.files import (
    append_line,
    directory_gone,
    disk_errors,
    free_bytes,
    read_json,
    size,
    sync_file,
    write_atomic,
    write_json,
)
from llamatune.runs.handover import Result
from llamatune.runs.lock import RunLock
from llamatune.runs.manifest import check_same, environment, flatten, must_match
from llamatune.runs.signals import StoppedEarly, StopRequest
from llamatune.runs.status import Status

Resume = Literal["auto", "none"]


_GROWING = ("metrics.jsonl", "speed.jsonl", "replies.jsonl", "completions.jsonl")
"""Files that a resume cuts back to where they were at the checkpoint."""


_FILES = (
    FINISHED,
    "manifest.json",
    "data.json",
    "preview.json",
    "evaluation.json",
    "nonfinite.json",
    "report.html",
    "events.jsonl",
    *_GROWING,
)


_ARTEFACTS = ("adapter", "model")


_FOLDERS = (*_ARTEFACTS, "data_cards", "checkpoints")


class Run:
    """An open run directory; get one from `Run.open`.

    `recipe_dir` is where data cards beside the recipe are looked for; `checkpoint` is where to go on, None for a
    fresh start; `done` is the result of a run that had finished before; `stop` knows of requests to stop.
    Only the first process of a distributed run writes: `is_main` is False in the others.
    """

    def __init__(self, recipe: StageRecipe, recipe_dir: Path, forced: Collection[str]) -> None:
        self.recipe = recipe
        self.directory = Path(recipe.output)
        self.recipe_dir = recipe_dir
        self.is_main = os.environ.get("RANK", "0") == "0"
        self.stop = StopRequest()
        self.status = Status(self.directory / "run.json")
        self.checkpoint: Checkpoint | None = None
        self.done: Result | None = None
        self.notices: list[str] = []
        """What the opening has to tell, for the stage to print."""
        self.checkpoint_bytes = 0
        """What a checkpoint takes at most; known once the model is."""
        self._forced = forced
        self._lock: RunLock | None = None

    @classmethod
    @contextmanager
    def open(
        cls,
        recipe: StageRecipe,
        *,
        recipe_dir: Path,
        overwrite: bool = False,
        resume: Resume = "auto",
        force: Collection[str] = (),
    ) -> Iterator[Run]:
        """Lock the directory and decide whether to start, to go on or to do nothing.

        Args:
            recipe: what to run.
            recipe_dir: where data cards beside the recipe are looked for.
            overwrite: replace a finished run.
            resume: `none` starts again where `auto` would go on from the newest valid checkpoint.
            force: facts that may differ from those the run was started with.

        Raises:
            RecipeError: the directory holds something else, another finished run, or an unfinished run of
                another recipe; or another process works in it.
            CheckpointError: there are checkpoints, and none of them can be trusted.
            DiskError: the directory cannot be written.
            StoppedError: inside, a signal asked the run to stop.
        """
        run = cls(recipe, recipe_dir, force)
        check_output(run.directory)
        if not run.is_main:
            with run.stop.listening(), run._ending():
                yield run
            return
        with disk_errors(run.directory):
            run.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        run._lock = RunLock.take(run.directory)
        try:
            run._decide(overwrite=overwrite, resume=resume)
            if run.done is not None:
                yield run
                return
            run.status.begin(run.checkpoint.step if run.checkpoint else 0)
            with run.stop.listening():
                try:
                    with run._ending():
                        yield run
                finally:
                    with run.stop.waiting():
                        run._report()
        finally:
            run._lock.release()

    # ---- start or go on -----------------------------------------------------------------------------------

    def _decide(self, *, overwrite: bool, resume: Resume) -> None:
        self.status = Status.read(self.directory)
        facts = must_match(flatten(self.recipe.model_dump()))
        manifest = read_json(self.directory / "manifest.json") or {}
        recorded = manifest.get("recipe", {})
        finished = read_json(self.directory / FINISHED) if (self.directory / MARKER).is_file() else None
        if finished is not None and not overwrite:
            if recorded != facts:
                raise RecipeError(
                    "E031",
                    f"output `{self.directory}` already holds a finished run",
                    place="output",
                    hint="add --overwrite to replace it, or name another folder",
                )
            self.done = Result(**finished)
            return
        forced: list[str] = []
        if finished is None and resume == "auto":
            if previous := self.status.previous_end():
                self.notices.append(previous)
            self.checkpoint = self._newest_checkpoint()
        if self.checkpoint is None:
            self._clear()
        else:
            forced = check_same(recorded, facts, forced=self._forced, run=str(self.directory))
            self._cut_back(self.checkpoint)
            self.drop_unfinished()
        write_atomic(self.directory / MARKER, dump(self.recipe))
        for notice in self.notices:
            self.event("resume", notice)
        self.notices += self._forced_changes(forced)

    def _newest_checkpoint(self) -> Checkpoint | None:
        """Where to go on, with notices about what had to be passed over."""
        found = checkpoints.find(self.checkpoints)
        self.notices += [
            f"{folder.name} is not complete and is removed"
            for folder in checkpoints.unfinished(self.checkpoints)
        ]
        if found.newest is None and found.damaged:
            raise CheckpointError(
                "E402",
                "no checkpoint can be trusted: " + "; ".join(found.damaged),
                place=str(self.directory / "checkpoints"),
                why="starting from the beginning without a word would throw away what was trained",
                hint="restore one from a copy, or start again with --resume none",
            )
        self.notices += [
            f"{what}; using {found.newest.folder.name}" for what in found.damaged if found.newest
        ]
        if found.newest is not None:
            self.notices.append(f"going on from {found.newest.folder.name}")
        return found.newest

    def _clear(self) -> None:
        """Take away what an earlier run in this directory wrote, and nothing else."""
        if not self.notices:
            self.status = Status(self.directory / "run.json")
        for name in _FILES:
            (self.directory / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            shutil.rmtree(self.directory / name, ignore_errors=True)

    def _cut_back(self, checkpoint: Checkpoint) -> None:
        """Drop what was written after the checkpoint: those steps will be done again."""
        for name, recorded in checkpoint.about["sizes"].items():
            file = self.directory / name
            there = file.stat().st_size if file.exists() else 0
            if there < recorded:
                self.notices.append(
                    f"{name} has {there:,} of {recorded:,} bytes: the lines of some steps are lost"
                )
            elif file.exists():
                os.truncate(file, recorded)
        for name in set(_GROWING) - set(checkpoint.about["sizes"]):
            (self.directory / name).unlink(missing_ok=True)
        whole = checkpoints.complete(self.checkpoints)
        for folder in whole[: whole.index(checkpoint.folder)]:
            self.notices.append(f"{folder.name} is set aside as {checkpoints.set_aside(folder).name}")
        for name in _ARTEFACTS:  # half written, or by a process that died before it said so
            shutil.rmtree(self.directory / name, ignore_errors=True)

    def made_from(self, facts: Mapping[str, Any], **notes: Any) -> list[str]:
        """Record what the run is made from besides its recipe; on a resume, compare it.

        Args:
            facts: nested mappings, such as {"data": {"train": [...]}, "base": {...}, "processes": 1}.
            notes: recorded and not compared.

        Returns:
            What differs and is let pass, for the stage to print.

        Raises:
            RecipeError: a resume from other data, another base, another number of processes ...
        """
        if not self.is_main:
            return []
        lines: list[str] = []
        if self.checkpoint is not None:
            recorded = read_json(self.directory / "manifest.json") or {}
            before = flatten(recorded.get("facts", {}))
            forced = check_same(before, flatten(facts), forced=self._forced, run=str(self.directory))
            lines = self._forced_changes(forced) + self._other_versions(recorded.get("versions", {}))
        recipe = must_match(flatten(self.recipe.model_dump()))
        content = {"format": 1, "recipe": recipe, "facts": dict(facts), **notes, **environment()}
        write_json(self.directory / "manifest.json", content)
        return lines

    def _forced_changes(self, lines: list[str]) -> list[str]:
        for line in lines:
            self.event("forced", line)
        return [f"forced: {line}" for line in lines]

    def _other_versions(self, before: Mapping[str, str]) -> list[str]:
        lines = [
            f"{name} was {before.get(name)} and is {now}: the result may differ in the last digits"
            for name, now in environment()["versions"].items()
            if before.get(name) != now
        ]
        for line in lines:
            self.event("warning", line)
        return [f"warning: {line}" for line in lines]

    # ---- while it works -----------------------------------------------------------------------------------

    def write_json(self, name: str, content: Any) -> None:
        if self.is_main:
            write_json(self.directory / name, content)

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        """Append to metrics.jsonl what was learnt: figures that a repeated run gives again."""
        self._append("metrics.jsonl", {"time": _now(), "step": step, **record})

    def log_speed(self, step: int, record: Mapping[str, Any]) -> None:
        """Append to speed.jsonl what the clock and the memory say: figures that no run gives again."""
        self._append("speed.jsonl", {"time": _now(), "step": step, **record})

    def log_reply(self, record: dict[str, Any]) -> None:
        self._append("replies.jsonl", record)

    def log_completion(self, record: dict[str, Any]) -> None:
        """Append to completions.jsonl what PPO's policy answered, and what that was worth."""
        self._append("completions.jsonl", record)

    def event(self, kind: str, text: str) -> None:
        """Note something that a reader of the result should know.

        `kind`: resume, warning, forced, out_of_memory, checkpoint or tracker.
        """
        self._append("events.jsonl", {"time": _now(), "step": self.status.step, "kind": kind, "text": text})

    def beat(self, step: int, total_steps: int) -> None:
        if self.is_main:
            self.status.beat(step, total_steps)

    def need_space(self, checkpoint: int, artefact: int) -> None:
        """Make sure that the disk will hold what the run is going to write, beside what it has written already.

        Args:
            checkpoint, artefact: bytes that one takes at most. While a checkpoint is written, the ones to keep are
                still there.

        Raises:
            DiskError: it will not.
        """
        self.checkpoint_bytes = checkpoint
        whole = checkpoints.complete(self.checkpoints)
        there = sum(file.stat().st_size for folder in whole for file in folder.rglob("*") if file.is_file())
        needed = (self.recipe.checkpoint.keep + 1) * checkpoint + artefact - there
        free = free_bytes(self.directory)
        if free < needed:
            raise DiskError(
                "E803",
                f"the run will need about {size(needed)} more and the disk has {size(free)}",
                place=str(self.directory),
                why="it would stop when it saves its first checkpoints",
                hint="free some space, name an `output` on a larger disk, or lower `checkpoint.keep`",
            )

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    def commit(self, folder: Path, step: int, state: Mapping[str, Any]) -> None:
        """Make a checkpoint of a written folder, and remove the oldest ones."""
        if not self.is_main:
            return
        self.check_there()
        sizes = {
            name: (self.directory / name).stat().st_size
            for name in _GROWING
            if (self.directory / name).exists()
        }
        with disk_errors(folder, self.checkpoint_bytes):
            for name in sizes:
                sync_file(self.directory / name)
            self.checkpoint = checkpoints.commit(
                folder, step=step, about={"sizes": sizes, "state": dict(state)}
            )
            checkpoints.rotate(self.checkpoints, self.recipe.checkpoint.keep)
        self.status.beat(step, at_once=True)  # never less than what a reader finds in `checkpoints`

    def check_there(self) -> None:
        """Make sure that nobody has removed the directory: writing on would bring half a run back.

        Raises:
            DiskError: somebody has.
        """
        if not self._is_ours:
            raise directory_gone(self.directory)

    @property
    def _is_ours(self) -> bool:
        """Whether the directory is still the one that was locked."""
        return self._lock is None or self._lock.is_there

    def withdraw(self, after_step: int) -> None:
        """Remove checkpoints that were made after training had gone wrong."""
        for folder in checkpoints.complete(self.checkpoints):
            if int(folder.name.rpartition("-")[2]) > after_step:
                checkpoints.discard(folder)
        self.checkpoint = checkpoints.find(self.checkpoints).newest

    def drop_unfinished(self) -> None:
        """Remove what a save that failed or was killed left behind, which would take the space of the next one; of a
        directory that was removed, what the save brought back."""
        if not self._is_ours:
            if not (self.directory / MARKER).exists():  # or it is another run by now
                shutil.rmtree(self.checkpoints, ignore_errors=True)
                with suppress(OSError):
                    self.directory.rmdir()
            return
        for folder in checkpoints.unfinished(self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def last_checkpoint(self) -> str:
        """For messages: the checkpoint to go on from."""
        return self.checkpoint.folder.name if self.checkpoint else "no checkpoint"

    @property
    def ways_on(self) -> str:
        """For messages about training that went wrong: the newest checkpoint may have been made too late."""
        older = [folder.name for folder in checkpoints.complete(self.checkpoints)][1:]
        otherwise = f"; if that is spoilt already, remove it to go on from {older[0]}" if older else ""
        return f"the same command goes on from {self.last_checkpoint}{otherwise}"

    def finish(self, result: Result) -> Result:
        if self.is_main:
            self.check_there()
            write_json(self.directory / FINISHED, asdict(result))
            self.status.step = result.steps
            self.status.end("finished", 0, "done")
        return result

    # ---- the end ------------------------------------------------------------------------------------------

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """However the run ends, run.json says how."""
        try:
            yield
        except StoppedError as error:
            self._end("stopped", error.exit_code, error.problems[0].what)
            raise
        except StoppedEarly:
            stopped = self.stopped("before there was anything to save")
            self._end("stopped", stopped.exit_code, stopped.problems[0].what)
            raise stopped from None
        except LlamatuneError as error:
            self._end("failed", error.exit_code, error.problems[0].what)
            raise
        except KeyboardInterrupt:
            self._end("stopped", 130, "interrupted at once by a second Ctrl-C")
            raise
        except BaseException as error:
            self._end("failed", 1, f"{type(error).__name__}: {error}")
            raise

    def _report(self) -> None:
        """The page about the run; its failure must not be the run's."""
        from llamatune.runs.report import write_report

        if not self._is_ours:
            return
        try:
            write_report(self.directory)
        except Exception as error:
            with suppress(DiskError):
                self.event("warning", f"report.html could not be written: {type(error).__name__}: {error}")

    def stopped(self, when: str) -> StoppedError:
        """The error that says: stopped by this signal, continue with the same command."""
        who = self.stop.signal.name if self.stop.signal else "a signal to another of its processes"
        error = StoppedError(
            "E901",
            f"stopped by {who} {when}",
            place=str(self.directory),
            hint="the same command goes on",
        )
        error.exit_code = self.stop.exit_code
        return error

    def _end(self, state: str, exit_code: int, reason: str) -> None:
        if not self.is_main or not self._is_ours:
            return
        with suppress(DiskError):  # the disk may be what ended the run, and that error is on its way already
            self.status.end(state, exit_code, reason)

    def _append(self, name: str, record: dict[str, Any]) -> None:
        if self.is_main:
            self.check_there()
            append_line(self.directory / name, record)


def _now() -> float:
    return round(time.time(), 3)
