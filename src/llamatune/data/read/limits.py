"""What reading a data file may cost: a file that asks for more is broken, or meant to fill memory, disk or time."""

from __future__ import annotations

from llamatune.errors import DataError
from llamatune.runs.files import size

MAX_LINE = 64 << 20
"""Longest line or array element, in bytes: a longer one is a broken file, and would fill the memory."""

MAX_EXPANSION = 200
"""Largest ratio of plain to compressed bytes, for files of more than `MAX_LINE`. Text reaches about 10."""

MAX_BLANK = 1_000_000
"""Most blank lines one after the other."""

FIRST_ROWS, MAX_ROWS = 1_000_000, 8
"""Most rows of a file of tables: so many, and then so many for each of its bytes. Rows of nothing take almost none."""


def check_rows(name: str, compressed: int, rows: int) -> None:
    """Raises DataError (E110) where so many rows came out of so few bytes."""
    if rows > FIRST_ROWS + MAX_ROWS * compressed:
        raise _bomb(name, f"{size(compressed)} expand to more than {rows:,} rows")


def check_expansion(name: str, compressed: int, plain: int) -> None:
    """Raises DataError (E110) where so many bytes came out of so few."""
    if plain > MAX_LINE and plain > MAX_EXPANSION * compressed:
        raise _bomb(name, f"{size(compressed)} expand to more than {size(plain)}")


def _bomb(name: str, what: str) -> DataError:
    return DataError(
        "E110",
        what,
        place=name,
        why="that is a decompression bomb, not training data",
        hint="if the file is yours, write its rows to a plain .jsonl file and name that",
    )
