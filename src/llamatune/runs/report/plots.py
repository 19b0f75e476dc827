"""Two pictures of a held-out set: is a reward model as sure as it is right, and how do its scores lie?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamatune.runs.report.reading import as_mapping, as_number, as_rows
from llamatune.runs.report.svg import INK, LINE, OTHER, frame, picture, tick_labels, ticks
from llamatune.runs.report.tables import plain
from llamatune.runs.report.words import number

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

MOST_BINS = 200
_LARGEST = 1e100
_LOWEST = 0.4
"""Where the axis of accuracies starts, unless one is lower still: 0.5 is guessing."""


@dataclass(frozen=True)
class Point:
    """Pairs on which the model is about equally sure."""

    confidence: float
    accuracy: float
    pairs: float


@dataclass(frozen=True)
class Histogram:
    """Replies by score: n + 1 edges, and n numbers for either side of the pairs."""

    edges: list[float]
    chosen: list[float]
    rejected: list[float]


def of_set(name: str, figures: Mapping[str, Any], at: int) -> dict[str, Any]:
    """Both pictures, with what they say in words; None for one that cannot be drawn. `at`: a number of its own."""
    points, scores = points_of(figures.get("calibration")), histogram_of(figures.get("histogram"))
    margin = figures.get("margin")
    return {
        "name": name,
        "calibration": {"svg": calibration(points, at), "summary": _off(points)} if points else None,
        "histogram": {
            "svg": histogram(scores, at),
            "summary": f"mean difference {plain(margin)}" if as_number(margin) is not None else "",
        }
        if scores
        else None,
    }


# ---- calibration ------------------------------------------------------------------------------------------


def points_of(content: Any) -> list[Point]:
    """The points that can be drawn: shares, of a number of pairs."""
    points = []
    for row in as_rows(content)[:MOST_BINS]:
        confidence, accuracy, pairs = (as_number(row.get(key)) for key in ("confidence", "accuracy", "pairs"))
        if confidence is None or accuracy is None or pairs is None:
            continue
        if 0 <= confidence <= 1 and 0 <= accuracy <= 1 and 0 < pairs < _LARGEST:
            points.append(Point(confidence, accuracy, pairs))
    return sorted(points, key=lambda point: point.confidence)


def _off(points: list[Point]) -> str:
    """The expected calibration error, in words."""
    pairs = sum(point.pairs for point in points)
    off = sum(abs(point.confidence - point.accuracy) * point.pairs for point in points) / pairs
    return f"mean gap {number(100 * off, 2)} points"


def calibration(points: list[Point], at: int) -> Markup:
    """A dot for each group of pairs, larger for more, and the diagonal on which the model is as sure as it
    is right."""

    def paint(axes: Axes) -> None:
        left = min(0.5, *(math.floor(10 * point.confidence) / 10 for point in points))
        low = min(_LOWEST, *(math.floor(10 * point.accuracy) / 10 for point in points))
        frame(axes, (left - 0.02, 1.02), (low - 0.02, 1.02))
        across, up = ticks(left, 1.0, 6), ticks(low, 1.0, 5)
        axes.set_xticks(across, [f"{tick:.0%}" for tick in across])
        axes.set_yticks(up, [f"{tick:.0%}" for tick in up])
        axes.plot([left, 1], [left, 1], color=INK, linewidth=1.2, linestyle=(0, (2, 3)))
        across, up = [point.confidence for point in points], [point.accuracy for point in points]
        axes.plot(across, up, color=LINE, linewidth=1.4)
        most = max(point.pairs for point in points)
        for point in points:
            size = 4 + 9 * math.sqrt(point.pairs / most)
            axes.plot([point.confidence], [point.accuracy], color=LINE, marker="o", markersize=size)

    return picture(f"calibration {at}", paint, up="accuracy", across="the model's confidence")


# ---- scores -----------------------------------------------------------------------------------------------


def histogram_of(content: Any) -> Histogram | None:
    """The histogram, if it can be drawn: edges that rise, counts of which none is below zero, and as many as there
    should be."""
    found = as_mapping(content)
    edges, chosen, rejected = (_numbers(found.get(key)) for key in ("edges", "chosen", "rejected"))
    rises = all(low < high for low, high in zip(edges, edges[1:], strict=False))
    wide = len(edges) > 1 and edges[-1] - edges[0] > 1e-9 * max(map(abs, edges))
    fits = len(chosen) == len(rejected) == len(edges) - 1 and min([*chosen, *rejected], default=-1.0) >= 0
    return Histogram(edges, chosen, rejected) if rises and wide and fits else None


def _numbers(content: Any) -> list[float]:
    """Numbers that can be drawn, and not too many; otherwise none at all."""
    values = [as_number(value) for value in content[: MOST_BINS + 2]] if isinstance(content, list) else []
    known = [value for value in values if value is not None and abs(value) < _LARGEST]
    return known if len(known) == len(values) <= MOST_BINS + 1 else []


def histogram(scores: Histogram, at: int) -> Markup:
    """The scores of chosen and of rejected replies, one over the other."""

    def paint(axes: Axes) -> None:
        low, high = scores.edges[0], scores.edges[-1]
        top = max([*scores.chosen, *scores.rejected]) or 1.0
        air = 0.01 * (high - low)
        frame(axes, (low - air, high + air), (0.0, 1.06 * top))
        across, up = ticks(low, high, 6), ticks(0.0, 1.06 * top, 5, integer=True)
        axes.set_xticks(across, tick_labels(across))
        axes.set_yticks(up, tick_labels(up))
        sides = ((scores.rejected, OTHER, (0, (4, 2))), (scores.chosen, LINE, "-"))
        for counts, colour, line in sides:
            axes.stairs(counts, scores.edges, color=colour, fill=True, alpha=0.22, linewidth=0)
            axes.stairs(counts, scores.edges, color=colour, linewidth=1.8, linestyle=line)

    return picture(f"scores {at}", paint, up="replies", across="score")
