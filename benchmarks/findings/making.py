"""Makes the runs that findings need, and reads their figures.

The runs of a seed are a pipeline (recipe.yaml): a step is done while it would be made from the same things again. So
runs are shared between findings, a start that was killed goes on, and a second one has nothing to do.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from findings.parts import write_parts
from findings.twelve import Finding, Points
from findings.verdicts import Seeds, Verdict, of_all
from llamatune.errors import LlamatuneError, StoppedError
from llamatune.pipeline import run_steps
from llamatune.recipe.graph.steps import Pipeline, Step
from llamatune.recipe.load import load
from llamatune.runs.handover import CONVERSATIONS
from llamatune.world import judge

RECIPE = Path(__file__).with_name("recipe.yaml")
RUNS = "runs/findings"


@dataclass
class Found:
    """What came of a finding. By claim, a figure for each seed; by seed, its lines, and why there is no figure."""

    finding: Finding
    figures: list[list[float | None]]
    lines: dict[int, dict[str, Points]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def seeds(self) -> list[Seeds]:
        """One for each claim."""
        return [Seeds(tuple(values)) for values in self.figures]

    @property
    def verdicts(self) -> list[Verdict]:
        """One for each claim."""
        return [claim.rule.verdict(one) for claim, one in zip(self.finding.claims, self.seeds, strict=True)]

    @property
    def verdict(self) -> Verdict:
        return of_all(self.verdicts)


def find(findings: Sequence[Finding], seeds: Sequence[int], *, quick: bool = False) -> list[Found]:
    """Make all runs that are not done, seed by seed, and measure. A finding whose runs fail does not end the others.

    Args:
        quick: a few steps and rows of each run, in folders of their own: to see that it works.

    Raises:
        StoppedError: a signal asked it to stop; the same call goes on.
    """
    found = {one.number: Found(one, [[] for _ in one.claims]) for one in findings}
    for seed in seeds:
        pipeline = pipeline_of(seed, quick=quick)
        for finding in findings:
            measured, lines, why = _of_seed(finding, pipeline)
            one = found[finding.number]
            for values, value in zip(one.figures, measured, strict=True):
                values.append(value)
            if lines:
                one.lines[seed] = lines
            if why:
                one.failed[seed] = why
    return list(found.values())


class Measured(NamedTuple):
    """Of a finding and a seed: a figure for each claim, the lines of its plot, and what went wrong."""

    figures: list[float | None]
    lines: dict[str, Points]
    why: str


def _of_seed(finding: Finding, pipeline: Pipeline) -> Measured:
    try:
        run_steps(pipeline, chosen=steps_for(finding, pipeline))
    except StoppedError:
        raise
    except LlamatuneError as error:
        return Measured([None] * len(finding.claims), {}, str(error).splitlines()[0])
    runs = {name: figures_of(pipeline, name) for name in finding.needs}
    return measured(finding, runs)


def measured(finding: Finding, runs: Mapping[str, Any]) -> Measured:
    """What a finding says of these runs' figures."""
    lines = finding.plot.lines(runs) if finding.plot else {}
    return Measured([claim.measure(runs) for claim in finding.claims], lines, "")


def figures_of(pipeline: Pipeline, step: str) -> Any:
    """The evaluation.json of a step that has finished. Of context distillation, `unsafe_by_oracle` as well: the share
    of the answers that it leaves to be learnt."""
    folder = Path(pipeline.output) / step
    content = json.loads((folder / "evaluation.json").read_text("utf-8"))
    learnt = folder / CONVERSATIONS
    if "origins" in content and learnt.is_file():
        rows = [json.loads(line)["messages"] for line in learnt.read_text("utf-8").splitlines()]
        content["unsafe_by_oracle"] = fmean(judge(row[:-1], row[-1]["content"]).unsafe for row in rows)
    return content


def figures_by_step(
    steps: Iterable[str], seeds: Sequence[int], *, quick: bool = False
) -> dict[str, list[Any]]:
    """Of steps that have finished, the figures of each seed."""
    pipelines = [pipeline_of(seed, quick=quick) for seed in seeds]
    return {step: [figures_of(pipeline, step) for pipeline in pipelines] for step in steps}


def steps_for(finding: Finding, pipeline: Pipeline) -> frozenset[str]:
    """The steps that a finding looks at, and all that they take something from, directly or not."""
    found: set[str] = set()
    coming = list(finding.needs)
    while coming:
        name = coming.pop()
        if name not in found:
            found.add(name)
            coming += pipeline.needs[name]
    return frozenset(found)


# ---- the pipeline of a seed -----------------------------------------------------------------------------------------


def pipeline_of(seed: int, *, quick: bool = False) -> Pipeline:
    """The runs of a seed. Writes what recipe.yaml takes from files."""
    write_parts(Path(RUNS))
    overrides = overrides_of(seed, quick=quick)
    pipeline = load(RECIPE, overrides)
    assert isinstance(pipeline, Pipeline)
    if not quick:
        return pipeline
    smaller = load(RECIPE, [*overrides, *_fewer(pipeline.steps)])
    assert isinstance(smaller, Pipeline)
    return smaller


def overrides_of(seed: int, *, quick: bool = False) -> list[str]:
    """What recipe.yaml is loaded with."""
    return [f"set.seed={seed}", f"output={RUNS}/{'quick/' if quick else ''}seed-{seed}"]


_FEWER: dict[str, Mapping[str, Any]] = {
    "sft": {"optimization.max_steps": 30},
    "reward": {"optimization.max_steps": 3},
    "ppo": {"optimization.iterations": 1, "optimization.batch_size": 32, "ppo.mini_batch_size": 16},
    "preferences": {},
    "rejection_sampling": {"sampling.samples": 2},
    "gatt": {},
    "context_distillation": {},
    "evaluate": {},
}
"""By stage, what is different where it need only work."""
_ROWS_EACH = 12
_PAIRS_EACH = 100
"""Of a reward model's held-out pairs: so many that each rating is among them."""


def _fewer(steps: Collection[Step]) -> Iterator[str]:
    for step in steps:
        changes = dict(_FEWER[step.recipe.stage])
        sampled = step.recipe.stage not in ("sft", "reward", "ppo")
        data = step.recipe.data
        most = _PAIRS_EACH if step.recipe.stage == "reward" else _ROWS_EACH
        for role, sources in (("train", data.train if sampled else []), ("eval", data.eval)):
            changes |= {f"data.{role}.{at}.max_rows": most for at in range(len(sources))}
        for key, value in changes.items():
            yield f"steps.{step.name}.set.{key}={value}"
