"""`llamatune launch`: a recipe in several processes, on this machine or on several, or a file for Slurm."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llamatune.errors import RecipeError, StoppedError, WaitsForPeople
from llamatune.launch.elastic import devices_here, start
from llamatune.launch.nodes import nodes_of
from llamatune.launch.slurm import sbatch_file, write_sbatch
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load
from llamatune.recipe.stages.common import StageRecipe

WARNING = 300
"""Seconds before Slurm's limit at which a run is asked to save: a step, a checkpoint and a report have to fit."""


@dataclass(frozen=True)
class Asked:
    """The command line. `options` are those of `llamatune run`, as words."""

    recipe: str
    overrides: tuple[str, ...]
    options: tuple[str, ...]
    allow_outside: bool
    devices: int | None
    nodes: int
    restarts: int
    wait: float

    def load(self) -> StageRecipe | Pipeline:
        return load(self.recipe, self.overrides, allow_outside=self.allow_outside)

    @property
    def words(self) -> list[str]:
        return [self.recipe, *self.overrides, *self.options]


def launch_recipe(
    asked: Asked, node_rank: int | None, rendezvous: str | None, job: str, say: Callable[[str], None]
) -> int:
    """Start this machine's processes, and wait for their end. Returns the exit code.

    Raises:
        RecipeError: the recipe, E025 the number of processes, E027 the options, E905 machines that do not go together.
        LostProcessError: E904, a machine does not come, or a process died.
    """
    loaded = asked.load()
    nodes = nodes_of(asked.nodes, node_rank, rendezvous, job)
    devices = devices_here(_devices(asked, loaded), cpu=_on_cpu(loaded))
    code = start(
        asked.words,
        devices=devices,
        nodes=nodes,
        output=Path(loaded.output),
        restarts=asked.restarts,
        say=say,
        wait=asked.wait,
    )
    if code in (StoppedError.exit_code, 130):
        say("the same `llamatune launch` goes on")
    elif code == WaitsForPeople.exit_code:
        say("once that is done, the same `llamatune launch` goes on")
    return code


def write_for_slurm(asked: Asked, *, time: str) -> str:
    """Write `RECIPE.sbatch` into this folder; returns the command that submits it.

    Raises:
        RecipeError: the recipe, E025 nothing says how many processes, E027 a file of this name that says something
            else.
    """
    loaded = asked.load()
    name = "-".join(part for part in Path(asked.recipe).with_suffix("").parts[-2:] if part != "/")
    devices, cards = _devices(asked, loaded), not _on_cpu(loaded)
    if devices is None:
        raise RecipeError(
            "E025",
            "nothing says how many processes to start on each machine",
            place="--slurm",
            why="Slurm gives a job what it asks for",
            hint="add --devices 8 for eight GPUs on each; for none, add `hardware.device=cpu` too"
            if cards
            else "add --devices 2, or set `hardware.devices`",
        )
    again = {"--devices": asked.devices, "--wait": asked.wait, "--restarts": asked.restarts or None}
    words = [word for option, value in again.items() if value for word in (option, f"{value:g}")]
    text = sbatch_file(
        [*asked.words, *words],
        name=name,
        nodes=asked.nodes,
        devices=devices,
        cards=cards,
        time=time,
        warning=WARNING,
        folder=Path.cwd(),
    )
    file = Path(f"{name}.sbatch")
    write_sbatch(file, text)
    return shlex.join(["sbatch", str(file)])


def _recipes(loaded: StageRecipe | Pipeline) -> list[StageRecipe]:
    return [step.recipe for step in loaded.steps] if isinstance(loaded, Pipeline) else [loaded]


def _devices(asked: Asked, loaded: StageRecipe | Pipeline) -> int | None:
    """As the command line says, else as the recipe does: of a pipeline, the most that a step asks for."""
    named = [one.hardware.devices for one in _recipes(loaded) if one.hardware.devices]
    return asked.devices or max(named, default=None)


def _on_cpu(loaded: StageRecipe | Pipeline) -> bool:
    return all(one.hardware.device == "cpu" for one in _recipes(loaded))
