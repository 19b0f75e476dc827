"""Charts of numbers over steps."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llamatune.runs.report.series import Chart, Series
from llamatune.runs.report.svg import BAD, GRID, INK, LINE, NARROW, OTHER, frame, picture, tick_labels, ticks

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

_ON_WHITE = {INK: "#444444", GRID: "#dddddd", LINE: "#1f5fa8", OTHER: "#b4540a", BAD: "#b00020"}
"""The colours of a picture without a page, for the placeholders of those in it."""

MOST_POINTS = 600
"""Points drawn for one series: more than there are pixels to see."""


def draw(chart: Chart, resumes: Sequence[float], last_step: float, size: tuple[int, int] = NARROW) -> Markup:
    """The chart as an `<svg>` element of that size; `resumes` are drawn as thin vertical lines.

    `last_step` is the end of every chart's axis, so that charts can be compared.
    """

    def paint(axes: Axes) -> None:
        _frame(axes, chart, max(last_step, 1.0), most=5 if size == NARROW else 9)
        for step in resumes:
            axes.axvline(step, color=INK, linewidth=1, linestyle=(0, (2, 3)))
        _lines(axes, chart)

    return picture(chart.name, paint, up=chart.unit, across="step", size=size)


def draw_all(charts: Sequence[Chart], last_step: float) -> bytes:
    """Several charts in one PNG, for where there is no page around them: two in a row, dark on white."""
    import io

    from matplotlib import style
    from matplotlib.figure import Figure

    rows = math.ceil(len(charts) / 2)
    with style.context(["default", {"font.size": 11}]):
        figure = Figure(figsize=(10, 2.9 * rows), dpi=100, layout="constrained")
        for at, chart in enumerate(charts, 1):
            axes = figure.add_subplot(rows, 2, at)
            _frame(axes, chart, max(last_step, 1.0), most=5)
            _lines(axes, chart)
            axes.set_title(", ".join(filter(None, (chart.title, chart.unit))), fontsize=11, loc="left")
            axes.set_xlabel("step (dashed: held-out)" if chart.held_out.logged else "step")
        for artist in figure.findobj(lambda one: hasattr(one, "get_color")):
            artist.set_color(_ON_WHITE.get(artist.get_color(), artist.get_color()))  # type: ignore[attr-defined]
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _frame(axes: Axes, chart: Chart, last_step: float, most: int) -> None:
    """Axes with few ticks."""
    low, high = _limits([*chart.train.values, *chart.held_out.values], chart.from_zero)
    frame(axes, (-0.01 * last_step, 1.01 * last_step), (low, high))
    across, up = ticks(0, last_step, most, integer=True), ticks(low, high, 5)
    axes.set_xticks(across, tick_labels(across))
    axes.set_yticks(up, tick_labels(up))


def _lines(axes: Axes, chart: Chart) -> None:
    few = len(chart.train.values) <= 40
    for steps, values in _unbroken(chart.train):
        marker = "o" if few or len(steps) == 1 else ""
        axes.plot(steps, values, color=LINE, linewidth=1.8, marker=marker, markersize=3.5)
    for steps, values in _unbroken(chart.held_out):
        marker = "D" if len(chart.held_out.values) <= 40 or len(steps) == 1 else ""
        axes.plot(
            steps, values, color=OTHER, linewidth=1.8, linestyle=(0, (4, 2)), marker=marker, markersize=5
        )
    odd = [step for step, _ in (*chart.train.odd, *chart.held_out.odd)][:MOST_POINTS]
    if odd:
        foot = axes.get_xaxis_transform()
        axes.plot(
            odd,
            [0.0] * len(odd),
            color=BAD,
            marker="x",
            markersize=8,
            markeredgewidth=2,
            linestyle="",
            transform=foot,
            clip_on=False,
        )


def _limits(values: Sequence[float], from_zero: bool) -> tuple[float, float]:
    """Lower and upper end of the axis, with some air."""
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            return 0.0, 1.0
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        air = abs(high) * 0.1 or 1.0
        return low - air, high + air
    air = (high - low) * 0.06
    return (low if from_zero and low == 0 else low - air), high + air


def _unbroken(series: Series) -> list[tuple[list[float], list[float]]]:
    """Stretches to be joined by a line: it breaks at a NaN, and where a resume went back to an earlier step."""
    breaks = sorted(step for step, _ in series.odd)
    stretches: list[tuple[list[float], list[float]]] = []
    before = math.inf
    for step, value in zip(series.steps, series.values, strict=True):
        if step <= before or bisect_right(breaks, before) < bisect_left(breaks, step):
            stretches.append(([], []))
        stretches[-1][0].append(step)
        stretches[-1][1].append(value)
        before = step
    return [_thinned(*stretch) for stretch in stretches]


def _thinned(steps: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """At most about MOST_POINTS points: the lowest and the highest of each bucket, so that no spike is lost."""
    size = math.ceil(2 * len(steps) / MOST_POINTS)
    if size <= 2:
        return steps, values
    kept: list[int] = []
    for start in range(0, len(steps), size):
        bucket = range(start, min(start + size, len(steps)))
        kept += sorted({min(bucket, key=values.__getitem__), max(bucket, key=values.__getitem__)})
    return [steps[i] for i in kept], [values[i] for i in kept]
