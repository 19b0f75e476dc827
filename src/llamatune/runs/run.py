"""The run directory: resolved recipe, metrics, environment, result.

resolved.yaml      the recipe with every default written out; loads back to the same recipe
environment.json   library versions, machine, seed: what a later reader needs to compare runs
metrics.jsonl      one JSON object a line: everything that was logged
data.json          rows kept and left out, by source and reason
data_cards/        draft cards of data files that were named without one
replies.jsonl      sample replies before, during and after training
adapter/ or model/ the artefact
result.json        written last: its presence says that the run finished
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from llamatune.errors import DiskError
from llamatune.recipe.load import check_output, dump
from llamatune.recipe.recipes import StageRecipe

_LIBRARIES = ("llamatune", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes")


@dataclass(frozen=True)
class Result:
    """What a finished stage hands to the next one: files, and the figures that describe them."""

    stage: str
    artefact: str
    """`adapter` or `model`, relative to the run directory."""
    base: str
    steps: int
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)


class Run:
    """An open run directory. `recipe_dir` is where data cards beside the recipe are looked for."""

    def __init__(self, directory: Path, recipe_dir: Path) -> None:
        self.directory = directory
        self.recipe_dir = recipe_dir
        self._metrics = directory / "metrics.jsonl"

    @classmethod
    def open(cls, recipe: StageRecipe, *, recipe_dir: Path, overwrite: bool = False) -> Run:
        """Create the directory and write the resolved recipe into it.

        Raises:
            RecipeError: the directory holds something else, or an earlier run.
            DiskError: it cannot be written.
        """
        directory = Path(recipe.output)
        check_output(directory, overwrite=overwrite)
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            run = cls(directory, recipe_dir)
            _clear(directory)
            (directory / "resolved.yaml").write_text(dump(recipe), encoding="utf-8")
        except OSError as error:
            raise DiskError(
                "E801",
                f"cannot be written: {error.strerror}",
                place=str(directory),
                hint="choose another `output`",
            ) from None
        run.write_json("environment.json", _environment(recipe))
        return run

    def write_json(self, name: str, content: Any) -> None:
        (self.directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl, flushed at once."""
        self._append(self._metrics, {"time": round(time.time(), 3), **record})

    def log_reply(self, record: dict[str, Any]) -> None:
        self._append(self.directory / "replies.jsonl", record)

    def finish(self, result: Result) -> Result:
        self.write_json("result.json", asdict(result))
        return result

    @staticmethod
    def _append(file: Path, record: dict[str, Any]) -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _clear(directory: Path) -> None:
    """Take away what an earlier run in this directory wrote, and nothing else."""
    for name in ("result.json", "metrics.jsonl", "replies.jsonl", "data.json"):
        (directory / name).unlink(missing_ok=True)
    for name in ("adapter", "model", "data_cards"):
        shutil.rmtree(directory / name, ignore_errors=True)


def _environment(recipe: StageRecipe) -> dict[str, Any]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "versions": versions,
        "seed": recipe.seed,
    }
