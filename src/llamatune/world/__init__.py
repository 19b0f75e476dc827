"""A small closed English world that llamatune makes itself: training sets, an exam and an oracle."""

from .conversation import Novelty
from .oracle import Correctness, UnknownPrompt, Verdict, judge
from .sets import SETS, SPLITS, rows, write

__all__ = ["SETS", "SPLITS", "Correctness", "Novelty", "UnknownPrompt", "Verdict", "judge", "rows", "write"]
