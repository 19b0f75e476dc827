"""Charts as inline SVG.

No text from the data gets into an SVG: names stand in the page, where they are escaped. Colours are CSS variables of
the page, so a chart follows its light or dark theme. The same numbers give the same bytes.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from llamatune.runs.report.series import Chart, Series
from llamatune.runs.report.words import number, scientific

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDE, NARROW = (920, 260), (400, 220)
"""Pixels. A narrow chart fills half of a desktop's page or all of a telephone's, and is scaled a little."""

MOST_POINTS = 600
"""Points drawn for one series: more than there are pixels to see."""

_INK, _GRID, _LINE, _HELD_OUT, _BAD = "#111111", "#222222", "#333333", "#444444", "#555555"
_THEME = {
    _INK: "var(--muted)",
    _GRID: "var(--rule)",
    _LINE: "var(--line)",
    _HELD_OUT: "var(--held-out)",
    _BAD: "var(--bad)",
}
_SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 12,
    "axes.unicode_minus": True,
    "path.simplify": True,
}


def draw(chart: Chart, resumes: Sequence[float], last_step: float, size: tuple[int, int] = NARROW) -> Markup:
    """The chart as an `<svg>` element of that size; `resumes` are drawn as thin vertical lines.

    `last_step` is the end of every chart's axis, so that charts can be compared.
    """
    import io

    from markupsafe import Markup
    from matplotlib import style
    from matplotlib.figure import Figure

    width, height = size
    salt = {
        "svg.hashsalt": f"{chart.name!a} {width}"
    }  # ids that are the same each time, and no other chart's
    with style.context(["default", _SETTINGS | salt]):  # not what a matplotlibrc of the user's says
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")
        left, right, top, bottom = 58, 14, 26, 46
        axes = figure.add_axes(
            (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height),
            facecolor="none",
        )
        _frame(axes, chart, max(last_step, 1.0), ticks=5 if size == NARROW else 9)
        for step in resumes:
            axes.axvline(step, color=_INK, linewidth=1, linestyle=(0, (2, 3)))
        _lines(axes, chart)
        figure.text(0, 1 - 14 / height, chart.unit, color=_INK, fontsize=12)
        figure.text(
            1 - right / width, 10 / height, "step", color=_INK, fontsize=12, horizontalalignment="right"
        )
        stream = io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", facecolor="none", metadata=nothing)
    return Markup(_inline(stream.getvalue()))


def _frame(axes: Axes, chart: Chart, last_step: float, ticks: int) -> None:
    """Axes with few ticks, thin horizontal rules and nothing else."""
    from matplotlib.ticker import MaxNLocator

    low, high = _limits([*chart.train.values, *chart.held_out.values], chart.from_zero)
    axes.set_xlim(-0.01 * last_step, 1.01 * last_step)
    axes.set_ylim(low, high)
    for name in ("top", "left", "right"):
        axes.spines[name].set_visible(False)
    axes.spines["bottom"].set_color(_INK)
    round_steps = [1, 2, 2.5, 5, 10]
    all_across = MaxNLocator(ticks, integer=True, steps=round_steps).tick_values(0, last_step)
    all_up = MaxNLocator(5, steps=round_steps).tick_values(low, high)
    across = [float(tick) for tick in all_across if 0 <= tick <= last_step]
    up = [float(tick) for tick in all_up if low <= tick <= high]
    axes.set_xticks(across, tick_labels(across))
    axes.set_yticks(up, tick_labels(up))
    axes.tick_params(left=False, bottom=False, colors=_INK, labelsize=12, pad=7)
    axes.grid(axis="y", color=_GRID, linewidth=1)
    axes.set_axisbelow(True)


def _lines(axes: Axes, chart: Chart) -> None:
    few = len(chart.train.values) <= 40
    for steps, values in _unbroken(chart.train):
        marker = "o" if few or len(steps) == 1 else ""
        axes.plot(steps, values, color=_LINE, linewidth=1.8, marker=marker, markersize=3.5)
    for steps, values in _unbroken(chart.held_out):
        marker = "D" if len(chart.held_out.values) <= 40 or len(steps) == 1 else ""
        axes.plot(
            steps, values, color=_HELD_OUT, linewidth=1.8, linestyle=(0, (4, 2)), marker=marker, markersize=5
        )
    odd = [step for step, _ in (*chart.train.odd, *chart.held_out.odd)][:MOST_POINTS]
    if odd:
        foot = axes.get_xaxis_transform()
        axes.plot(
            odd,
            [0.0] * len(odd),
            color=_BAD,
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
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        air = abs(high) * 0.1 or 1.0
        return low - air, high + air
    air = (high - low) * 0.06
    return (low if from_zero and low == 0 else low - air), high + air


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The shortest labels that say exactly where each tick is."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    form = number if 0.01 <= largest < 1e6 else scientific
    labels: list[str] = []
    for digits in range(2, 13):
        labels = [form(float(tick), digits) for tick in ticks]
        read = [float(label.replace(",", "")) for label in labels]
        if all(math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-300) for a, b in zip(ticks, read, strict=True)):
            break
    return labels


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


def _inline(svg: bytes) -> str:
    """matplotlib's document as an element of an HTML page: no metadata, no style sheet, no names, no fixed size."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            attributes.pop("id", None)
        if "style" in attributes:
            attributes["style"] = _styled(attributes["style"])
        element.attrib.clear()
        element.attrib.update(attributes)
        element.tail = None
        if element.tag != "text":
            element.text = None
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in ("metadata", "style"):
                parent.remove(child)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib["aria-hidden"] = "true"  # the caption says the figures
    return ElementTree.tostring(root, encoding="unicode")


def _styled(style: str) -> str:
    """A style with the page's colours and the page's font."""
    kept = [part for part in style.split("; ") if not part.startswith(("font-family", "font:"))]
    text = "; ".join(kept)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    return text
