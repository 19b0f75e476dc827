"""Read a run directory as it is: a file may be missing, cut off by a crash, or not what it should be.

Reading never fails. What could not be read is empty, and `missing` and `broken` say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llamatune.errors import RecipeError
from llamatune.outside import open_plain, read_whole
from llamatune.recipe.parsing.yaml import MAX_BYTES, parse
from llamatune.wording import counted


class RunFiles:
    """The files of one run directory.

    missing: names of files that were asked for and are not there, in that order.
    broken: file name -> what is wrong with it, in words.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.missing: list[str] = []
        self.broken: dict[str, str] = {}

    def recipe(self) -> tuple[str, dict[str, Any]]:
        """resolved.yaml as text and as plain data."""
        name = "resolved.yaml"
        text = (self._bytes(name) or b"")[:MAX_BYTES].decode("utf-8", "replace")
        try:
            return text, parse(text, name).data
        except RecipeError as error:
            self.broken[name] = f"cannot be read as a recipe: {error.problems[0].what}"
            return text, {}

    def mapping(self, name: str) -> dict[str, Any]:
        """A JSON file that holds one object."""
        content = self._json(name)
        if content is not None and not isinstance(content, dict):
            self.broken[name] = "does not hold a JSON object"
        return as_mapping(content)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A JSON file that holds a list of objects."""
        content = self._json(name)
        if content is not None and not isinstance(content, list):
            self.broken[name] = "does not hold a JSON list"
        return as_rows(content)

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The objects of a .jsonl file. A crash may have cut off the last line; other lines are written whole."""
        bad: list[int] = []
        last = 0
        try:
            with open_plain(self.directory / name) as stream:
                for last, line in enumerate(stream, 1):
                    try:
                        record = _loads(line)
                    except (ValueError, RecursionError):
                        record = None
                    if isinstance(record, dict):
                        yield record
                    elif line.strip():
                        bad.append(last)
        except FileNotFoundError:
            self.missing.append(name)
        except OSError as error:
            self.broken[name] = f"cannot be read: {error.strerror or error}"
        if bad == [last]:
            self.broken[name] = f"its last line ({last:,}) is cut off and was left out"
        elif bad:
            self.broken[name] = (
                f"{len(bad):,} of its {counted(last, 'line')} could not be read, the first is line {bad[0]:,}"
            )

    def _json(self, name: str) -> Any:
        raw = self._bytes(name)
        if raw is None:
            return None
        try:
            return _loads(raw)
        except (ValueError, RecursionError):
            self.broken[name] = "is not JSON, or cut off"
            return None

    def _bytes(self, name: str) -> bytes | None:
        try:
            return read_whole(self.directory / name)
        except FileNotFoundError:
            self.missing.append(name)
        except OSError as error:
            self.broken[name] = f"cannot be read: {error.strerror or error}"
        return None


def as_mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def as_number(value: Any) -> float | None:
    """A number, NaN and infinity included; None for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def as_text(value: Any) -> str:
    """Text as it is, nothing for None, and other things as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _loads(raw: bytes) -> Any:
    return json.loads(raw.decode("utf-8", "replace"), parse_int=_integer)


def _integer(digits: str) -> float:
    """Python refuses to read integers of thousands of digits, and floats stop at 1e308."""
    return int(digits) if len(digits) < 19 else float(digits)
