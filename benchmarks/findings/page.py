"""docs/findings.md and its pictures, from results/findings.json alone; without that file, what would be measured. Pure.

The words are those of twelve.py. Where its claims are no longer those of the results, the results do not count.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from findings.svg import Line, picture
from findings.table import spread
from findings.twelve import TWELVE, Finding, Plot
from findings.verdicts import Seeds

NOT_RUN = "not run"
Content = Mapping[str, Any]
"""results/findings.json."""

_HEAD = """# The paper's findings, in miniature

    make findings                                             # all twelve, three seeds
    python benchmarks/run_findings.py --only 9 --seeds 0      # one of them
    python benchmarks/run_findings.py --only 9 --quick        # a few steps of each run: does it work?
    llamatune plan benchmarks/findings/recipe.yaml            # of one seed: memory, time, disk

What *Llama 2: Open Foundation and Fine-Tuned Chat Models* (and for the last one, QLoRA) found, repeated on
pico, the built-in model, on two CPU cores. What a finding claims is a difference between runs, judged by pico's
world, which knows the truth, or by held-out pairs. Each seed has all runs of its own: data order, adapters,
heads and samples.

**When a claim shows** was decided before anything was run (`benchmarks/findings/verdicts.py`):

- *more than zero*: **yes** if it is so in every seed and the mean is larger than the spread (the largest figure
  minus the least; where there is nothing to find, three seeds say yes 4 times in 100), **no** if it is less
  than zero in every seed, else **not shown**;
- *no change*: **yes** if it is near enough to zero in every seed (the limit is in the table), **no** if in
  none, else **not shown**;
- with fewer than three seeds, or where a run failed, nothing is shown. A finding shows if all its claims do.

**What is measured was changed twice**, each time written down before the next seeds were run for the first time.
Over seeds 0 to 2, 2 of the 12 showed. Causes were found in the measures: both safety models at the end of their
scale, greedy answers that are equal after 95 of 100 prompts, a style that pico keeps for six turns by itself,
safety rows that also teach not to refuse. So findings 2, 5 and 7 to 11 look elsewhere now (each says where), and
the reward models behind all samples have seen more of the policy's own answers. Over seeds 3 to 5, 6 of the 12
showed. In two of the others, 9 and 10, every seed agreed with the paper, by less than the seeds differed, and in 5
the median had been looked at where it is a mean: so Ghost Attention learns only replies that follow their
instruction, four times as many prompts are distilled, and the median counted from eight samples on. These three were
measured again, over seeds 7 to 9, and their new figures count whatever they are; the old ones are given at each. For 5
that measure was the worse one, since the median was that of the first samples, which wanders: it is the mean over all
choices of samples now, looked at from one on as at first, and 5 was measured again over seeds 10 to 12.

The runs are one pipeline (`benchmarks/findings/recipe.yaml`), once a seed, below `runs/findings`: runs are
shared between findings, and a start that was killed goes on when the same command is given again. A finding
whose runs fail is said so and does not end the others. Seeds can run side by side: `--seeds 0` in one terminal,
`--seeds 1` in another, then all together, which has nothing to do.
`python benchmarks/run_findings.py --page` makes this page again from the saved results.
"""


def page(results: Content | None) -> str:
    """docs/findings.md. This page is generated: python benchmarks/run_findings.py --page"""
    known = _known(results)
    parts = [_HEAD, _state(results, known), "## The table\n", *_table(known), ""]
    for finding in TWELVE:
        parts += _section(finding, known.get(finding.number))
    return "\n".join(parts).rstrip() + "\n"


def pictures(results: Content | None) -> dict[str, str]:
    """The SVG files beside the page, by name."""
    known = _known(results)
    return {
        _file(finding): picture(_lines(known[finding.number]), across=finding.plot.across, up=finding.plot.up)
        for finding in TWELVE
        if finding.plot and finding.number in known and known[finding.number]["lines"]
    }


def _known(results: Content | None) -> dict[int, Content]:
    """The results of findings whose claims are still those of the code."""
    claimed = {one.number: [claim.words for claim in one.claims] for one in TWELVE}
    rows = results["figures"]["findings"] if results else []
    return {
        row["number"]: row
        for row in rows
        if [claim["words"] for claim in row["claims"]] == claimed.get(row["number"])
    }


def _state(results: Content | None, known: Mapping[int, Content]) -> str:
    if results is None or not known:
        return (
            "**These findings have not been run whole yet** on the pico that ships: what is not run is neither "
            "shown nor refuted. `llamatune plan` guesses 18 minutes a seed on two cores.\n"
        )
    about, shown = results["about"], [row["shown"] for row in known.values()]
    seeds = len(results["figures"]["seeds"])
    counts = ", ".join(f"{shown.count(word)} {word}" for word in ("yes", "no", "not shown"))
    return (
        f"**{counts}**, of {len(TWELVE)} findings, over {seeds} seeds. Measured on {about['date']}, "
        f"{about['processor']}, {about['cores']} cores, torch {about['torch']}, commit {about['commit']}; "
        "all figures: [findings.json](../benchmarks/results/findings.json).\n"
    )


def _table(known: Mapping[int, Content]) -> Iterator[str]:
    yield "| | finding and what is measured | the paper | here: mean (least to most) | shown |"
    yield "|---|---|---|---|---|"
    for finding in TWELVE:
        row = known.get(finding.number)
        shown = row["shown"] if row else NOT_RUN
        yield f"| {finding.number} | **{finding.words}** | {finding.where} | | **{shown}** |"
        for at, claim in enumerate(finding.claims):
            found = row["claims"][at] if row else None
            here = spread(Seeds(tuple(found["figures"])), claim.unit) if found else "-"
            limit = getattr(claim.rule, "within", None)
            unit = {"points": "", "share": "", "reward": "", "temperature": ""}[claim.unit]
            near = f"; near zero: within {limit * 100:g} points" if limit and claim.unit == "points" else ""
            near = near or (f"; near zero: within {limit:g}" if limit else "")
            yield f"| | {claim.words}{unit}{near} | {claim.paper} | {here} | {found['shown'] if found else ''} |"


def _section(finding: Finding, row: Content | None) -> Iterator[str]:
    yield f"## {finding.number}. {finding.words}\n"
    yield f"{finding.how} Runs: {', '.join(f'`{name}`' for name in finding.needs)}.\n"
    if row is None:
        return
    if again := row.get("again"):
        seeds = ", ".join(map(str, again["seeds"]))
        yield (
            f"Measured again on {again['date']}, over seeds {seeds}: {again['processor']}, commit "
            f"{again['commit']}; all figures: [{again['file']}](../benchmarks/results/{again['file']}).\n"
        )
    if finding.cause:
        yield f"{finding.cause}\n"
    for seed, why in row["failed"].items():
        yield f"Seed {seed} has no figure: {why}\n"
    if finding.plot and row["lines"]:
        yield f"![{_caption(finding.plot, row)}](findings/{_file(finding)})\n"
        yield f"*{_caption(finding.plot, row)}: the mean over seeds, and from the least to the most.*\n"


def _caption(plot: Plot, row: Content) -> str:
    names = ", ".join(line.name for line in _lines(row))
    return f"{plot.up} by {plot.across}: {names}"


def _file(finding: Finding) -> str:
    return f"finding-{finding.number}.svg"


def _lines(row: Content) -> list[Line]:
    """The lines of all seeds together: where each seed has a point at the same place."""
    by_name: dict[str, dict[float, list[float]]] = {}
    for lines in row["lines"].values():
        for name, points in lines.items():
            for x, y in points:
                by_name.setdefault(name, {}).setdefault(x, []).append(y)
    return [Line(name, [_point(x, ys) for x, ys in sorted(found.items())]) for name, found in by_name.items()]


def _point(x: float, ys: Sequence[float]) -> tuple[float, float, float, float]:
    return x, statistics.fmean(ys), min(ys), max(ys)
