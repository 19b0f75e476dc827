"""How many rows a recipe trains on and how long they are, from cards and from a first look at files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llamatune.data.read.readers import read_rows
from llamatune.errors import LlamatuneError
from llamatune.recipe.blocks import Source
from llamatune.recipe.cards import CardFile, Split, find_card

_FIRST = 200
"""Rows of a file that are looked at."""
_CHARACTERS = 4
"""Characters of a token: English text with a vocabulary of 32,000."""


@dataclass(frozen=True)
class Amount:
    """Of one source. `rows`, and `tokens` of a row: None where they are not known. `counted`: the rows are a count, no
    estimate."""

    rows: float | None
    tokens: float | None = None
    counted: bool = False


def amount_of(source: Source, recipe_dir: Path) -> Amount:
    """What is known of a source without downloading, generating or reading all of it."""
    try:
        found = _of_card(source, recipe_dir) if source.card is not None else _of_file(source)
    # What is wrong with it is for `validate` to say.
    except (LlamatuneError, OSError):
        found = Amount(None)
    if source.max_rows is None:
        return found
    rows = source.max_rows if found.rows is None else min(source.max_rows, found.rows)
    return Amount(rows, found.tokens, found.counted or found.rows is None)


def rows_of_epoch(sources: Sequence[Source], amounts: Sequence[Amount]) -> float | None:
    """Rows of an epoch after weights and shares; None where a source is not known."""
    known = [amount.rows for amount in amounts if amount.rows is not None]
    if len(known) < len(amounts):
        return None
    if not sources:
        return 0.0
    if all(source.share is not None for source in sources):
        # Shares are reached by leaving out rows.
        return min(rows / (source.share or 1) for rows, source in zip(known, sources, strict=True))
    return sum(rows * source.weight for rows, source in zip(known, sources, strict=True))


def _of_card(source: Source, recipe_dir: Path) -> Amount:
    assert source.card is not None
    split = find_card(source.card, recipe_dir).splits[source.split]
    files: Sequence[CardFile | Split] = split.files or [split]
    rows, size = _sum(file.rows for file in files), _sum(file.bytes for file in files)
    return Amount(rows, size / rows / _CHARACTERS if rows and size else None, rows is not None)


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(number or 0 for number in known)


def _of_file(source: Source) -> Amount:
    if source.path is None:
        return Amount(None)
    file = Path(source.path)
    first = [raw for _, raw in islice(read_rows(file), _FIRST + 1)]
    if not first:
        return Amount(0, 0, True)
    size = sum(len(json.dumps(raw, ensure_ascii=False).encode()) for raw in first) / len(first)
    tokens = sum(map(_characters, first)) / len(first) / _CHARACTERS
    if len(first) <= _FIRST:
        return Amount(len(first), tokens, True)
    packed = file.suffix in (".gz", ".parquet")
    return Amount(None if packed else file.stat().st_size / size, tokens)


def _characters(value: object) -> int:
    """Of all texts in a row."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 0
