"""What PPO's policy answered in the first iteration and in the last: the best, the median and the worst by reward."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from llamatune.runs.report import words
from llamatune.runs.report.reading import as_number, as_text

MOST_ROWS, MOST_SCORES, LONGEST, LONGEST_NAME = 20_000, 6, 2000, 40
_TOLD = ("iteration", "prompt", "completion", "reward", "kl", "tokens", "ended")


def section(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """`rows`: (which, entry of the first iteration, entry of the last); no entry is None."""
    kept: dict[float, list[dict[str, Any]]] = {}
    for record in records:
        at = as_number(record.get("iteration"))
        if at is None or not math.isfinite(at):
            continue
        if at not in kept and len(kept) == 2:
            low, high = sorted(kept)
            if low < at < high:
                continue
            del kept[low if at < low else high]
        if len(rows := kept.setdefault(at, [])) < MOST_ROWS:
            rows.append(record)
    if not kept:
        return {"rows": [], "first": "", "last": ""}
    first, last = min(kept), max(kept)
    before = _picked(kept[first])
    after = _picked(kept[last]) if last != first else {}
    return {
        "rows": [(which, before.get(which), after.get(which)) for which in dict.fromkeys([*before, *after])],
        "first": _name(first),
        "last": _name(last) if last != first else "",
    }


def _name(iteration: float) -> str:
    """Counted from 1, as people count."""
    return f"iteration {words.number(iteration + 1)}"


def _picked(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    rewards = [as_number(row.get("reward")) for row in rows]
    ranked = sorted(
        (index for index, reward in enumerate(rewards) if reward is not None and math.isfinite(reward)),
        key=lambda index: (-(rewards[index] or 0.0), index),
    )
    odd = [index for index, reward in enumerate(rewards) if reward is not None and not math.isfinite(reward)]
    chosen = {"reward that is no number": odd[0]} if odd else {}
    if ranked:
        chosen |= {"highest reward": ranked[0]}
        if len(ranked) > 2:
            chosen |= {"median reward": ranked[len(ranked) // 2]}
        if len(ranked) > 1:
            chosen |= {"lowest reward": ranked[-1]}
    return {which: _entry(rows[index]) for which, index in chosen.items()}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    scores = [
        f"{words.shorten(name, LONGEST_NAME)} {words.number(value)}"
        for name, value in row.items()
        if name not in _TOLD and as_number(value) is not None
    ]
    figures = [f"reward {words.number(row['reward'])}", *scores[:MOST_SCORES]]
    figures += [
        f"{title} {words.number(row[key])}"
        for key, title in (("kl", "KL"), ("tokens", "tokens"))
        if as_number(row.get(key)) is not None
    ]
    return {
        "prompt": words.shorten(as_text(row.get("prompt")), LONGEST),
        "text": words.shorten(as_text(row.get("completion")), LONGEST),
        "figures": " · ".join(figures),
        "cut": row.get("ended") is False,
    }
