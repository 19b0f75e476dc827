"""Write the tables of docs/plan.md: the shipped recipes, and predictions beside what was published and measured.

    python scripts/plan_page.py

A test compares the page with what this script would write.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/plan.md"
sys.path.insert(0, str(ROOT / "tests/plan"))

from measured import OURS  # noqa: E402
from published import ROWS, UNMET  # noqa: E402

from llamatune.commands.plan import plan_lines  # noqa: E402
from llamatune.commands.recipes import listed_recipes  # noqa: E402
from llamatune.plan.devices import CARDS  # noqa: E402
from llamatune.plan.planned import PipelinePlan, plan, plan_all  # noqa: E402
from llamatune.runs.report.words import duration  # noqa: E402


def page() -> str:
    """The page with its tables as they are now."""
    text = PAGE.read_text("utf-8")
    tables = {
        "example": _example(),
        "recipes": _recipes(),
        "published": _published(),
        "unmet": _unmet(),
        "ours": _ours(),
    }
    for name, table in tables.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert start and end, name
        text = f"{before}{start}{table}\n{end}{after}"
    return text


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _example() -> str:
    return "\n".join(["```", *plan_lines(plan("baize/sft_7b", device="rtx4090")), "```"])


def _recipes() -> str:
    rows = []
    for one in listed_recipes():
        if one.device == "cpu":
            smallest, times = "cpu", [duration(one.seconds), ""]
        else:
            smallest = _smallest(one.name)
            other = plan_all(one.name, device="a100-80", ways=False)
            there = other.seconds if isinstance(other, PipelinePlan) else other.work.seconds
            times = [duration(there), duration(one.seconds)]
        memory = f"{one.memory / 1e9:.1f} GB"
        rows.append((one.name, one.trains, memory, smallest, one.of.removeprefix("the "), *times))
    head = (
        "recipe",
        "trains",
        "memory",
        "smallest device",
        "time of",
        "A100 (pico, SmolLM2: two cores)",
        "H100",
    )
    return _table(head, rows)


def _smallest(name: str) -> str:
    cards = sorted(CARDS.values(), key=lambda card: card.memory)
    fits = (card for card in _one_of_each_size(cards) if plan_all(name, device=card.name, ways=False).fits)
    return next((f"{card.memory / 1e9:.0f} GB card" for card in fits), "none")


def _one_of_each_size(cards: list[Any]) -> list[Any]:
    sizes: dict[float, Any] = {}
    for card in cards:
        sizes.setdefault(card.memory, card)
    return list(sizes.values())


def _published() -> str:
    rows = [
        (row.number, row.case, f"{row.measured:.2f}", f"{row.predicted:.2f}", f"{row.off:+.1%}", row.source)
        for row in ROWS
        if row.case not in UNMET
    ]
    return _table(("row", "case", "published", "predicted", "off", "source"), rows)


def _unmet() -> str:
    rows = [
        (
            row.number,
            row.case,
            f"{row.measured:.2f}",
            f"{row.predicted:.2f}",
            f"{row.off:+.1%}",
            UNMET[row.case],
        )
        for row in ROWS
        if row.case in UNMET
    ]
    return _table(("row", "case", "published", "predicted", "off", "why"), rows)


def _ours() -> str:
    rows = [
        (
            f"{one.shape}: {one.case}",
            f"{one.peak:.2f}",
            f"{one.predicted:.2f}",
            f"{one.predicted / one.peak - 1:+.1%}",
            one.source + (f"; {one.unmet}" if one.unmet else ""),
        )
        for one in OURS
    ]
    return _table(("run", "measured", "predicted", "off", "source"), rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
