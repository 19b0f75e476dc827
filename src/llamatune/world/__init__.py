"""A small closed English world that llamatune makes itself: training sets, an exam and an oracle."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conversation import Novelty
    from .oracle import Correctness, UnknownPrompt, Verdict, judge
    from .sets import SETS, SPLITS, rows, write

__all__ = ["SETS", "SPLITS", "Correctness", "Novelty", "UnknownPrompt", "Verdict", "judge", "rows", "write"]

# Imported at first use: recipes need a word list of this world, and not its oracle.
_HOMES = {
    **dict.fromkeys(("Correctness", "UnknownPrompt", "Verdict", "judge"), "oracle"),
    **dict.fromkeys(("SETS", "SPLITS", "rows", "write"), "sets"),
    "Novelty": "conversation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
