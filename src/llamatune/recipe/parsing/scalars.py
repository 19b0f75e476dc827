"""What an unquoted word means: YAML 1.2's core schema, without its surprises.

`1e-4` is a number and `no` is text, as in YAML 1.2. What two readers could read differently is refused: `010`
is 8 to one YAML parser and 10 to the next. Underscores, `0x10` and dates are text.
"""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar. Raises ValueError, in a user's words, for an ambiguous number."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("not a finite number")
    if not _FLOAT.fullmatch(text):
        return text
    if _LEADING_ZERO.match(text):
        raise ValueError("a leading zero means octal to some readers: drop it, or quote text")
    if not math.isfinite(float(text)):
        raise ValueError("too large for a number")
    return int(text) if _INT.fullmatch(text) else float(text)
