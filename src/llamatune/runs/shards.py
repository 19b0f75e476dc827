"""Costly work in parts, each written exactly once whatever is killed.

A stage that samples cuts its work into parts, such as "samples 0 to 3 of prompts 64 to 127", and gives each a name.
The records of a part are one file, a shard:

    samples/4f0c.../00064-000.jsonl      one record a line, then a last line: how many, and their sha256

A shard is written under a temporary name, flushed to the disk and renamed, so that it is there whole or not at all; a
process that dies loses the part it was working on. The folder is named by a digest of everything that decides what
the records are (policy, template, temperature, seed ...), so that records of another policy are never mixed with
these, while more parts of the same key (more samples of each prompt) are added to those that are there.

Any number of processes share the parts out by rank. None waits for another: after all processes have met (at a
barrier), `join` puts the parts together in their order, so that the result is the same to the byte, whichever process
made them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from llamatune.errors import LlamatuneError
from llamatune.outside import open_plain
from llamatune.runs import ranks
from llamatune.runs.files import disk_errors, jsonl_line, remove, replacing, sweep, write_json
from llamatune.runs.signals import StoppedEarly, StopRequest
from llamatune.wording import counted

_Block = TypeVar("_Block")
"""What a part is made from: some prompts, some replies, some texts."""
Record = Mapping[str, Any]
Say = Callable[[str], None]

_KEY = "key.json"


@dataclass(frozen=True)
class Part:
    """A part of the work. `name` is a file name without its ending; `records` is how many records it has to give."""

    name: str
    records: int

    @staticmethod
    def of(names: Sequence[str]) -> Part:
        """A part that gives one record for each of these names, and is called by all of them."""
        return Part(hashlib.sha256("\n".join(names).encode()).hexdigest()[:32], len(names))


class Shards:
    """The shards of one piece of work.

    Args:
        folder: holds the work of all keys, such as `RUN/samples`.
        key: everything that decides what the records are, except the parts' names. JSON.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        text = json.dumps(key, sort_keys=True, ensure_ascii=False)
        self._digest = hashlib.sha256(text.encode()).hexdigest()
        self._key = dict(key)
        self.folder = folder / self._digest[:16]

    def make(
        self,
        parts: Sequence[Part],
        work: Callable[[Part], Iterable[Record]],
        *,
        stop: StopRequest,
        say: Say = print,
        done: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """Make those of this process's parts that are not there yet.

        Args:
            parts: all of them, the same in every process.
            work: makes the records of a part; may be called again for a part whose making was interrupted.
            stop: looked at between parts; a request waits for the end of a part.
            say: is told about half-written and damaged shards that are made again.
            done: is told how many of this process's parts are there, and out of how many, whenever that changes.

        Raises:
            StoppedEarly: somebody asked to stop; what was made is there.
            DiskError: a shard could not be written; those before it are there.
            LlamatuneError: a part gave a wrong number of records (E930). Whatever `work` raises passes through, and its
                part is not there.
        """
        _check_names(parts)
        mine = [part for number, part in enumerate(parts) if number % ranks.processes() == ranks.rank()]
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep(say)
        if ranks.is_main():
            # For people; the folder's name is what counts.
            write_json(self.folder / _KEY, self._key)
        missing = [part for part in mine if not self._is_there(part, say)]
        there = len(mine) - len(missing)
        done(there, len(mine))
        with stop.waiting():
            for number, part in enumerate(missing, there):
                _hear(stop, number, len(mine))
                self._write(part, work(part))
                done(number + 1, len(mine))
            _hear(stop, len(mine), len(mine))

    def find(self, part: Part) -> list[dict[str, Any]] | None:
        """The records of a part, if its shard is there and whole."""
        try:
            lines = self._whole(part)
        except OSError:
            return None
        return None if lines is None else [json.loads(line) for line in lines]

    def of_other_parts(self, parts: Sequence[Part]) -> Iterator[tuple[Part, list[dict[str, Any]]]]:
        """The whole shards of the folder that are of none of these parts, by name: what was made under this key before,
        and divided otherwise."""
        known = {part.name for part in parts}
        for path in sorted(self.folder.glob("*.jsonl")):
            if path.stem not in known:
                with suppress(OSError), open_plain(path) as stream:
                    part = Part(path.stem, sum(1 for _ in stream) - 1)
                    if (records := self.find(part)) is not None:
                        yield part, records

    def read(self, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
        """The records of parts, in order. Raises what `join` raises."""
        for part in parts:
            for line in self._lines(part):
                yield json.loads(line)

    def join(self, parts: Sequence[Part], target: Path) -> int:
        """Write the records of all parts, in order, to one file that is there whole or not at all.

        Returns:
            How many records it holds.

        Raises:
            LlamatuneError: a part is missing or damaged (E931): its process has not made it.
            DiskError: the file cannot be written.
        """
        with replacing(target) as stream:
            for part in parts:
                stream.writelines(self._lines(part))
        return sum(part.records for part in parts)

    # ---- one shard ----------------------------------------------------------------------------------------

    def _path(self, part: Part) -> Path:
        return self.folder / f"{part.name}.jsonl"

    def _write(self, part: Part, records: Iterable[Record]) -> None:
        path = self._path(part)
        lines = [jsonl_line(record) for record in records]
        if len(lines) != part.records:
            raise _wrong_count(part, len(lines), path)
        content = b"".join(lines)
        with replacing(path, len(content)) as stream:
            stream.write(content + self._end(part, content))

    def _end(self, part: Part, content: bytes) -> bytes:
        """The last line of a shard: it differs for another key, part, number or content."""
        sha256 = hashlib.sha256(content).hexdigest()
        return jsonl_line({"key": self._digest, "part": part.name, "records": part.records, "sha256": sha256})

    def _whole(self, part: Part) -> list[bytes] | None:
        """The lines of a shard, every byte of them verified; None if something is wrong with it."""
        with open_plain(self._path(part)) as stream:
            *lines, last = stream.read().splitlines(keepends=True) or [b""]
        whole = last == self._end(part, b"".join(lines)) and len(lines) == part.records
        return lines if whole else None

    def _lines(self, part: Part) -> list[bytes]:
        path = self._path(part)
        try:
            lines = self._whole(part)
        except OSError:
            raise _not_there(part, path, "is missing") from None
        if lines is None:
            raise _not_there(part, path, "is damaged")
        return lines

    def _is_there(self, part: Part, say: Say) -> bool:
        """Whether a shard is there and whole; a broken one is removed."""
        path = self._path(part)
        try:
            if self._whole(part) is not None:
                return True
        except FileNotFoundError:
            return False
        except OSError:
            # A folder of that name, a bad block.
            pass
        say(f"{path.name} is damaged: it is removed and made again")
        remove(path)
        return False

    def _sweep(self, say: Say) -> None:
        for name in sweep(self.folder):
            if name != _KEY:
                say(f"{name} was half written by a process that died: it is made again")


class InParts(ABC, Generic[_Block]):
    """Work whose parts are known from the start: samples, scores, answers of an endpoint.

    Args:
        folder, key: those of `Shards`.
        work: the block that each part is made from, the same in every process.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], work: Mapping[Part, _Block]) -> None:
        self._shards = Shards(folder, key)
        self._work = dict(work)

    @property
    def parts(self) -> list[Part]:
        """All of them, in order."""
        return list(self._work)

    @abstractmethod
    def _made(self, part: Part, block: _Block) -> Iterator[dict[str, Any]]:
        """The records of a part."""

    def make(
        self,
        *,
        stop: StopRequest,
        say: Say = print,
        done: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """Make what is missing of this process's share. Arguments and errors are those of `Shards.make`, and what goes
        wrong with a part passes through."""
        self._shards.make(
            self.parts, lambda part: self._made(part, self._work[part]), stop=stop, say=say, done=done
        )

    def records(self) -> Iterator[dict[str, Any]]:
        """Of all parts, in order. Raises what `Shards.read` raises."""
        return self._shards.read(self.parts)


def _hear(stop: StopRequest, made: int, of: int) -> None:
    if stop.signal is not None:
        raise StoppedEarly(f"after {made:,} of {counted(of, 'part')}; those are saved")


def _check_names(parts: Sequence[Part]) -> None:
    names = [part.name for part in parts]
    assert len(set(names)) == len(names), "two parts of one name"
    assert all(name and Path(name).name == name and not name.startswith(".") for name in names), (
        "not a file name"
    )


def _wrong_count(part: Part, count: int, path: Path) -> LlamatuneError:
    return LlamatuneError(
        "E930",
        f"part {part.name} gave {counted(count, 'record')} instead of {part.records:,}",
        place=str(path),
        why="something would be missing, or be there twice",
        hint="this is a bug: please report it with these lines",
    )


def _not_there(part: Part, path: Path, what: str) -> LlamatuneError:
    return LlamatuneError(
        "E931",
        f"part {part.name} {what}",
        place=str(path),
        why="a file put together without it would lack records",
        hint="run the same command again: what is missing or damaged is made again",
    )
