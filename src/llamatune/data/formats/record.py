"""Everything that is known about a row format, as one `Format`; `known` lists them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llamatune.data.rows import Adjustment, Message
from llamatune.recipe.blocks import Columns, Kind, RowFormat

Raw = dict[str, Any]
"""A row as its file has it."""

Names = dict[str, str]
"""Fields of `Columns`, and the column that each of them is."""

TURN_COLUMNS = (
    *("messages", "conversations", "conversation", "contents", "items", "dialogue", "dialog"),
    *("chat", "chat_messages"),
)
"""Columns that, by their names, hold the turns of a chat; the most usual first."""

Turns = list[Message]

Adjusted = Counter[Adjustment] | None
"""Counts what was changed; None if nobody asks."""


class Sides(NamedTuple):
    """The two conversations of a pair. `prompt` is what both begin with, if it has a column of its own; a side that
    begins with the assistant's turn follows that prompt."""

    prompt: Turns
    chosen: Turns
    rejected: Turns
    is_second: bool = False
    """Whether the chosen reply is the second of two columns."""


Reader = Callable[[Raw, Columns, str, Adjusted], Turns | Sides | str]
"""Reads a row, whose place is the third argument: the turns of a conversation or of a prompt, with the reply (perhaps
an empty one) at the end if the format has one; the two sides of a pair; the text of a document.

Raises `DataError` for a row that cannot be read and `RowRejected` for one that cannot be used."""


def column_called(name: str, found: Sequence[str]) -> str | None:
    """The column of this name; else the only one whose name differs by nothing but capitals and blanks around it."""
    if name in found:
        return name
    alike = [one for one in found if one.strip().casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def _always(names: Names, rows: Sequence[Raw], given: Names) -> bool:
    return True


@dataclass(frozen=True)
class Format:
    """A row format. `kind` is what its rows are primarily for, `shown` what an error tells the user about it."""

    name: RowFormat
    kind: Kind
    read: Reader
    usual: tuple[Names, ...]
    """Columns that a row must have, under their usual names; several if data sets differ, the most usual first."""
    shown: str
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns that a row may have, and the names by which they are known."""
    fits: Callable[[Names, Sequence[Raw], Names], bool] = _always
    """Whether the values in these columns are of this format; last, the columns that the recipe names."""
    yields_to: frozenset[RowFormat] = frozenset()
    """If one of these formats fits, too, it is the one that is meant."""
    first_of_usual: bool = False
    """If a file has several of the usual namings, the first one is meant; otherwise the user is asked."""
    better: tuple[str, str] | None = None
    """What the column `better` says if the first reply is better, and if the second is."""

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(self.usual[0])

    def namings(self, found: Sequence[str], given: Names) -> Iterator[Names]:
        """The columns that a row must have, for each naming of which all are there."""
        for usual in self.usual:
            names = {
                name: given.get(name) or column_called(column, found) or column
                for name, column in usual.items()
            }
            if all(column in found for column in names.values()):
                yield names

    def with_optional(
        self, names: Names, found: Sequence[str], given: Names, may_be: Callable[[str, str], bool]
    ) -> Names:
        """These columns, and the optional ones that are there: those given, or else those with a known name that may
        be, by their values, what the name says."""
        names = dict(names)
        for name, known in self.optional.items():
            there = (given[name],) if name in given else (column_called(one, found) for one in known)
            left = (one for one in there if one is not None and one in found and one not in names.values())
            column = next((one for one in left if name in given or may_be(name, one)), None)
            if column is not None:
                names[name] = column
        return names
