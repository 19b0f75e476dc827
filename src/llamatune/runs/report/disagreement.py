"""Replies that reward models like and the oracle does not, and the other way round: of PPO and rejection sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llamatune.runs.report import words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.tables import Cell, Table, amount, percent, plain

MOST_ROWS, LONGEST = 8, 600

_LISTS = {
    "overrated": (
        "Liked by the reward models, not by the oracle",
        "What training on these rewards leads to.",
    ),
    "underrated": ("Liked by the oracle, not by the reward models", "What it leads away from."),
}


def tables(entries: Sequence[Mapping[str, Any]]) -> list[Table]:
    """How far both sides agree, by entry; then the replies on which they do not.

    Args:
        entries: what `judging.disagreement` found: of one round, or of the first and the last evaluation (`step`).
    """
    if not entries:
        return []
    first, last = entries[0], entries[-1]
    lists = [_list(last, kind) for kind in _LISTS]
    if last is not first:
        # The first replies show what the later ones have become; those that it underrates do not.
        lists.append(_list(first, "overrated"))
    return [_agreement(entries), *lists]


def _agreement(entries: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for entry in entries[:MOST_ROWS]:
        pairs = as_mapping(entry.get("pairs"))
        cells = [Cell(plain(entry.get("replies"))), Cell(plain(entry.get("correlation"), 2))]
        cells.append(Cell(percent(pairs.get("agree")), amount(pairs.get("compared"), "pairs")))
        rows.append((_when(entry) or "this round", cells))
    return Table(
        "Reward models and oracle",
        "How far the rewards put replies in the order of their quality. Rank correlation: over all replies, 1 is the "
        "same order, 0 is none. Better one gets more: of two replies to the same prompt that differ in quality; half "
        "of them would be guessing. The oracle knows the truth of the miniature world.",
        ["replies", "rank correlation", "better one gets more"],
        rows,
    )


def _list(entry: Mapping[str, Any], kind: str) -> Table:
    title, about = _LISTS[kind]
    rows = []
    for row in as_rows(entry.get(kind))[:MOST_ROWS]:
        cells = [Cell("", lines=(words.shorten(as_text(row.get("reply")), LONGEST),))]
        cells += [
            Cell(plain(row.get(name)), _above(row.get(f"{name}_place"))) for name in ("reward", "quality")
        ]
        rows.append((words.shorten(as_text(row.get("prompt")), LONGEST), cells))
    return Table(
        ", ".join(filter(None, [title, _when(entry)])),
        f"{about} The replies whose places in the two orders are farthest apart; each is shown once.",
        ["reply", "reward", "quality"],
        rows,
        lists=("reply",),
        of="prompt",
    )


def _when(entry: Mapping[str, Any]) -> str:
    step = as_number(entry.get("step"))
    return "" if step is None else f"step {words.number(step)}"


def _above(place: Any) -> str:
    return "" if as_number(place) is None else f"above {percent(place)}"
