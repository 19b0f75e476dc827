"""Runs the contenders of a benchmark by turns, and says how fast each was and whether they did the same."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from contenders import Job, Trace, bare_loop, llamatune, plain_trl
from reporting import Report, Spread, Table
from round_robin import QUIET, Turns, round_robin
from shapes import SHAPES, random_base

from llamatune.recipe.cards import find_card

OURS, BARE = "llamatune", "bare loop, sorted and padded"
TOLERANCE = 1e-5
"""Largest relative difference between the trainers in a loss or a gradient."""

MakeJob = Callable[[argparse.Namespace, Path], Job]
"""The job for some options; its files go into the folder."""


def common_options(description: str | None, *, data: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default=data, help="a file, or the name of a data card")
    add("--template", default="tokenizer", help="chat template")
    add("--licence", help="of the data, for the results; a card's own when left out, needed for a file")
    add("--shape", choices=SHAPES, default="pico", help="architecture; its weights are random")
    add("--base", type=Path, help="folder of a real model, instead of a shape with random weights")
    add("--lora", type=int, metavar="RANK", help="train an adapter of this rank instead of all weights")
    add("--rounds", type=int, default=8, help="turns of each contender, after one to warm up")
    add("--steps", type=int, default=2, help="steps in a turn")
    add("--batch-size", type=int, default=64, help="rows of a global batch")
    add("--micro-batch", type=int, default=16, help="rows of a forward pass of the plain trainer")
    add("--patience", type=float, default=0, help="most minutes to wait for a quiet machine before a turn")
    add("--save", metavar="NAME", help="write benchmarks/results/NAME.json and .md")
    return parser


def common_recipe(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The weights and the rows, through a recipe like any other; its stage is still to be named."""
    base = options.base or random_base(folder / "base", options.shape)
    return {
        "output": str(folder / "run"),
        "model": {"base": str(base)} | ({"lora": {"rank": options.lora}} if options.lora else {}),
        "chat": {"template": options.template},
        "data": {"train": [{"path" if Path(options.data).is_file() else "card": options.data}]},
        "optimization": {
            "learning_rate": 2e-4,
            "schedule": "constant",
            "warmup": 0,
            "max_steps": (options.rounds + 1) * options.steps,
            "batch_size": options.batch_size,
        },
        "logging": {"every_steps": 1},
        "checkpoint": {"every_minutes": 10_000},  # what saving costs is `overhead.py`'s business
        "hardware": {"device": "cpu"},
    }


def shape_of(options: argparse.Namespace) -> str:
    """What is trained, in a few words."""
    what = options.base.name if options.base else f"shape {options.shape}"
    return f"{what}, LoRA {options.lora}" if options.lora else what


def licence_of(data: str) -> str:
    """The licence that a data card states; that of a file only the user knows."""
    if Path(data).is_file():
        sys.exit(f"error: say under which licence {data} is: --licence LICENCE")
    licence = find_card(data, Path()).license
    return licence.name or licence.id


def compare_contenders(options: argparse.Namespace, make_job: MakeJob) -> None:
    """The whole benchmark: measure, print, save; ends the program where the contenders did not do the same."""
    options.licence = options.licence or licence_of(options.data)
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(options, Path(folder))
        contenders = {job.plain: plain_trl, OURS: llamatune, BARE: bare_loop}
        trainings = {name: partial(train, job) for name, train in contenders.items()}
        turns = round_robin(
            trainings, turns=options.rounds + 1, steps=options.steps, patience=60 * options.patience
        )
        equality = compare(job, {name: found.result for name, found in turns.items()})
        report = describe(options, job, turns, equality)
    print(report.text())
    if options.save:
        report.save(options.save)
    if not equality.holds:
        sys.exit("error: llamatune and plain trl did not do the same")


# ---- did they do the same? --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Equality:
    """How far llamatune's training is from the plain trainer's: the largest relative differences.

    `same_rows`: every contender saw the same rows in every step.
    """

    same_rows: bool
    loss: float
    norm: float
    first_gradient: float

    @property
    def holds(self) -> bool:
        return self.same_rows and max(self.loss, self.norm, self.first_gradient) <= TOLERANCE


def compare(job: Job, traces: Mapping[str, Trace]) -> Equality:
    plain, ours = traces[job.plain], traces[OURS]
    batches = job.global_batches()
    expected = [sorted(map(job.sequences, rows)) for rows in batches]
    sizes = [len(rows) for rows in batches]
    difference = ours.first_gradient - plain.first_gradient
    return Equality(
        same_rows=all(trace.steps(sizes) == expected for trace in traces.values()),
        loss=_largest_difference(plain.losses, ours.losses),
        norm=_largest_difference(plain.norms, ours.norms),
        first_gradient=_norm(difference) / _norm(plain.first_gradient),
    )


def _largest_difference(expected: Sequence[float], found: Sequence[float]) -> float:
    """Relative; infinite where a figure is NaN or there are none."""
    differences = [abs(a - b) / abs(a) for a, b in zip(expected, found, strict=True)]
    return max((one if one == one else math.inf for one in differences), default=math.inf)


def _norm(vector: Any) -> float:
    return float((vector.astype("float64") ** 2).sum() ** 0.5)


# ---- what to say ------------------------------------------------------------------------------------------


def describe(options: argparse.Namespace, job: Job, turns: Mapping[str, Turns], equality: Equality) -> Report:
    ratios = {
        f"{OURS} / {other}{how}": spread
        for other in (job.plain, BARE)
        for how, spread in _ratios(turns[OURS], turns[other]).items()
    }
    speeds = _speeds(job, turns, options.steps)
    figures = {
        "data": Path(options.data).name,
        "licence": options.licence,
        "shape": shape_of(options),
        "trained": f"LoRA of rank {options.lora}" if options.lora else "all weights",
        "global_batch": options.batch_size,
        "plain_micro_batch": options.micro_batch,
        "rows": len(job.rows()),
        "left_out": job.prepared().counts.dropped,
        "steps_a_turn": options.steps,
        f"{job.unit.replace(' ', '_')}_per_second": speeds,
        "ratios": ratios,
        "turns": {name: replace(found, result=None) for name, found in turns.items()},
        "losses": {name: found.result.losses for name, found in turns.items()},
        "gradient_norms": {name: found.result.norms for name, found in turns.items()},
        "equality": equality,
    }
    notes = [_job_note(options, job), _equality_note(job, equality), _MEANING]
    title = f"{job.title}, {shape_of(options)}, {Path(options.data).name}"
    return Report(title, figures, [_speed_table(job, speeds, turns), _ratio_table(ratios)], notes)


def _speeds(job: Job, turns: Mapping[str, Turns], steps: int) -> dict[str, list[float]]:
    """Items a second of each turn but the first, which loads the model and warms up."""
    items = [sum(map(job.items, rows)) for rows in job.global_batches()]
    per_turn = [sum(items[start : start + steps]) for start in range(0, len(items), steps)]
    return {
        name: [done / spent for done, spent in zip(per_turn[1:], found.seconds[1:], strict=True)]
        for name, found in turns.items()
    }


def _ratios(ours: Turns, theirs: Turns) -> dict[str, Spread]:
    """Theirs over ours, round by round: both do the same work in a round."""
    rounds = range(1, len(ours.seconds))
    quiet = [number for number in rounds if max(ours.others[number], theirs.others[number]) <= QUIET]
    by_clock = [theirs.seconds[number] / ours.seconds[number] for number in rounds]
    by_processor = [theirs.processor_seconds[number] / ours.processor_seconds[number] for number in rounds]
    found = {
        f", {len(by_clock)} rounds": Spread.of(by_clock),
        f", {len(by_clock)} rounds, processor time": Spread.of(by_processor),
    }
    if quiet:
        undisturbed = [theirs.seconds[number] / ours.seconds[number] for number in quiet]
        found[f", {len(quiet)} undisturbed rounds"] = Spread.of(undisturbed)
    return found


def _speed_table(job: Job, speeds: Mapping[str, Sequence[float]], turns: Mapping[str, Turns]) -> Table:
    form = ",.0f" if min(map(min, speeds.values())) >= 100 else ",.1f"
    return Table(
        "Speed and memory",
        ["", f"{job.unit}/s: median (least to most)", "peak memory of the process"],
        [
            [name, f"{Spread.of(speed):{form}}", f"{turns[name].peak_gib:.2f} GiB"]
            for name, speed in speeds.items()
        ],
    )


def _ratio_table(ratios: Mapping[str, Spread]) -> Table:
    rows = [[name, f"{spread:.2f}"] for name, spread in ratios.items()]
    return Table("How many times as fast, round by round", ["", "median (least to most)"], rows)


def _job_note(options: argparse.Namespace, job: Job) -> str:
    weights = sum(weight.numel() for weight in job.model().parameters())
    whose = f"weights, of {options.base.name}" if options.base else "random weights"
    return (
        f"{len(job.rows()):,} {job.rows_are} of {Path(options.data).name} (licence: {options.licence}), template "
        f"{options.template}, {job.about_rows()}. {weights / 1e6:.1f} million {whose}, float32, AdamW, "
        f"{options.batch_size} {job.rows_are} a step, {options.steps} steps a turn; plain trl computes a step in "
        f"{options.batch_size // options.micro_batch} forward passes of {options.micro_batch} {job.rows_are}."
    )


def _equality_note(job: Job, equality: Equality) -> str:
    same = f"the same {job.rows_are} in every step"
    rows = same if equality.same_rows else f"NOT {same.upper()}"
    return (
        f"{OURS} against plain trl over {job.recipe.optimization.max_steps} steps: {rows}; largest relative "
        f"difference of a loss {equality.loss:.1e}, of a gradient's norm {equality.norm:.1e}, of the first "
        f"gradient {equality.first_gradient:.1e}; {'within' if equality.holds else 'NOT WITHIN'} {TOLERANCE:.0e}."
    )


_MEANING = (
    f"A round is undisturbed when other programs took at most {QUIET:.0%} of the processors' time in both turns. "
    "Processor time is that of all threads of a process: it hardly depends on other programs with one thread "
    "(OMP_NUM_THREADS=1), and counts waiting for each other with more."
)
