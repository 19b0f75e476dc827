"""llamatune's supervised fine-tuning beside plain `trl.SFTTrainer`, taking turns of a few steps.

Both train the same weights on the same global batches with the same optimizer in float32; so does a bare PyTorch
loop, which shows how far padding can be taken. What comes out are ratios of trained tokens a second, turn by turn,
and the losses and gradients side by side: when they differ, the benchmark fails.

    python benchmarks/sft.py --shape 5m --data FILE --template alpaca --licence LICENCE
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from contenders import SHAPES, Job, Trace, bare_loop, llamatune, plain_trl, random_base
from reporting import Report, Spread, Table
from round_robin import QUIET, Turns, round_robin

from llamatune.recipe.load import loads
from llamatune.recipe.recipes import SftRecipe
from llamatune.training.collate import trained_tokens

PLAIN, OURS, BARE = "plain trl.SFTTrainer", "llamatune", "bare loop, sorted and padded"
TOLERANCE = 1e-5
"""Largest relative difference between the trainers in a loss or a gradient."""


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(options, Path(folder))
        trainings = {name: partial(train, job) for name, train in CONTENDERS.items()}
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


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="pico-sft-helpful", help="a file, or the name of a data card")
    add("--template", default="tokenizer", help="chat template")
    add("--licence", default="Apache-2.0", help="of the data, for the results")
    add("--shape", choices=SHAPES, default="pico", help="architecture; its weights are random")
    add("--rounds", type=int, default=8, help="turns of each contender, after one to warm up")
    add("--steps", type=int, default=2, help="steps in a turn")
    add("--batch-size", type=int, default=64, help="rows of a global batch")
    add("--micro-batch", type=int, default=16, help="rows of a forward pass of the plain trainer")
    add("--patience", type=float, default=0, help="most minutes to wait for a quiet machine before a turn")
    add("--save", metavar="NAME", help="write benchmarks/results/NAME.json and .md")
    return parser.parse_args()


def make_job(options: argparse.Namespace, folder: Path) -> Job:
    """Random weights and the rows, through a recipe like any other."""
    recipe = {
        "stage": "sft",
        "output": str(folder / "run"),
        "model": {"base": str(random_base(folder / "base", options.shape))},
        "chat": {"template": options.template},
        "data": {
            "train": [{"path" if Path(options.data).is_file() else "card": options.data}],
            "max_length": SHAPES[options.shape]["max_position_embeddings"],
        },
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
    loaded = loads(json.dumps(recipe))
    assert isinstance(loaded, SftRecipe)
    return Job(loaded, options.micro_batch)


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
    plain, ours = traces[PLAIN], traces[OURS]
    batches = job.global_batches()
    expected = [sorted(row["input_ids"] for row in rows) for rows in batches]
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
        for other in (PLAIN, BARE)
        for how, spread in _ratios(turns[OURS], turns[other]).items()
    }
    speeds = _speeds(job, turns, options.steps)
    figures = {
        "data": Path(options.data).name,
        "licence": options.licence,
        "shape": options.shape,
        "global_batch": options.batch_size,
        "plain_micro_batch": options.micro_batch,
        "steps_a_turn": options.steps,
        "trained_tokens_per_second": speeds,
        "ratios": ratios,
        "turns": {name: replace(found, result=None) for name, found in turns.items()},
        "losses": {name: found.result.losses for name, found in turns.items()},
        "gradient_norms": {name: found.result.norms for name, found in turns.items()},
        "equality": equality,
    }
    notes = [_job_note(options, job), _equality_note(job, equality), _MEANING]
    title = f"SFT of all weights, shape {options.shape}, {Path(options.data).name}"
    return Report(title, figures, [_speed_table(speeds, turns), _ratio_table(ratios)], notes)


def _speeds(job: Job, turns: Mapping[str, Turns], steps: int) -> dict[str, list[float]]:
    """Trained tokens a second of each turn but the first, which loads the model and warms up."""
    tokens = [sum(map(trained_tokens, rows)) for rows in job.global_batches()]
    per_turn = [sum(tokens[start : start + steps]) for start in range(0, len(tokens), steps)]
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


def _speed_table(speeds: Mapping[str, Sequence[float]], turns: Mapping[str, Turns]) -> Table:
    return Table(
        "Speed and memory",
        ["", "trained tokens/s: median (least to most)", "peak memory of the process"],
        [
            [name, f"{Spread.of(speed):,.0f}", f"{turns[name].peak_gib:.2f} GiB"]
            for name, speed in speeds.items()
        ],
    )


def _ratio_table(ratios: Mapping[str, Spread]) -> Table:
    rows = [[name, f"{spread:.2f}"] for name, spread in ratios.items()]
    return Table("How many times as fast, round by round", ["", "median (least to most)"], rows)


def _job_note(options: argparse.Namespace, job: Job) -> str:
    rows = list(job.rows())
    lengths = [len(row["input_ids"]) for row in rows]
    weights = sum(weight.numel() for weight in job.model().parameters())
    return (
        f"{len(rows):,} rows of {Path(options.data).name} (licence: {options.licence}), template "
        f"{options.template}, {sum(lengths) / len(rows):.0f} tokens a row on average and {max(lengths):,} at most, "
        f"{sum(map(trained_tokens, rows)) / sum(lengths):.0%} of them trained. {weights / 1e6:.1f} million random "
        f"weights, float32, AdamW, {options.batch_size} rows a step, {options.steps} steps a turn; plain trl computes "
        f"a step in {options.batch_size // options.micro_batch} forward passes of {options.micro_batch} rows."
    )


def _equality_note(job: Job, equality: Equality) -> str:
    rows = "the same rows in every step" if equality.same_rows else "NOT THE SAME ROWS"
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
CONTENDERS = {PLAIN: plain_trl, OURS: llamatune, BARE: bare_loop}


if __name__ == "__main__":
    main()
