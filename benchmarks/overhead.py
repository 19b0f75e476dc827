"""What guards, manifests and hashing cost: their share of the time of the demo's training steps.

The demo's recipe is run as it is (a checkpoint every 25 steps), with a stopwatch around the parts in question.

    python benchmarks/overhead.py --runs 3
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from reporting import ROOT, Report, Spread, Table

from llamatune.pipeline import run
from llamatune.recipe.load import load
from llamatune.runs.run import Run
from llamatune.stages import sft
from llamatune.training.sft import SftTrainer

RECIPE = ROOT / "recipes/pico/sft.yaml"
GOAL = 0.02
"""Largest share of the steps' time that guards, manifests and hashing may take."""

Parts = Mapping[str, Sequence[tuple[Any, str]]]

GUARDS: Parts = {
    "finite loss and gradient": [(SftTrainer, "_check_finite")],
    "loss watchdog": [(SftTrainer, "_watch")],
    "heartbeat (run.json)": [(Run, "beat")],
    "metrics.jsonl, speed.jsonl": [(Run, "log"), (Run, "log_speed")],
    "checkpoints: sync, sha256, manifest, rotation": [(Run, "commit")],
    "the run's manifest, data.json, preview, disk space": [(sft, "record_origin"), (Run, "need_space")],
}
OTHERS: Parts = {
    "writing checkpoints (upstream's and the weights)": [(SftTrainer, "_save_checkpoint")],
    "evaluation": [(SftTrainer, "evaluate")],
    "saving the adapter and proving it": [(sft, "save_trained")],
}
"""Parts that are not guards; the first two are left out of the steps' time."""
_TRAIN = "train"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="how often the recipe is run")
    parser.add_argument("--max-steps", type=int, help="stop each run after this many steps")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json and .md")
    options = parser.parse_args()
    report = describe([measure(options.max_steps) for _ in range(options.runs)], options.max_steps)
    print(report.text())
    if options.save:
        report.save(options.save)


def measure(max_steps: int | None) -> dict[str, float]:
    """Seconds spent in each part during one run; `train` is the whole of the training."""
    parts = {_TRAIN: [(SftTrainer, "train")], **GUARDS, **OTHERS}
    with tempfile.TemporaryDirectory() as folder, stopwatches(parts) as seconds:
        changes = [f"output={folder}/run"]
        if max_steps is not None:
            changes.append(f"optimization.max_steps={max_steps}")
        run(load(RECIPE, changes), recipe_dir=ROOT)
    return seconds


@contextmanager
def stopwatches(parts: Parts) -> Iterator[dict[str, float]]:
    """Time every call of some functions and methods while inside; no part may contain another guard."""
    seconds = dict.fromkeys(parts, 0.0)
    with ExitStack() as stack:
        for part, functions in parts.items():
            for owner, name in functions:
                timed = _timed(getattr(owner, name), part, seconds)
                stack.enter_context(patch.object(owner, name, timed))
        yield seconds


def _timed(function: Callable[..., Any], part: str, seconds: dict[str, float]) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.perf_counter() - started

    return timed


def describe(runs: Sequence[Mapping[str, float]], max_steps: int | None) -> Report:
    shares = {part: Spread.of(seconds[part] / _steps_time(seconds) for seconds in runs) for part in GUARDS}
    total = Spread.of(sum(seconds[part] for part in GUARDS) / _steps_time(seconds) for seconds in runs)
    others = {part: Spread.of(seconds[part] / _steps_time(seconds) for seconds in runs) for part in OTHERS}
    rows = [[part, f"{share:.2%}"] for part, share in shares.items()]
    rows += [["guards, manifests and hashing together", f"{total:.2%}"]]
    rows += [[f"beside it: {part}", f"{share:.2%}"] for part, share in others.items()]
    whole = f"{Spread.of(seconds[_TRAIN] for seconds in runs):.1f}"
    notes = [
        f"The demo's recipe (recipes/pico/sft.yaml{f', {max_steps} steps' if max_steps else ''}), {len(runs)} times; "
        f"training took {whole} s. Shares are of the time of the training steps, evaluation and the writing of "
        f"checkpoints left out. Goal: at most {GOAL:.0%} together; median {total.median:.2%}."
    ]
    figures = {"seconds": list(runs), "shares": shares | {"together": total}, "beside": others, "goal": GOAL}
    table = Table("Share of the training steps' time", ["", "median (least to most)"], rows)
    return Report("The price of guards, manifests and hashing", figures, [table], notes)


def _steps_time(seconds: Mapping[str, float]) -> float:
    apart = ("writing checkpoints (upstream's and the weights)", "evaluation")
    return seconds[_TRAIN] - sum(seconds[part] for part in apart)


if __name__ == "__main__":
    main()
