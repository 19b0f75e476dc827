"""One look at all rows of a data set, before any is used.

It tells which columns there are, what was left to fill in, and text that a chat template has written.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llamatune.data.cache import cache_key, stored
from llamatune.data.formats.beside import endings
from llamatune.data.formats.labels import number_in_cell, said_by
from llamatune.data.formats.recognise import Recognised, recognise_rows
from llamatune.data.formats.record import Raw
from llamatune.data.formats.turns import is_hh
from llamatune.data.formats.values import unfolded_for_a_look
from llamatune.data.formats.written import END_TOKENS, marker_in, written_turns
from llamatune.data.read.readers import read_rows
from llamatune.data.read.tables import Rows
from llamatune.recipe.blocks import Kind
from llamatune.wording import counted

SURVEY_VERSION = 10
"""Part of the cache's keys: raise it when the same rows would be surveyed differently."""

FIRST_ROWS = 20
"""How many rows are looked at whatever they hold."""

_MOST = 200
"""Most rows that are looked at: a file in which each row has columns of its own has no columns."""

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")

_HH = "Human: and Assistant:"
"""Stands for the markers of a text that is read as turns, and is plain text in a document only."""

_TURNS_OF = "turns of "
"""Stands before the marker of such a text, where a template has written it."""

_OF_TURNS = {"messages", "prompt", "chosen", "rejected", "first", "second"}
"""Columns in which such a text is read as turns."""

_MISSING = ("nan", "NaN", "<NA>")
"""What data frames write for a cell without a value, once it was turned into text."""

Sighting = tuple[str, list[str], int]
"""What was seen, such as a placeholder; columns that have it in one row; and in how many rows."""


@dataclass(frozen=True)
class Survey:
    """What all rows of a data set say of its format.

    `rows`: the first ones, and each later one with a column, or a key of a turn, that none before it has a value in, or
    has such a value in (a number, a word for good or bad, a second value at all), or with its last reply where none
    before it has it. So what is true of a column in these rows is true of it in all.
    `count`: how many there are. `placeholders`: names in double braces, such as {{name}}. `templates`: the first marker
    of a chat template, such as [INST]. `empty`: words for a missing value, such as nan, that are all that a cell holds.
    """

    rows: list[Raw]
    count: int
    placeholders: list[Sighting]
    templates: list[Sighting]
    empty: list[Sighting]
    repeats: list[tuple[str, str, int]]
    """Two texts of a row, of which the second begins with the whole of the first, and is longer; and in how many rows.
    Of a list of turns, the question and its reply: the same column twice."""
    scored: list[tuple[str, str, int, int]]
    """The columns of the chosen reply's score and of the rejected one's; in how many rows both are numbers, and in how
    many the first is the lower one."""

    def warnings(self, recognised: Recognised) -> Iterator[str]:
        """What to say of placeholders, of rendered chats and of cells without a value, in the columns that are used."""
        placeholders, templates, empty = (
            in_columns(seen, recognised.columns.names.values())
            for seen in (self.placeholders, self.templates, self.empty)
        )
        if placeholders:
            named = _named({f"{{{{{name}}}}}": number for name, number in placeholders.items()})
            yield f"warning: placeholders that nobody filled in: {named}; the model would learn to write them"
        if empty:
            yield (
                f"warning: cells that say that they are empty: {_named(empty)}; the model would learn to read and "
                "write this; leave such rows out, or such cells empty"
            )
        for mark in recognised.marks[:1]:
            yield (
                f"warning: {mark.name} may say how good a reply is, and bad ones are learnt like good ones; "
                f"{mark.remedy}"
            )
        yield from self._of_replies(recognised)
        if recognised.format == "text":
            # A web page may hold a marker; a set of chats holds little else.
            if 2 * sum(templates.values()) > self.count:
                yield (
                    f"warning: chats that a template has written: {_named(templates)}; as plain text, questions "
                    "are learnt like replies; for sft, give each turn as a message of its own"
                )
        elif rendered := self._left_rendered(recognised):
            yield (
                f"warning: texts that a chat template has written: {_named(rendered)}; its markers are read as "
                "words of the speaker; give each turn as a message of its own"
            )

    def _of_replies(self, recognised: Recognised) -> Iterator[str]:
        """What most replies have, and should not."""
        columns = recognised.columns
        replies = (columns.completion, columns.chosen, columns.rejected, columns.first, columns.second)
        pairs = {(columns.prompt, reply) for reply in replies} | {(columns.messages, columns.messages)}
        # What HH writes in front of a reply is taken off it.
        used = recognised.format != "hh" and recognised.kind not in ("prompts", "documents")
        for prompt, reply, rows in self.repeats:
            if used and (prompt, reply) in pairs and 2 * rows > self.count:
                yield (
                    f"warning: {counted(rows, 'reply', 'replies')} in `{reply}` begin with the whole prompt again; "
                    "the model would learn to repeat what it is asked; leave the prompt out of the replies"
                )
                break
        for chosen, rejected, both, lower in self.scored if columns.chosen else ():
            # Whoever has exchanged the columns knows.
            if 2 * lower > both and str(columns.chosen) not in rejected:
                yield (
                    f"warning: `{chosen}` is below `{rejected}` in {lower:,} of {counted(both, 'row')}: if more is "
                    "better, the replies are the wrong way round, and a model would learn the worse ones; exchange "
                    f"them: `columns: {{chosen: {columns.rejected}, rejected: {columns.chosen}, ...}}`"
                )

    def _left_rendered(self, recognised: Recognised) -> dict[str, int]:
        """Markers in used columns whose texts are not read as turns."""
        names = recognised.columns.names
        others = [column for field, column in names.items() if field not in _OF_TURNS]
        seen = [one for one in self.templates if one[0] != _HH]
        read = [one for one in seen if one[0].startswith(_TURNS_OF)]
        # Beside turns that are read, replies lose their end token.
        left = [one for one in seen if one not in read and not (read and one[0] in END_TOKENS)]
        return in_columns(left, names.values()) | in_columns(read, others)


def in_columns(seen: Sequence[Sighting], columns: Collection[str]) -> dict[str, int]:
    """What was seen in these columns, and in how many rows."""
    found: Counter[str] = Counter()
    for what, places, rows in seen:
        if not set(columns).isdisjoint(places):
            found[what] += rows
    return dict(found)


class _Sightings:
    """Counts rows by what is seen in them, and where."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def add(self, row: dict[str, set[str]]) -> None:
        """Of one row: what was seen in each column."""
        for what in {what for found in row.values() for what in found}:
            self._rows[what, tuple(column for column, found in row.items() if what in found)] += 1

    def seen(self) -> list[Sighting]:
        return [(what, list(columns), rows) for (what, columns), rows in self._rows.items()]


def survey_of(rows: Rows) -> Survey:
    """Look at all rows. Raises what reading them raises."""
    kept: list[Raw] = []
    known: set[str] = set()
    values = _Values()
    repeats: Counter[tuple[str, str]] = Counter()
    scored: Counter[tuple[str, str]] = Counter()
    lower: Counter[tuple[str, str]] = Counter()
    of_values = 0
    placeholders, templates, empty = _Sightings(), _Sightings(), _Sightings()
    count = 0
    for _, row in rows:
        count += 1
        keys = set(_keys(row))
        is_new = values.are_new(row)
        if count <= FIRST_ROWS or (len(kept) - of_values < _MOST and not keys <= known):
            kept.append(row)
        elif is_new and of_values < _MOST:
            kept.append(row)
            of_values += 1
        known |= keys
        texts = {column: list(_texts(value)) for column, value in row.items()}
        placeholders.add({column: _placeholders(found) for column, found in texts.items()})
        templates.add({column: set(filter(None, map(_rendered, found))) for column, found in texts.items()})
        repeats.update(_repeats(row))
        for pair in _columns_of_scores(tuple(row)):
            chosen, rejected = (number_in_cell(row[column]) for column in pair)
            if chosen is not None and rejected is not None:
                scored[pair] += 1
                lower[pair] += chosen < rejected
        empty.add({column: {value} for column, value in row.items() if value in _MISSING})
    return Survey(
        kept,
        count,
        placeholders.seen(),
        templates.seen(),
        empty.seen(),
        [(*pair, rows) for pair, rows in repeats.items()],
        [(*pair, rows, lower[pair]) for pair, rows in scored.items()],
    )


_SHORT = 12
"""A prompt of fewer characters may well be the first word of its reply."""


def _repeats(row: Raw) -> list[tuple[str, str]]:
    """Columns of texts, of which the second begins with the whole of the first."""
    texts = [(name, value) for name, value in row.items() if isinstance(value, str) and len(value) >= _SHORT]
    # By how they begin: a table may have hundreds of columns.
    begun: dict[str, list[tuple[str, str]]] = {}
    for name, text in texts:
        begun.setdefault(text.strip()[:_SHORT], []).append((name, text))
    found = [
        (name, other)
        for other, reply in texts
        for name, text in begun.get(reply[:_SHORT], ())
        if len(reply) > len(text) and reply.startswith(text.strip())
    ]
    for name, value in row.items():
        turns = [turn for turn in value if isinstance(turn, dict)] if isinstance(value, list) else []
        asked, reply = (
            (turn.get("content", turn.get("value")) for turn in turns[-2:]) if len(turns) > 1 else ("", "")
        )
        if isinstance(asked, str) and isinstance(reply, str) and _SHORT <= len(asked) < len(reply):
            found += [(name, name)] if reply.startswith(asked.strip()) else []
    return found


_SIDES = (
    ("chosen", "rejected"),
    ("accepted", "rejected"),
    ("preferred", "rejected"),
    ("preferred", "dispreferred"),
)

_SCORE = re.compile(r"score|rating|reward|grade", re.I)


@lru_cache(maxsize=256)
def _columns_of_scores(columns: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs of columns that by their names are scores of the better reply and of the other one."""
    return [
        (name, other)
        for name in columns
        if _SCORE.search(name)
        for good, bad in _SIDES
        if good in name and (other := name.replace(good, bad)) in columns
    ]


class _Values:
    """What kinds of value each column, and each key of turns, has had: those that decide what a column holds."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._seen: set[tuple[str, str]] = set()

    def are_new(self, row: Raw) -> bool:
        """Whether a value of a row is of a kind that its column has not had, or the second one that it has."""
        before = len(self._seen)
        for name, value in row.items():
            self._add(name, value)
            for turn in value if isinstance(value, list) else ():
                if isinstance(turn, dict):
                    for key, inner in turn.items():
                        self._add(f"{name}.{key}", inner)
        return len(self._seen) > before

    def _add(self, name: str, value: Any) -> None:
        said = said_by(value)
        if said is None:
            return
        self._seen.add((name, said))
        if self._first.setdefault(name, value) != value:
            self._seen.add((name, "another"))


def _placeholders(texts: Iterable[str]) -> set[str]:
    return {name for text in texts if "{{" in text for name in _PLACEHOLDER.findall(text)}


def stored_survey(rows: Rows, *known: Any) -> Survey:
    """A survey from the cache, in which `known` says which rows it is about; newly made if there is none."""

    def build(folder: Path) -> dict[str, Any]:
        found = survey_of(rows)
        # Dates and bytes of Parquet files are neither text nor turns: what they print as will do.
        text = json.dumps(found.rows, default=str)
        return {**asdict(found), "rows": json.loads(text)}

    _, info = stored("surveys", cache_key(SURVEY_VERSION, *known), build)
    return Survey(**info)


def recognise(path: Path, *, name: str | None = None, kind: Kind | None = None) -> Recognised:
    """The format of a data file, from all of its rows. `name` is how places call it.

    Raises:
        DataError: E100 to E110, E120, E121, E127, E128, E135.
    """
    return recognise_rows(survey_of(read_rows(path, name)).rows, place=name or path.name, kind=kind)


def _keys(row: Raw) -> Iterator[str]:
    """Columns that have a value, the keys that the turns in them have, and where the last reply is."""
    row = unfolded_for_a_look(row)
    yield from endings(row)
    for name, value in row.items():
        if value is None or value == "":
            continue
        yield name
        for turn in value if isinstance(value, list) else (value,):
            if isinstance(turn, dict):
                yield from (f"{name}.{key}" for key, inner in turn.items() if inner is not None)


def _rendered(text: str) -> str | None:
    """The first marker of the template that wrote this text, if one did."""
    marker = marker_in(text)
    if marker and is_hh(text):
        return _HH
    return f"{_TURNS_OF}{marker}" if marker and written_turns(text) is not None else marker


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} in {counted(number, 'row')}" for name, number in Counter(counts).most_common(5))


def _texts(value: Any) -> Iterator[str]:
    """All strings in a value, however deep it is nested."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
