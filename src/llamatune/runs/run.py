"""The run directory: everything a run was made from, what it learnt, and how to go on with it.

resolved.yaml      the recipe with every default written out; loads back to the same recipe
manifest.json      what the run was made from: recipe, data, base, tokenizer, versions, seed
run.json           who works on it, how far it is, how earlier processes ended
checkpoints/       where the same command goes on (see `checkpoints`)
metrics.jsonl      what was learnt, one JSON object a line; the same after any number of interruptions
speed.jsonl        speed and memory meanwhile
events.jsonl       resumes, warnings, smaller micro-batches: what a reader of the result should know
data.json          rows kept and left out, by source and reason
preview.json       a few training rows with their trained tokens
data_cards/        draft cards of data files that were named without one
replies.jsonl      sample replies before, during and after training
completions.jsonl  PPO: each answer of the policy with its scores
evaluation.json    reward models: how well they tell the better reply, on each held-out set; PPO: rewards of
                   held-out prompts over time, and where reward models and oracle part
adapter/ or model/ the artefact
conversations.jsonl, preferences.jsonl
                   stages that make data: rows for other recipes (see `handover`)
result.json        written last: its presence says that the run finished; names what it hands over
report.html        all of this to look at
"""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from llamatune.errors import CheckpointError, LostProcessError, RecipeError, StoppedError
from llamatune.recipe.paths import FINISHED, MARKER
from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs import checkpoints
from llamatune.runs.checkpoints import Checkpoint
from llamatune.runs.files import (
    append_line,
    check_room,
    directory_gone,
    disk_errors,
    read_json,
    remove,
    sync_file,
    write_json,
)
from llamatune.runs.handover import Result, hand_over
from llamatune.runs.lock import RunLock
from llamatune.runs.manifest import (
    check_same,
    differences,
    environment,
    flatten,
    known_then,
    must_match,
    read_manifest,
)
from llamatune.runs.ranks import is_main, rank
from llamatune.runs.signals import StopRequest
from llamatune.runs.status import Position, Status
from llamatune.shown import masked

GROWING = ("metrics.jsonl", "speed.jsonl", "replies.jsonl", "completions.jsonl")
"""Files that a resume cuts back to where they were at the checkpoint."""


ARTEFACTS = ("adapter", "model")
"""What a stage that trains leaves, by folder."""


class Run:
    """An open run directory; get one from `opening.open_run`.

    `recipe_dir` is where data cards beside the recipe are looked for; `checkpoint` is where to resume, None for a
    fresh start; `done` is the result of a run that had finished before; `stop` knows of requests to stop.
    Only the first process of a distributed run writes: `is_main` is False in the others.
    """

    def __init__(self, recipe: StageRecipe, recipe_dir: Path, forced: Collection[str]) -> None:
        self.recipe = recipe
        self.directory = Path(recipe.output)
        self.recipe_dir = recipe_dir
        self.is_main = is_main()
        self.stop = StopRequest()
        self.stop.doing = self._under_way
        self.position = Position()
        self.evaluating = False
        """Whether held-out rows are read between two steps."""
        self.status = Status(self.directory / "run.json")
        self.checkpoint: Checkpoint | None = None
        self.done: Result | None = None
        self.notices: list[str] = []
        """What the opening has to tell, for the stage to print."""
        self.checkpoint_bytes = 0
        """The most bytes that a checkpoint takes; known once the model is."""
        self.forced = forced
        self.lock: RunLock | None = None
        self.came_later: dict[str, Any] = {}
        """Facts about what the run has waited for, such as people's labels: recorded as it finishes, since until then
        there may be more of it."""
        self._said: set[str] = set()

    def made_from(self, facts: Mapping[str, Any], **notes: Any) -> list[str]:
        """Record what the run is made from in addition to its recipe; on a resume, compare it.

        Args:
            facts: nested mappings, such as {"data": {"train": [...]}, "base": {...}, "processes": 1}.
            notes: recorded, but not compared.

        Returns:
            What differs and is allowed, for the stage to print.

        Raises:
            RecipeError: a resume from other data, another base, another number of processes ...
        """
        if not self.is_main:
            return []
        lines: list[str] = []
        if self.checkpoint is not None:
            recorded = read_manifest(self.directory) or {"facts": {}, "versions": {}, "hardware": {}}
            before = flatten(recorded["facts"])
            now = known_then(recorded["facts"], facts)
            forced = check_same(before, now, forced=self.forced, run=str(self.directory))
            lines = self.forced_changes(forced) + self._other_surroundings(recorded)
        recipe = must_match(flatten(self.recipe.model_dump()))
        content = {
            "format": 1,
            "recipe": recipe,
            "facts": dict(facts),
            **notes,
            "hardware": self.recipe.hardware.model_dump(),
            **environment(),
        }
        write_json(self.directory / "manifest.json", content)
        return lines

    def forced_changes(self, lines: list[str]) -> list[str]:
        """Note what differs and is allowed, once; returns the lines to print."""
        new = [line for line in lines if line not in self._said]
        self._said.update(new)
        for line in new:
            self.event("forced", line)
        return [f"forced: {line}" for line in new]

    def _other_surroundings(self, before: Mapping[str, Any]) -> list[str]:
        """Lines about what may change and keeps the result from being the same to the byte."""
        now = {
            "versions": environment()["versions"],
            "hardware": self.recipe.hardware.model_dump(mode="json"),
        }
        why = {"versions": "", "hardware": "; with dropout, other numbers are drawn"}
        lines = [
            f"{block}.{name}: {change}: the result may differ in the last digits{why[block]}"
            for block, content in now.items()
            for name, change in differences(flatten(before[block]), flatten(content)).items()
        ]
        for line in lines:
            self.event("warning", line)
        return [f"warning: {line}" for line in lines]

    # ---- while it works -----------------------------------------------------------------------------------

    def write_json(self, name: str, content: Any) -> None:
        if self.is_main:
            write_json(self.directory / name, content)

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        """Append to metrics.jsonl what was learnt: figures that a repeated run would give again."""
        self._append("metrics.jsonl", {"time": _now(), "step": step, **record})

    def log_speed(self, step: int, record: Mapping[str, Any]) -> None:
        """Append to speed.jsonl speed and memory: figures that no run gives again."""
        self._append("speed.jsonl", {"time": _now(), "step": step, **record})

    def log_reply(self, record: dict[str, Any]) -> None:
        self._append("replies.jsonl", record)

    def log_completion(self, record: dict[str, Any]) -> None:
        """Append to completions.jsonl what PPO's policy answered, and what the answers were worth."""
        self._append("completions.jsonl", record)

    def event(self, kind: str, text: str) -> None:
        """Note something that a reader of the result should know.

        `kind`: resume, warning, forced, out_of_memory, checkpoint or tracker.
        """
        self._append(
            "events.jsonl", {"time": _now(), "step": self.status.step, "kind": kind, "text": masked(text)}
        )

    def _under_way(self) -> str:
        """What a request to stop waits for; after the last step there is no other place to stop at."""
        step = self.status.step
        if step == self.status.total_steps:
            return "the run"
        return f"the evaluation after step {step}" if self.evaluating else f"step {step + 1}"

    def beat(self, step: int, total_steps: int) -> None:
        if self.is_main:
            self.status.beat(step, total_steps)
        else:
            self.status.step, self.status.total_steps = step, total_steps

    def need_space(self, checkpoint: int, artefact: int) -> None:
        """Make sure that the disk will hold what the run is going to write, in addition to what it has written already.

        Args:
            checkpoint, artefact: the most bytes that each takes. While a checkpoint is written, the ones to keep are
                still there.

        Raises:
            DiskError: the disk will not hold it.
        """
        self.checkpoint_bytes = checkpoint
        whole = checkpoints.complete(self.checkpoints)
        there = sum(file.stat().st_size for folder in whole for file in folder.rglob("*") if file.is_file())
        needed = (self.recipe.checkpoint.keep + 1) * checkpoint + artefact - there
        check_room(self.directory, needed)

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
            for name in GROWING
            if (self.directory / name).exists()
        }
        with disk_errors(folder, self.checkpoint_bytes):
            for name in sizes:
                sync_file(self.directory / name)
            self.checkpoint = checkpoints.commit(
                folder, step=step, about={"sizes": sizes, "state": dict(state)}
            )
            checkpoints.rotate(self.checkpoints, self.recipe.checkpoint.keep)
        # Never less than what a reader finds in `checkpoints`.
        self.status.beat(step, at_once=True)

    def rehearse(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Commit a written folder as `commit` does, and remove it again."""
        if not self.is_main:
            return
        self.check_there()
        with disk_errors(folder, self.checkpoint_bytes):
            checkpoints.commit(folder, step=0, about={"sizes": {}, "state": dict(state)})
            checkpoints.discard(folder)

    def check_there(self) -> None:
        """Make sure that nobody has removed the directory: further writing would bring half a run back.

        Raises:
            DiskError: somebody has.
        """
        if not self.is_ours:
            raise directory_gone(self.directory)

    @property
    def is_ours(self) -> bool:
        """Whether the directory is still the one that was locked."""
        return self.lock is None or self.lock.is_there

    def withdraw(self, after_step: int) -> None:
        """Remove checkpoints that were made after training had gone wrong."""
        for folder in checkpoints.complete(self.checkpoints):
            if int(folder.name.rpartition("-")[2]) > after_step:
                checkpoints.discard(folder)
        self.checkpoint = checkpoints.find_checkpoint(self.checkpoints).newest

    def drop_unfinished(self) -> None:
        """Remove what a failed or killed save left, since it would take the space of the next one; if the directory
        was removed, remove what the save brought back."""
        if self.is_ours:
            left = checkpoints.unfinished(self.checkpoints)
        # It may be another run by now.
        elif (self.directory / MARKER).exists():
            left = []
        else:
            left = [self.checkpoints, *(self.directory / name for name in ARTEFACTS)]
        for folder in left:
            # What cannot be removed takes space and harms nothing else.
            with suppress(OSError):
                remove(folder)
        if not self.is_ours:
            with suppress(OSError):
                self.directory.rmdir()

    @property
    def last_checkpoint(self) -> str:
        """For messages: the checkpoint to resume from."""
        return self.checkpoint.folder.name if self.checkpoint else "no checkpoint"

    @property
    def ways_on(self) -> str:
        """For messages about training that went wrong: the newest checkpoint may have been made too late."""
        older = [folder.name for folder in checkpoints.complete(self.checkpoints)][1:]
        otherwise = f"; if that is spoilt already, remove it to go on from {older[0]}" if older else ""
        return f"the same command goes on from {self.last_checkpoint}{otherwise}"

    def finish(self, result: Result, leaves: Sequence[str] = ()) -> Result:
        """Write `result.json`, last of all: from here on the run has finished.

        Args:
            result: what the stage made, without its files.
            leaves: files in addition to the artefact that other recipes may take.

        Raises:
            DiskError: a file that is handed over cannot be read back, or the result cannot be written.
        """
        if not self.is_main:
            return result
        self.check_there()
        # For a stage that is made from its recipe alone.
        if not (self.directory / "manifest.json").exists():
            self.made_from({})
        if self.came_later:
            content = read_json(self.directory / "manifest.json") or {}
            content["facts"] = {**content.get("facts", {}), **self.came_later}
            write_json(self.directory / "manifest.json", content)
        with disk_errors(self.directory):
            files = hand_over(self.directory, (result.artefact, *leaves))
        result = replace(result, files=files, finished=_now())
        write_json(self.directory / FINISHED, result.to_json())
        self.status.step = result.steps
        self.status.end("finished", 0, "done")
        return result

    def check_seen(self) -> None:
        """Make sure that this process sees the directory that the first one has opened: it goes on from checkpoints
        there.

        Raises:
            RecipeError: it does not.
        """
        if not self.is_main and not (self.directory / MARKER).is_file():
            raise RecipeError(
                "E905",
                f"process {rank()} on {socket.gethostname()} does not see `{self.directory}` as the first process does",
                place="output",
                why="each process reads the checkpoints there",
                hint="put `output` on a disk that all machines share, under the same path",
            )

    def lost(self, why: str) -> None:
        """Note that the run ends, in the middle of a call, because one of its processes is lost."""
        if self.is_main and self.is_ours:
            self.status.end("failed", LostProcessError.exit_code, why)

    def stopped(self, when: str) -> StoppedError:
        """The error that says: stopped by this signal, the same command continues."""
        who = self.stop.signal.name if self.stop.signal else "a signal to another of its processes"
        error = StoppedError(
            "E901",
            f"stopped by {who} {when}",
            place=str(self.directory),
            hint="the same command goes on",
        )
        error.exit_code = self.stop.exit_code
        return error

    def _append(self, name: str, record: dict[str, Any]) -> None:
        if self.is_main:
            self.check_there()
            append_line(self.directory / name, record)


def sizes_at(checkpoint: Checkpoint) -> dict[str, int]:
    """How long each of the growing files was when a checkpoint was made; whatever else it names is left alone.

    Raises:
        CheckpointError: the checkpoint does not say it.
    """
    sizes = checkpoint.about.get("sizes")
    if isinstance(sizes, dict) and isinstance(checkpoint.about.get("state"), dict):
        known = {name: sizes[name] for name in GROWING if name in sizes}
        if all(type(size) is int and size >= 0 for size in known.values()):
            return known
    raise CheckpointError(
        "E401",
        f"{checkpoint.folder.name}: its {checkpoints.MANIFEST} was not written by llamatune",
        place=str(checkpoint.folder),
        why="it does not say how long the run's logs were, and what was written after it has to go",
        hint="find out who wrote it; restore the checkpoint from a copy, or start again with --resume none",
    )


def _now() -> float:
    return round(time.time(), 3)
