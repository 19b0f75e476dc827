"""One look at all rows of a data set, before any is used: which columns there are, and what was left to fill in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamatune.data.cache import cache_key, stored
from llamatune.data.formats.recognise import Recognised, recognise_rows
from llamatune.data.formats.record import Raw
from llamatune.data.read.readers import read_rows
from llamatune.data.read.tables import Rows
from llamatune.recipe.blocks import Kind
from llamatune.wording import counted

SURVEY_VERSION = 4
"""Part of the cache's keys: raise it when the same rows would be surveyed differently."""

FIRST_ROWS = 20
"""How many rows are looked at whatever they hold."""

_MOST = 200
"""Most rows that are looked at: a file in which each row has columns of its own has no columns."""

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")


@dataclass(frozen=True)
class Survey:
    """What all rows of a data set say of its format.

    `rows`: the first ones, and each later one with a column, or a key of a turn, that none before it has a value in.
    `count`: how many there are. `placeholders`: names in double braces, such as {{name}}, and in how many rows.
    """

    rows: list[Raw]
    count: int
    placeholders: dict[str, int]

    @property
    def warning(self) -> str | None:
        """What to say of placeholders, if there are any."""
        if not self.placeholders:
            return None
        most = Counter(self.placeholders).most_common(5)
        named = ", ".join(f"{{{{{name}}}}} in {counted(number, 'row')}" for name, number in most)
        return f"warning: placeholders that nobody filled in: {named}; the model would learn to write them"


def survey_of(rows: Rows) -> Survey:
    """Look at all rows. Raises what reading them raises."""
    kept: list[Raw] = []
    seen: set[str] = set()
    placeholders: Counter[str] = Counter()
    count = 0
    for _, row in rows:
        count += 1
        keys = set(_keys(row))
        if count <= FIRST_ROWS or (len(kept) < _MOST and not keys <= seen):
            kept.append(row)
        seen |= keys
        placeholders.update({name for text in _texts(row) for name in _PLACEHOLDER.findall(text)})
    return Survey(kept, count, dict(placeholders))


def stored_survey(rows: Rows, *known: Any) -> Survey:
    """A survey from the cache, in which `known` says which rows it is about; newly made if there is none."""

    def build(folder: Path) -> dict[str, Any]:
        found = survey_of(rows)
        # Dates and bytes of Parquet files are neither text nor turns: what they print as will do.
        text = json.dumps(found.rows, default=str)
        return {"rows": json.loads(text), "count": found.count, "placeholders": found.placeholders}

    _, info = stored("surveys", cache_key(SURVEY_VERSION, *known), build)
    return Survey(info["rows"], info["count"], info["placeholders"])


def recognise(path: Path, *, name: str | None = None, kind: Kind | None = None) -> Recognised:
    """The format of a data file, from all of its rows. `name` is how places call it.

    Raises:
        DataError: E100 to E110, E120, E121, E127, E128, E135.
    """
    return recognise_rows(survey_of(read_rows(path, name)).rows, place=name or path.name, kind=kind)


def _keys(row: Raw) -> Iterator[str]:
    """Columns that have a value, and the keys that the turns in them have."""
    for name, value in row.items():
        if value is None or value == "":
            continue
        yield name
        for turn in value if isinstance(value, list) else (value,):
            if isinstance(turn, dict):
                yield from (f"{name}.{key}" for key, inner in turn.items() if inner is not None)


def _texts(value: Any) -> Iterator[str]:
    """All strings in a value that may hold a placeholder, however deep it is nested."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            if "{{" in one:
                yield one
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
