"""Numbers with their nouns, as English has them, paths as a shell has them, and a word now and then on long work."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")

SECONDS_OF_SILENCE = 10.0
"""How long many things are worked on without a word."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `1,234 rows`.

    Args:
        one: the noun, or the noun with its verb (`row is`).
        many: the same for any other number, where it is not `one` with an s (`rows are`).
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def in_shell(path: object) -> str:
    """A path as a command takes it: quoted where it has a blank or another character of the shell's."""
    return shlex.quote(str(path))


def with_word(items: Sequence[_Item], one: str, done: str, say: Callable[[str], None]) -> Iterator[_Item]:
    """The items, with a word every `SECONDS_OF_SILENCE`: `300 of 10,000 sources opened`.

    Args:
        one: the noun.
        done: what was done to each.
    """
    said = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - said > SECONDS_OF_SILENCE:
            say(f"{number:,} of {counted(len(items), one)} {done}")
            said = time.monotonic()
        yield item
