"""Tables of figures: one row a data set, one column a figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from llamatune.runs.report.reading import as_mapping, as_number
from llamatune.runs.report.words import number, shorten

MOST_COLUMNS, LONGEST_HEAD = 10, 40


@dataclass(frozen=True)
class Cell:
    """A figure, and what it is of; or several lines."""

    text: str
    note: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """`rows`: a name, and as many cells as there are columns. `about` says how to read it, `lists` which columns hold
    several lines, `of` what the names are of, where it is not what those of all tables of a page are; `published`,
    whether a model card may show it, `left_out` what columns there would be besides, in words."""

    title: str
    about: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    lists: tuple[str, ...] = ()
    of: str = ""
    published: bool = True
    left_out: str = ""


def section_of(*tables: Table, **further: Any) -> dict[str, Any]:
    """What the page takes of evaluation.json: the tables that have rows, and what else a stage has (`pictures`, a
    `verdict` ...)."""
    return {
        "of": "",
        "verdict": None,
        "tables": [table for table in tables if table.rows],
        "plots": [],
        "sets_left_out": 0,
        "plots_left_out": 0,
        "models_left_out": 0,
    } | further


def percent(value: Any) -> str:
    """A share with one digit, as papers print it; a number that is not a share as it is, anything else as a dash."""
    share = as_number(value)
    if share is None:
        return "–"
    return f"{100 * share:.1f}%" if 0 <= share <= 1 else number(share)


def plain(value: Any, digits: int = 4) -> str:
    """A number, or a dash."""
    found = as_number(value)
    return "–" if found is None else number(found, digits)


def amount(value: Any, what: str) -> str:
    """`95 pairs`, `1 pair`; nothing where no amount is known."""
    found = as_number(value)
    if found is None or not 0 <= found < math.inf:
        return ""
    return f"{number(found)} {what.removesuffix('s') if found == 1 else what}"


def measured(share: Any, of: Any, what: str) -> Cell:
    """A share of so many, with its 95% interval (Wilson's): `71.6%`, and `95 pairs, 62-80%`."""
    found, number_of = as_number(share), as_number(of)
    noted = [amount(of, what)]
    if found is not None and number_of is not None and 0 <= found <= 1 and 1 <= number_of < 1e15:
        z = 1.96
        middle = (found * number_of + z * z / 2) / (number_of + z * z)
        reach = z * math.sqrt(number_of * found * (1 - found) + z * z / 4) / (number_of + z * z)
        noted.append(f"{max(0.0, middle - reach):.0%}-{min(1.0, middle + reach):.0%}")
    return Cell(percent(share), ", ".join(filter(None, noted)))


def estimated(row: Any) -> Cell:
    """A figure with its interval, as a share where it is one."""
    found = as_mapping(row)
    value, low, high = (as_number(found.get(name)) for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return Cell("–")
    of = as_number(found.get("of"))
    shown = plain if found.get("unit") == "number" else percent
    amount = f"{shown(low)} to {shown(high)}" + (f", n = {number(of)}" if of is not None else "")
    return Cell(shown(value), amount)


def heading(name: str) -> str:
    """The name of a figure as the head of a column: `chosen_safe` is chosen safe."""
    return shorten(name, LONGEST_HEAD).replace("_", " ")
