"""What was found, as data for results/findings.json and as a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reporting import Report, Table

from findings.making import Found
from findings.verdicts import Seeds

QUICK = "Quick: a few steps and rows of each run. These figures say that it works, and nothing else."
_FACTOR = {"points": 100.0}


def report(found: Sequence[Found], seeds: Sequence[int], *, quick: bool) -> Report:
    """The table of all findings, and for programs all figures, seed by seed."""
    title = f"The paper's findings on pico{' (quick: these figures mean nothing)' if quick else ''}"
    rows = [row for one in found for row in _rows(one)]
    table = Table(title, ["finding", "paper", "here: mean (least to most)", "shown"], rows)
    notes = [QUICK] if quick else []
    notes.append(
        f"{len(seeds)} seeds. Points, unless it says otherwise; a figure is a difference, and the paper's "
        "is in the same direction. When a claim counts as shown: benchmarks/findings/verdicts.py."
    )
    notes += [
        f"Finding {one.finding.number}, seed {seed}: {why}"
        for one in found
        for seed, why in one.failed.items()
    ]
    figures = {"quick": quick, "seeds": list(seeds), "findings": [_record(one) for one in found]}
    return Report(title, figures, [table], notes)


def _rows(one: Found) -> list[list[str]]:
    """The finding with its verdict, then each claim with its own."""
    finding = one.finding
    verdicts = [str(verdict) for verdict in one.verdicts]
    return [
        [f"{finding.number} {finding.words} ({finding.where})", "", "", str(one.verdict)],
        *(
            [f"   {claim.words}", claim.paper, spread(values, claim.unit), verdict]
            for claim, values, verdict in zip(finding.claims, one.seeds, verdicts, strict=True)
        ),
    ]


def spread(seeds: Seeds, unit: str) -> str:
    """`+1.3 (+0.9 to +1.8)`, or a dash where there is no figure."""
    if seeds.mean is None:
        return "-"
    shown = [_number(value, unit) for value in (seeds.mean, min(seeds.known), max(seeds.known))]
    missing = len(seeds.values) - len(seeds.known)
    return "{} ({} to {})".format(*shown) + (f", {missing} missing" if missing else "")


def _number(value: float, unit: str) -> str:
    text = f"{value * _FACTOR.get(unit, 1.0):+.{1 if unit == 'points' else 2}f}"
    return text.lstrip("+-") if not float(text) else text


def _record(one: Found) -> dict[str, Any]:
    finding = one.finding
    return {
        "number": finding.number,
        "shown": str(one.verdict),
        "claims": [
            {
                "words": claim.words,
                "paper": claim.paper,
                "unit": claim.unit,
                "figures": list(values.values),
                "shown": str(verdict),
            }
            for claim, values, verdict in zip(finding.claims, one.seeds, one.verdicts, strict=True)
        ],
        "lines": {
            str(seed): {name: [list(point) for point in points] for name, points in lines.items()}
            for seed, lines in one.lines.items()
        },
        "failed": {str(seed): why for seed, why in one.failed.items()},
    }
