"""A line chart as an SVG file: a line for the mean over seeds, in a band from the least to the most.

No library: a page on a code host shows the file as it is, and the same figures give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 160, 34, 44
COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")
INK, RULE = "#6e7781", "#d0d7de"
"""Readable on white and on black."""


@dataclass(frozen=True)
class Line:
    """`points`: x, mean, least, most; by x."""

    name: str
    points: Sequence[tuple[float, float, float, float]]


def picture(lines: Sequence[Line], *, across: str, up: str) -> str:
    """The chart. Each line has its name at its end."""
    xs = [x for line in lines for x, *_ in line.points]
    ys = [y for line in lines for _, *values in line.points for y in values]
    x_of = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    low, high = _room(min(ys), max(ys))
    y_of = _scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for value in (low, (low + high) / 2, high):
        y = y_of(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{RULE}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{value:.2f}", "end"))
    for x in sorted({min(xs), max(xs), *(x for x, *_ in lines[0].points if len(lines[0].points) <= 6)}):
        parts.append(_text(x_of(x), HEIGHT - BOTTOM + 18, f"{x:g}", "middle"))
    parts += [_text(LEFT, 14, up, "start"), _text(WIDTH - RIGHT, HEIGHT - 6, across, "end")]
    ends = _apart([y_of(line.points[-1][1]) for line in lines])
    for number, (line, end) in enumerate(zip(lines, ends, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        over = [f"{x_of(x):.1f} {y_of(most):.1f}" for x, _, _, most in line.points]
        under = [f"{x_of(x):.1f} {y_of(least):.1f}" for x, _, least, _ in reversed(line.points)]
        mean = [f"{x_of(x):.1f} {y_of(y):.1f}" for x, y, *_ in line.points]
        parts.append(f'<path d="M{"L".join([*over, *under])}Z" fill="{colour}" fill-opacity="0.15"/>')
        parts.append(f'<path d="M{"L".join(mean)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - RIGHT + 8, end + 4, line.name, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


class _scale:
    """From a range of values to one of pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.width = low, (high - low) or 1.0
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / self.width


def _room(low: float, high: float) -> tuple[float, float]:
    """A little more than the values need, so that none lies on the frame."""
    more = 0.05 * (high - low) or 0.05
    return low - more, high + more


def _apart(heights: Sequence[float], least: float = 15) -> list[float]:
    """The same, moved down where one would be written over another."""
    found = list(heights)
    order = sorted(range(len(found)), key=found.__getitem__)
    for above, below in zip(order, order[1:], strict=False):
        found[below] = max(found[below], found[above] + least)
    return found
