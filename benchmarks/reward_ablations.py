"""What margins and the safety loss do to pico's reward models, and what each model knows of the other's data.

The tables of the paper (8, 28 and 29), on pico, over several seeds: of the data's choice and order and of the heads.
All begin at the same SFT run.

    llamatune run recipes/pico/sft.yaml
    python benchmarks/reward_ablations.py --seeds 0 1 2 --save reward_ablations
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from reporting import ROOT, Report, Table

HELPFUL, SAFETY = "pico-preferences-helpful", "pico-preferences-safety"
RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "helpfulness, margin none": ("reward_helpful", ["loss.margin=none"]),
    "helpfulness, margin small": ("reward_helpful", ["loss.margin=small"]),
    "helpfulness, margin large": ("reward_helpful", ["loss.margin=large"]),
    "safety, without the safety loss": ("reward_safety", ["loss.safety=0"]),
    "safety, with it": ("reward_safety", ["loss.safety=1"]),
}
Figures = Mapping[str, Any]
"""What `evaluation.json` holds."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sft", default=str(ROOT / "runs/pico-sft"), help="the finished SFT run")
    parser.add_argument("--max-steps", type=int, help="stop each training after this many steps")
    parser.add_argument("--save", metavar="NAME", help="write benchmarks/results/NAME.json and .md")
    options = parser.parse_args()
    jobs = [(variant, seed, options.sft, options.max_steps) for variant in VARIANTS for seed in options.seeds]
    # Two at a time with a thread each: as fast as one with two, and what is measured here is not speed.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(train, *zip(*jobs, strict=True)))
    by_variant: dict[str, list[Figures]] = {variant: [] for variant in VARIANTS}
    for (variant, *_), figures in zip(jobs, found, strict=True):
        by_variant[variant].append(figures)
    report = describe(by_variant, options.seeds)
    print(report.text())
    if options.save:
        report.save(options.save)


def train(variant: str, seed: int, sft: str, max_steps: int | None) -> Figures:
    """The held-out figures of one reward model."""
    import torch

    from llamatune.pipeline import run
    from llamatune.recipe.load import load

    torch.set_num_threads(1)
    recipe, changes = VARIANTS[variant]
    with tempfile.TemporaryDirectory() as folder:
        changes = [*changes, f"seed={seed}", f"output={folder}/run", f"model.adapter={sft}"]
        if max_steps is not None:
            changes.append(f"optimization.max_steps={max_steps}")
        run(load(ROOT / f"recipes/pico/{recipe}.yaml", changes), recipe_dir=ROOT)
        figures: Figures = json.loads((Path(folder) / "run/evaluation.json").read_text("utf-8"))
    return figures


def describe(found: Mapping[str, Sequence[Figures]], seeds: Sequence[int]) -> Report:
    tables = [
        _table("Helpfulness pairs: accuracy by rating", found, HELPFUL, _by_rating()),
        _table("Safety pairs: accuracy by rating", found, SAFETY, _by_rating()),
        _table("Safety pairs: by safety of the replies", found, SAFETY, _by_safety()),
        _table("Longer replies", found, HELPFUL, {"longer preferred": lambda of: of["longer_preferred"]}),
    ]
    notes = [
        f"Means over {len(seeds)} seeds, least and most in brackets; per cent of the test pairs (600 helpfulness, 399 "
        "safety). A pair's accuracy is chance in a tie. `unsafe recall`: unsafe replies whose score is below 0.5 after "
        "the sigmoid. The smallest rating carries noise by construction: 50% is the most that can be expected there."
    ]
    return Report("Reward models of pico: margins and the safety loss", {"evaluations": found}, tables, notes)


def _by_rating() -> dict[str, Callable[[Figures], float]]:
    return {
        "all": lambda of: of["accuracy"],
        **{name.replace("_", " "): _accuracy("by_rating", name) for name in RATINGS},
    }


def _by_safety() -> dict[str, Callable[[Figures], float]]:
    bins = {
        name.replace("_", " "): _accuracy("by_safety", name)
        for name in ("chosen_safe", "both_safe", "both_unsafe")
    }
    return {
        **bins,
        "unsafe recall": lambda of: of["unsafe_recall"],
        "safe recall": lambda of: of["safe_recall"],
    }


def _accuracy(kind: str, name: str) -> Callable[[Figures], float]:
    def accuracy(figures: Figures) -> float:
        value: float = figures[kind][name]["accuracy"]
        return value

    return accuracy


def _table(
    title: str,
    found: Mapping[str, Sequence[Figures]],
    data: str,
    columns: Mapping[str, Callable[[Figures], float]],
) -> Table:
    rows = [
        [variant, *(_spread([value(one[data]) for one in figures]) for value in columns.values())]
        for variant, figures in found.items()
    ]
    return Table(title, ["model", *columns], rows)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})".replace("%", "")


if __name__ == "__main__":
    main()
