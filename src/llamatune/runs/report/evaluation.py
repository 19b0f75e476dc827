"""The evaluation of a reward model: how well it tells the better of two replies, on each held-out set.

The figures are those of `judging/figures.py`, as a file holds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from llamatune.runs.report import plots, words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.series import KNOWN, Known, Series
from llamatune.runs.report.tables import (
    MOST_COLUMNS,
    Cell,
    Table,
    amount,
    heading,
    measured,
    percent,
    plain,
    section_of,
)

MOST_SETS, MOST_PLOTS, LONGEST_NAME = 50, 12, 80

RATINGS = ("significantly_better", "better", "slightly_better", "negligibly_better")
SAFETY_BINS = ("chosen_safe", "both_safe", "both_unsafe")
"""The order of columns; anything else comes after them."""

_DRAWN = {"accuracy": ("Accuracy", "share of held-out pairs"), "rmse": ("Error", "root mean squared error")}
"""Figures of a set that are drawn over steps: what the chart is called, and its unit."""
_LOGGED = (*_DRAWN, "margin", "unsafe_recall", "safe_recall", "agreement", "correlation")
"""Figures of a set that are logged at each evaluation."""

_Sets = list[tuple[str, dict[str, Any]]]


def section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Tables and pictures of evaluation.json, in the order of a reader's interest."""
    sets = [(words.shorten(name, LONGEST_NAME), as_mapping(said)) for name, said in content.items()]
    pairs = [(name, figures) for name, figures in sets[:MOST_SETS] if "rmse" not in figures]
    scored = [(name, figures) for name, figures in sets[:MOST_SETS] if "rmse" in figures]
    other = words.shorten(as_text(recipe.get("compare_with")), LONGEST_NAME)
    tables = [_ratings(pairs), _safety(pairs), _lengths(pairs), _agreement(pairs, other), _scores(scored)]
    return section_of(
        *tables,
        of="held-out set",
        plots=[plots.of_set(name, figures, at) for at, (name, figures) in enumerate(pairs[:MOST_PLOTS])],
        sets_left_out=max(0, len(sets) - MOST_SETS),
        plots_left_out=max(0, len(pairs) - MOST_PLOTS),
    )


# ---- tables -----------------------------------------------------------------------------------------------


def _ratings(sets: _Sets) -> Table:
    parts = _columns(RATINGS, [figures.get("by_rating") for _, figures in sets])
    return Table(
        "Accuracy by rating" if parts else "Accuracy",
        "Share of the pairs whose chosen reply gets the higher score, by how much better people found it. "
        "A tie counts half; guessing gets 50%. After the number of pairs: the 95% interval.",
        [*map(heading, parts), "all"],
        [(name, [*_parts(figures.get("by_rating"), parts), _part(figures)]) for name, figures in sets],
    )


def _safety(sets: _Sets) -> Table:
    keys = ("by_safety", "unsafe_recall", "safe_recall")
    sets = [(name, figures) for name, figures in sets if any(key in figures for key in keys)]
    bins = _columns(SAFETY_BINS, [figures.get("by_safety") for _, figures in sets])
    rows = []
    for name, figures in sets:
        recall = [Cell(percent(figures.get(key))) for key in keys[1:]]
        rows.append((name, [*_parts(figures.get("by_safety"), bins), *recall]))
    return Table(
        "Accuracy by safety",
        "By which replies of a pair are safe. Recall: the share of unsafe replies with a score below 0, and "
        "of safe ones with a score of 0 or more.",
        [*map(heading, bins), "unsafe recall", "safe recall"],
        rows,
    )


def _lengths(sets: _Sets) -> Table:
    found = [{_limits(part): part for part in as_rows(said.get("by_length_difference"))} for _, said in sets]
    limits = sorted({limit for parts in found for limit in parts})[:MOST_COLUMNS]
    rows = []
    for (name, figures), parts in zip(sets, found, strict=True):
        shares = [Cell(percent(figures.get(key))) for key in ("chosen_longer", "longer_preferred")]
        rows.append((name, [*(_part(parts.get(limit)) for limit in limits), *shares]))
    return Table(
        "Accuracy by length",
        "By how many tokens the chosen reply is longer than the rejected one; negative: shorter. Then the share "
        "of pairs whose chosen reply is longer, and how often the model prefers the longer one where lengths "
        "differ: far above the former, it rewards length.",
        [*map(_between, limits), "chosen is longer", "longer is preferred"],
        [] if not limits and not any("chosen_longer" in figures for _, figures in sets) else rows,
    )


def _limits(part: Mapping[str, Any]) -> tuple[float, float]:
    """From the first to below the second; none is no limit, and sorts as such."""
    low, high = as_number(part.get("from")), as_number(part.get("to"))
    return (
        -math.inf if low is None or math.isnan(low) else low,
        math.inf if high is None or math.isnan(high) else high,
    )


def _between(limits: tuple[float, float]) -> str:
    """In whole tokens, both ends included: 10 to 49."""
    low, high = limits
    last = words.number(high - 1)
    if math.isinf(low):
        return f"{last} or less" if math.isfinite(high) else "any"
    return f"{words.number(low)} to {last}" if math.isfinite(high) else f"{words.number(low)} or more"


def _agreement(sets: _Sets, other: str) -> Table:
    return Table(
        "Agreement with another reward model",
        f"Share of the pairs that this model and {other or 'the other one'} put in the same order.",
        ["agreement"],
        [
            (name, [Cell(percent(figures["agreement"]), amount(figures.get("pairs"), "pairs"))])
            for name, figures in sets
            if "agreement" in figures
        ],
    )


def _scores(sets: _Sets) -> Table:
    return Table(
        "Scores",
        "How far the model's scores are from those of the held-out rows.",
        ["root mean squared error", "correlation"],
        [
            (
                name,
                [
                    Cell(plain(figures["rmse"]), amount(figures.get("rows"), "rows")),
                    Cell(plain(figures.get("correlation"))),
                ],
            )
            for name, figures in sets
        ],
    )


def _columns(known: Iterable[str], found: Iterable[Any]) -> list[str]:
    """The parts that at least one set has, known ones first."""
    names = dict.fromkeys(name for parts in found for name in as_mapping(parts))
    ordered = [*(name for name in known if name in names), *(name for name in names if name not in known)]
    return ordered[:MOST_COLUMNS]


def _parts(found: Any, names: Iterable[str]) -> list[Cell]:
    parts = as_mapping(found)
    return [_part(parts.get(name)) for name in names]


def _part(found: Any) -> Cell:
    """The accuracy on some pairs, how many they are, and between what the true one lies."""
    part = as_mapping(found)
    return measured(part.get("accuracy"), part.get("pairs"), "pairs")


# ---- curves -----------------------------------------------------------------------------------------------


def loss_unit(recipe: Mapping[str, Any]) -> str:
    units = {"scores": "squared error per row", "labels": "nats per row"}
    return units.get(as_mapping(recipe.get("loss")).get("objective") or "pairs", "nats per pair")


def set_names(evaluated: Iterable[str], metrics: Mapping[str, Series]) -> list[str]:
    """The held-out sets of evaluation.json, and those that were logged: there is no such file while a run goes on."""
    logged = [
        series.partition("/")[2]
        for series in metrics
        if series.startswith(tuple(f"eval_{x}/" for x in _DRAWN))
    ]
    parts = {f"{name}/{part}" for name in logged for part in (*RATINGS, *SAFETY_BINS)}
    return list(dict.fromkeys([*evaluated, *(name for name in logged if name not in parts)]))


def series(
    metrics: Mapping[str, Series], evaluated: Mapping[str, Any], recipe: Mapping[str, Any]
) -> tuple[dict[str, Known], dict[str, Series]]:
    """Titles and units, and what is drawn."""
    names = set_names(evaluated, metrics)
    return known_series(names, loss_unit(recipe)), charted(metrics, names, evaluated)


def known_series(names: Iterable[str], unit: str) -> dict[str, Known]:
    """`series.KNOWN`, the loss in its unit, and after it the figures of each held-out set that are drawn."""
    sets = {
        f"eval_{figure}/{name}": Known(f"{title}: {words.shorten(name, 50)}", what, False)
        for name in names
        for figure, (title, what) in _DRAWN.items()
    }
    loss = {"loss": Known("Loss", unit, False)}
    return loss | sets | KNOWN | loss


def charted(
    metrics: Mapping[str, Series], names: Iterable[str], in_table: Iterable[str]
) -> dict[str, Series]:
    """What is drawn of metrics.jsonl: all but the many figures of held-out sets, of which there are tables.

    Args:
        names: the held-out sets.
        in_table: those with figures in evaluation.json: their accuracy is drawn when it was measured twice.
    """
    names, in_table = set(names), set(in_table)

    def is_drawn(series: str) -> bool:
        figure, _, of = series.removeprefix("eval_").partition("/")
        if figure not in _LOGGED or not series.startswith("eval_"):
            return True
        if of in names:
            return figure in _DRAWN and not (of in in_table and metrics[series].logged == 1)
        return not any(of.startswith(f"{name}/") for name in names)

    return {series: values for series, values in metrics.items() if is_drawn(series)}
