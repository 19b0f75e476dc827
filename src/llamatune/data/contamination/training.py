"""What a run was trained on, text by text, from what its folder says of its data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamatune.data.read.sources import FoundFiles
from llamatune.outside import is_file
from llamatune.recipe.hashing import file_sha256
from llamatune.runs.files import read_json
from llamatune.runs.handover import MADE_BY
from llamatune.runs.manifest import with_runs_behind

_LEARNT = ("train", "ptx")
"""Roles of sources that a run learns from."""


@dataclass
class TrainedOn:
    """The files that a run and those behind it were trained on.

    `files`: each once, with the name of its source. `missing`: files that are gone, or are not what they were, so that
    nothing is known of them.
    """

    files: dict[Path, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def texts(self) -> Iterator[str]:
        """Every text of every row, whatever the format: what a message, an answer or a document says."""
        for file, name in self.files.items():
            for _, row in FoundFiles(name, (file,)).rows(lambda error: None):
                yield from texts_in(row)


def trained_on(runs: Iterable[Path]) -> TrainedOn:
    """What some runs were trained on, and those whose rows, adapters or models they started from."""
    found, seen = TrainedOn(), set[Path]()
    for run in runs:
        for folder in with_runs_behind(run, seen):
            for source in _sources(folder):
                _take(source, found)
    return found


def texts_in(row: Any) -> Iterator[str]:
    """The texts in a row, in whatever it is made of; who made it is none."""
    if isinstance(row, str):
        yield row
    elif isinstance(row, Mapping):
        for key, part in row.items():
            if key not in (MADE_BY, "role", "from"):
                yield from texts_in(part)
    elif isinstance(row, (list, tuple)):
        for part in row:
            yield from texts_in(part)


def _sources(run: Path) -> list[dict[str, Any]]:
    sources = (read_json(run / "data.json") or {}).get("sources")
    known = [one for one in sources if isinstance(one, dict)] if isinstance(sources, list) else []
    return [one for one in known if one.get("role") in _LEARNT]


def _take(source: Mapping[str, Any], found: TrainedOn) -> None:
    files, hashes = source.get("files"), source.get("sha256")
    if not isinstance(files, list) or not isinstance(hashes, list):
        return
    for name, sha256 in zip(files, hashes, strict=False):
        file = Path(str(name))
        if file in found.files or str(file) in found.missing:
            continue
        if is_file(file) and file_sha256(file) == sha256:
            found.files[file] = str(source.get("name"))
        else:
            found.missing.add(str(file))
