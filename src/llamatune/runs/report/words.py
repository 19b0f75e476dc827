"""Text as a page may show it, and numbers, times and hashes as people read them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from llamatune.shown import HIDDEN

LONGEST = 4000
"""Characters of any one text that the page shows."""


def visible(text: str) -> str:
    """The text with control characters replaced by their numbers: an escape becomes ⟨U+001B⟩."""
    return HIDDEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text)


def shorten(text: str, limit: int = LONGEST) -> str:
    """At most `limit` characters, and a note of how many more there were."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]} … [shortened: {len(text) - limit:,} more characters]"


def number(value: Any, digits: int = 4) -> str:
    """1,234 and 0.5412 and 2e-5; anything that is not a number is shown as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Inf"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if -3 <= size < 9:
        text = f"{value:,.{max(0, digits - 1 - size)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return scientific(value, digits)


def scientific(value: float, digits: int = 4) -> str:
    """2e-5, -1.25e6; zero is 0."""
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if value else "0"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def utc(seconds: Any) -> str:
    """A time since 1970 as a date and a time of day, the same wherever the page is made."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (TypeError, ValueError, OverflowError, OSError):
        return "unknown"


def duration(seconds: Any) -> str:
    """16 s, 5 min 3 s, 2 h 5 min."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e9:
        return "unknown"
    if seconds < 60:
        return f"{number(float(seconds), 2 if seconds < 10 else 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


_STEPS = 5
"""How many steps a sentence lists."""


def steps_text(steps: Sequence[float]) -> str:
    """`step 12`, `steps 12, 13 and 14`, `steps 1, 2, 3, 4, 5 and 20 more`."""
    shown = [number(step) for step in steps[:_STEPS]]
    if len(steps) > _STEPS:
        return f"steps {', '.join(shown)} and {len(steps) - _STEPS:,} more"
    if len(shown) == 1:
        return f"step {shown[0]}"
    return f"steps {', '.join(shown[:-1])} and {shown[-1]}"
