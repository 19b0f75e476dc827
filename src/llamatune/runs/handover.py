"""What a finished stage hands to the next one: files that `result.json` names, each with its sha256.

A stage leaves `adapter/` or `model/`, or rows (`conversations.jsonl`, `preferences.jsonl`). Another recipe takes them
with `data.train: [{run: runs/x}]` or `model.adapter: runs/x`; what has changed since the run finished is refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llamatune.errors import RecipeError
from llamatune.outside import checked_number, is_plain_name
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.paths import FINISHED
from llamatune.recipe.shipped import run_problem
from llamatune.runs.files import jsonl_line, read_json, replacing, sync_tree
from llamatune.runs.report.words import duration
from llamatune.wording import counted

CONVERSATIONS = "conversations.jsonl"
PREFERENCES = "preferences.jsonl"
PREFERENCES_TEST = "preferences_test.jsonl"
"""What is held out of the preferences: `split: test` of the run."""
COMPARISONS = "comparisons.jsonl"
"""Pairs of replies that wait for people to compare them."""
LABELS = "labels.jsonl"
"""What people say of them, where the recipe names no other file."""
ASKED = "prompts.jsonl"
ALL_SAMPLES = "samples.jsonl"
"""What a stage that makes data sampled: every prompt, and every sample with its scores and what became of it."""
MADE_BY = "made_by"
"""The column of rows that a stage made: what they were made from and with; no part of what is learnt."""


@dataclass(frozen=True)
class HandedOver:
    """A file or folder of a finished run. `path` is relative to the run directory, `sha256` is that of `digest`."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Result:
    """What a finished stage hands to the next one: files, and the figures that describe them."""

    stage: str
    artefact: str
    """`adapter`, `model` or a file of rows, relative to the run directory."""
    base: str
    steps: int
    """Steps of training, or parts of the work of a stage that makes rows."""
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    files: dict[str, HandedOver] = field(default_factory=dict)
    """By name, such as `adapter` or `preferences.jsonl`; filled in by `Run.finish`."""
    finished: float = 0.0
    """When, in seconds since 1970; filled in by `Run.finish`."""
    earlier: bool = field(default=False, compare=False)
    """True for a run that had finished before and was not run again. Not written to the file."""

    @classmethod
    def read(cls, directory: Path) -> Result | None:
        """The result of a run that has finished; None if it has not, or if the file is damaged."""
        content = read_json(directory / FINISHED)
        if content is None:
            return None
        try:
            files = {name: HandedOver(**entry) for name, entry in content.pop("files", {}).items()}
            time.localtime(float(content["finished"]))
            result = cls(**content, files=files, earlier=True)
            names = [result.artefact, *files, *(one.path for one in files.values())]
            texts = (result.stage, result.base, *(one.sha256 for one in files.values()))
            for number in (result.steps, result.seconds, result.finished):
                checked_number(number)
            known = all(map(is_plain_name, names)) and all(isinstance(text, str) for text in texts)
            return result if known else None
        except (TypeError, AttributeError, KeyError, ValueError, OverflowError, OSError):
            return None

    def describe(self) -> str:
        """For the terminal: what was done, or that nothing had to be."""
        if self.earlier:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.finished))
            return f"already finished on {when}, from the same recipe, data and models"
        unit = "part" if self.artefact.endswith(".jsonl") else "step"
        return f"{counted(self.steps, unit)} in {duration(self.seconds)}"

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        del content["earlier"]
        return content


def hand_over(directory: Path, names: Iterable[str]) -> dict[str, HandedOver]:
    """Flush files and folders of a run to the disk, and note their hashes."""
    for name in names:
        sync_tree(directory / name)
    return {name: HandedOver(name, digest(directory / name)) for name in names}


_NOT_TRAINED = {"assistant": {"train": False}}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows that are handed over, one JSON object a line: the file is there whole or not at all. Raises DiskError
    if it cannot be written."""
    with replacing(path) as stream:
        stream.writelines(map(jsonl_line, rows))


def conversation_row(
    prompt: Sequence[Mapping[str, str]], reply: str, made_by: Mapping[str, Any]
) -> dict[str, Any]:
    """A row of conversations.jsonl. `made_by` says where the reply is from, for whoever reads the file. The reply is
    what is learnt: earlier ones, which nobody chose, are marked as not to be trained."""
    messages: list[dict[str, Any]] = [
        {"role": one["role"], "content": one["content"], **_NOT_TRAINED.get(one["role"], {})}
        for one in prompt
    ]
    return {"messages": [*messages, {"role": "assistant", "content": reply}], MADE_BY: dict(made_by)}


def preference_row(
    prompt: Sequence[Mapping[str, str]],
    chosen: str,
    rejected: str,
    made_by: Mapping[str, Any],
    **labels: Any,
) -> dict[str, Any]:
    """A row of preferences.jsonl. `labels`: `rating`, and `chosen_safe` and `rejected_safe` where they are known."""
    messages = [{"role": one["role"], "content": one["content"]} for one in prompt]
    replies = {
        name: [{"role": "assistant", "content": text}]
        for name, text in (("chosen", chosen), ("rejected", rejected))
    }
    return {"prompt": messages, **replies, **labels, MADE_BY: dict(made_by)}


def take(run: str, name: str) -> Path:
    """A file or folder that a finished run hands over, verified.

    Args:
        run: a run directory.
        name: a key of `Result.files`.

    Raises:
        RecipeError: there is no such run, or it has not finished (E038, with the recipe that writes it); it hands over
            nothing of that name, or something other than it wrote (E039).
    """
    if problem := run_problem(run):
        raise RecipeError.of([problem])
    result = Result.read(Path(run))
    if result is None:
        raise _unusable(
            run, f"the {FINISHED} of `{run}` cannot be read", "it was damaged after the run finished"
        )
    if name not in result.files:
        leaves = ", ".join(result.files) or "nothing"
        raise _unusable(
            run,
            f"the run `{run}` leaves no {name}",
            f"it is a run of stage `{result.stage}`, which leaves {leaves}",
            f"name a run that leaves {name}",
        )
    taken = Path(run) / result.files[name].path
    if not taken.exists():
        raise _unusable(run, f"{name} of the run `{run}` is gone", "somebody moved or removed it")
    if digest(taken) != result.files[name].sha256:
        raise _unusable(
            run,
            f"{name} of the run `{run}` has changed since it finished",
            "its sha256 is not the recorded one",
        )
    return taken


def rows_of_run(run: str) -> Path:
    """The file of rows that a finished run was made for, verified. Raises what `take` raises."""
    result = Result.read(Path(run))
    return take(run, CONVERSATIONS if result is None else result.artefact)


def told(made_by: Mapping[str, Any]) -> str:
    """In a line, what a stage says of the first of its rows."""
    parts = made_by.get("chosen", made_by)
    known = {name: parts.get(name) for name in ("stage", "run", "policy", "temperature", "sample", "reward")}
    shown = {
        name: value[:12] if name == "policy" else value for name, value in known.items() if value is not None
    }
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in shown.items()
    )


def digest(path: Path) -> str:
    """SHA-256 of a file; for a folder, over the names and hashes of its files, notes for people (*.md) left out."""
    if path.is_file():
        return file_sha256(path)
    lines = (f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n" for file in _files(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".md")


def _unusable(run: str, what: str, why: str, hint: str | None = None) -> RecipeError:
    again = f"restore it from a copy, or run the recipe that writes `{run}` again with --overwrite"
    return RecipeError("E039", what, place=run, why=why, hint=hint or again)
