"""The data section: what became of each source's rows, and of preference pairs what they are like."""

from __future__ import annotations

from typing import Any

from llamatune.runs.report import words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.sections import count, fact
from llamatune.runs.report.tables import Cell, Table, heading, percent

MOST_SOURCES, MOST_KINDS = 200, 20
_EPOCH = {"pairs": "pairs in an epoch", "rows": "rows in an epoch", "prompts": "prompts in an epoch"}


def section(data: dict[str, Any], unit: str) -> dict[str, Any]:
    """One row a source, and the training sources together; `unit` is what an epoch is counted in, if not in tokens."""
    sources = [(row, as_mapping(row.get("counts"))) for row in as_rows(data.get("sources"))[:MOST_SOURCES]]
    total = as_mapping(data.get("counts"))
    if total and sum(source.get("role") == "train" for source, _ in sources) > 1:
        sources.append(({"name": "all training rows", "total": True}, total))
    if unit == "pairs" and not any("pairs" in counts for _, counts in sources):
        unit = "rows"
    return {
        "unit": _EPOCH.get(unit, "trained tokens").replace(
            "prompts",
            "prompts or rows" if any(source.get("role") == "ptx" for source, _ in sources) else "prompts",
        ),
        "sources": [_source(source, counts, unit) for source, counts in sources],
        "pairs": _pairs(sources) if unit == "pairs" else None,
    }


def _source(source: dict[str, Any], counts: dict[str, Any], unit: str) -> dict[str, Any]:
    notes = [source.get(key) for key in ("format", "licence")]
    if (weight := as_number(source.get("weight"))) is not None and weight != 1:
        notes.append(f"weight {words.number(weight)}")
    if (share := as_number(source.get("share"))) is not None:
        notes.append(f"share {words.number(share)}")
    if source.get("run"):
        notes.append(f"made by the run {as_text(source['run'])}")
    elif not source.get("card") and source.get("role"):
        notes.append("no data card")
    if source.get("is_safety") is True:
        notes.append("safety prompts")
    if source.get("revision"):
        notes.append(f"revision {as_text(source['revision'])}")
    dropped, adjusted = as_mapping(counts.get("dropped")), as_mapping(counts.get("adjusted"))
    own = ("truncated", "escaped", "altered", "default_system")
    changed = {**adjusted, **{name.replace("_", " "): counts[name] for name in own if counts.get(name)}}
    hashes = source.get("sha256")
    tokens = count(counts.get("tokens"))
    return {
        "total": source.get("total") is True and not source.get("role"),
        "name": as_text(source.get("name")),
        "role": as_text(source.get("role")),
        "notes": [as_text(note) for note in notes if note],
        "hashes": [fact(value) for value in hashes[:8]] if isinstance(hashes, list) else [],
        **{name: count(counts.get(name)) for name in ("read", "kept", "held_out", "longest")},
        "dropped": [(reason, count(rows)) for reason, rows in dropped.items()],
        "changed": [(reason, count(rows)) for reason, rows in changed.items()],
        "epoch": count(counts.get("sequences" if unit else "trained_tokens")),
        "epoch_note": f"{tokens} tokens" if unit else f"of {tokens}",
    }


def _pairs(sources: list[tuple[dict[str, Any], dict[str, Any]]]) -> Table:
    """Length bias, ratings and safety labels of the pairs of one epoch."""
    rows = []
    lists = ("by rating", "by safety label")
    for source, counts in sources:
        pairs, number = as_mapping(counts.get("pairs")), as_number(counts.get("sequences"))
        cells = []
        for side in ("chosen", "rejected"):
            longer, tokens = pairs.get(f"{side}_longer"), pairs.get(f"{side}_tokens")
            cells.append(Cell(percent(_mean(longer, number)), _tokens(tokens, number)))
        kinds = [_kinds(pairs.get("ratings"), number), _kinds(pairs.get("safety"), number)]
        name = ", ".join(filter(None, (as_text(source.get(key)) for key in ("name", "role"))))
        rows.append((name, [*cells, *kinds]))
    return Table(
        "Pairs",
        "Where one side is mostly the longer one, a model can do well by length alone.",
        ["chosen is longer", "rejected is longer", *lists],
        rows,
        lists,
    )


def _mean(value: Any, number: float | None) -> float | None:
    total = as_number(value)
    return total / number if total is not None and number is not None and number > 0 else None


def _tokens(total: Any, number: float | None) -> str:
    mean = _mean(total, number)
    return "" if mean is None else f"{words.number(mean, 3)} tokens on average"


def _kinds(found: Any, number: float | None) -> Cell:
    """How many pairs there are of each kind."""
    lines = [
        f"{count(pairs)} {heading(name)}" for name, pairs in list(as_mapping(found).items())[:MOST_KINDS]
    ]
    return Cell("" if lines else "–", lines=tuple(lines))
