"""A picture as an inline SVG element: the frame that all of them share, in the colours and the font of the page.

No text from the data gets into an SVG: names are in the page, where they are escaped. Colours are CSS variables of
the page, so a picture follows its light or dark theme. The same numbers give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from llamatune.runs.report.words import number, scientific

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

WIDE, NARROW = (920, 260), (400, 220)
"""Pixels. A narrow picture fills half of a desktop's page or all of a telephone's, and is scaled a little."""

INK, GRID, LINE, OTHER, BAD = "#111111", "#222222", "#333333", "#444444", "#555555"
"""Placeholders for colours of the page: text and marks, rules, the first line, the second one, what is wrong."""

_THEME = {
    INK: "var(--muted)",
    GRID: "var(--rule)",
    LINE: "var(--line)",
    OTHER: "var(--held-out)",
    BAD: "var(--bad)",
}
_SETTINGS = {
    "svg.fonttype": "none",
    "font.size": 12,
    "axes.unicode_minus": True,
    "path.simplify": True,
}


def picture(
    name: str, paint: Callable[[Axes], None], *, up: str, across: str, size: tuple[int, int] = NARROW
) -> Markup:
    """An `<svg>` element of that size.

    Args:
        name: makes its ids differ from those of other pictures in the page; it is not in the SVG.
        paint: draws what it shows.
        up, across: what the axes say.
    """
    import io

    from markupsafe import Markup
    from matplotlib import style
    from matplotlib.figure import Figure

    width, height = size
    salt = {"svg.hashsalt": f"{name!a} {width}"}  # ids that are the same each time, and no other picture's
    with style.context(["default", _SETTINGS | salt]):  # not what a matplotlibrc of the user's says
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")
        left, right, top, bottom = 64, 14, 26, 46
        axes = figure.add_axes(
            (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height),
            facecolor="none",
        )
        paint(axes)
        figure.text(0, 1 - 14 / height, up, color=INK, fontsize=12)
        figure.text(
            1 - right / width, 10 / height, across, color=INK, fontsize=12, horizontalalignment="right"
        )
        stream = io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", facecolor="none", metadata=nothing)
    return Markup(_inline(stream.getvalue()))


def frame(axes: Axes, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Thin horizontal rules, a line at the foot and nothing else, between these limits."""
    axes.set_xlim(*across)
    axes.set_ylim(*up)
    for name in ("top", "left", "right"):
        axes.spines[name].set_visible(False)
    axes.spines["bottom"].set_color(INK)
    axes.tick_params(left=False, bottom=False, colors=INK, labelsize=12, pad=7)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)


def ticks(low: float, high: float, most: int, *, integer: bool = False) -> list[float]:
    """Round numbers from `low` to `high`."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(most, integer=integer, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in found if low <= tick <= high]


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
