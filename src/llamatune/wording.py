"""Numbers with their nouns, as English has them."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `1,234 rows`.

    Args:
        one: the noun, or the noun with its verb (`row is`).
        many: the same for any other number, where it is not `one` with an s (`rows are`).
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
