"""What is compared and what people said, in one SQLite file: every click is a transaction of its own.

A transaction that was answered is on the disk (write-ahead log, `synchronous=FULL`), whatever is killed. Nothing is
deleted: what is undone is marked so. Texts are kept as JSON, which holds whatever a model may have written.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from llamatune.annotation.scales import first_is_left
from llamatune.errors import DataError

_VERSION = 1
_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE pairs (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    prompt TEXT NOT NULL,
    first TEXT,
    second TEXT,
    made_by TEXT NOT NULL DEFAULT '{}',
    owner TEXT,
    after TEXT REFERENCES pairs (id),
    withdrawn INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE judgements (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    pair TEXT NOT NULL REFERENCES pairs (id),
    annotator TEXT NOT NULL,
    first_left INTEGER NOT NULL,
    verdict INTEGER,
    first_safe INTEGER,
    second_safe INTEGER,
    skipped INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    began REAL NOT NULL,
    ended REAL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX one_each ON judgements (pair, annotator) WHERE undone = 0;
CREATE INDEX of_annotator ON judgements (annotator, ended) WHERE undone = 0;
CREATE INDEX chats ON pairs (owner, after);
"""
_CLAIM = 900.0
"""Seconds for which a pair that somebody looks at counts as taken."""

_JUDGEMENT = (
    "number, pair, annotator, first_left, verdict, first_safe, second_safe, skipped, closed, seconds, began, "
    "ended"
)


@dataclass(frozen=True)
class ShownPair:
    """Two replies to a prompt.

    `first` and `second` are None until they are sampled; `made_by`: who gave which, which no annotator sees. `owner`:
    whose chat it is, None for everybody's; `after`: the pair whose chosen reply it goes on from.
    """

    id: str
    prompt: list[dict[str, str]]
    first: str | None
    second: str | None
    made_by: dict[str, Any]
    owner: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class Judgement:
    """What one annotator said of a pair.

    `verdict`: as in `scales`, None until it is said. `ended`: when all that is asked was said, None before. `closed`:
    the chat does not go on from here. `seconds`: how long the pair was looked at.
    """

    number: int
    pair: str
    annotator: str
    first_left: bool
    verdict: int | None
    first_safe: bool | None
    second_safe: bool | None
    skipped: bool
    closed: bool
    seconds: float
    began: float
    ended: float | None

    @property
    def chosen(self) -> int | None:
        """0 the first reply, 1 the second, None for none."""
        return None if not self.verdict else int(self.verdict > 0)


class Store:
    """The file. Every method is a transaction.

    Args:
        path: made where it is missing.

    Raises:
        DataError: E173, it is not such a file, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        if path.is_symlink():
            raise _damaged(path, "a link, not a file")
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA trusted_schema = OFF")  # whatever a stranger's file defines
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if not version:
                with self._transaction():
                    for statement in filter(str.strip, _TABLES.split(";")):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                raise _damaged(path, f"it was written by another version of llamatune ({version})")
            (said,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise _damaged(path, said)
            self._check()
        except sqlite3.DatabaseError as error:
            raise _damaged(path, str(error)) from error

    def _check(self) -> None:
        """Every row is one that could have been written here. Raises DataError."""
        try:
            pairs = map(_pair, self._rows("SELECT * FROM pairs"))
            judgements = map(_judgement, self._rows(f"SELECT {_JUDGEMENT} FROM judgements"))
            good = all(map(_is_pair, pairs)) and all(map(_is_judgement, judgements))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            good = False
        if not good:
            raise _damaged(self.path, "a row in it is none of llamatune's")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it is on the disk when the block ends, or none of it."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    # ---- what is compared ----------------------------------------------------------------------------------

    def about(self) -> dict[str, str]:
        """What the session is: see `settle`."""
        return {row["name"]: row["value"] for row in self._rows("SELECT name, value FROM about")}

    def settle(self, said: Mapping[str, str]) -> dict[str, str]:
        """Note what the session is, the first time; returns what was noted then."""
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", said.items())
        return self.about()

    def add(self, pairs: Iterable[ShownPair]) -> int:
        """Add pairs after those that are there; returns how many were new."""
        with self._transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO pairs (id, prompt, first, second, made_by, owner, after) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        one.id,
                        json.dumps(one.prompt),
                        _text(one.first),
                        _text(one.second),
                        json.dumps(one.made_by),
                        one.owner,
                        one.after,
                    )
                    for one in pairs
                ),
            )
            return connection.total_changes - before

    def fill(self, pair: str, first: str, second: str, made_by: Mapping[str, Any]) -> None:
        """The replies to a question that was asked; those that are there stay."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE pairs SET first = ?, second = ?, made_by = ? WHERE id = ? AND first IS NULL",
                (_text(first), _text(second), json.dumps(dict(made_by)), pair),
            )

    def withdraw(self, pair: str) -> None:
        """A question that is not to be answered after all."""
        with self._transaction() as connection:
            connection.execute("UPDATE pairs SET withdrawn = 1 WHERE id = ?", (pair,))

    def pairs(self) -> dict[str, ShownPair]:
        """All pairs with their replies, in their order."""
        rows = self._rows("SELECT * FROM pairs WHERE withdrawn = 0 AND first IS NOT NULL ORDER BY place")
        return {row["id"]: _pair(row) for row in rows}

    def pair(self, name: str) -> ShownPair | None:
        rows = self._rows("SELECT * FROM pairs WHERE id = ? AND withdrawn = 0", name)
        return _pair(rows[0]) if rows else None

    def unanswered(self, annotator: str) -> ShownPair | None:
        """What this annotator asked, and nobody has answered yet."""
        rows = self._rows(
            "SELECT * FROM pairs WHERE owner = ? AND first IS NULL AND withdrawn = 0 ORDER BY place LIMIT 1",
            annotator,
        )
        return _pair(rows[0]) if rows else None

    def asked_by(self, annotator: str) -> int:
        """How often this annotator has asked, whatever became of it."""
        [row] = self._rows("SELECT COUNT(*) AS asked FROM pairs WHERE owner = ?", annotator)
        return int(row["asked"])

    def goes_on(self, pair: str, annotator: str) -> bool:
        """Whether this annotator's chat goes on after a pair."""
        found = self._rows(
            "SELECT 1 FROM pairs WHERE after = ? AND owner = ? AND withdrawn = 0 LIMIT 1", pair, annotator
        )
        return bool(found)

    # ---- what people say -----------------------------------------------------------------------------------

    def next_for(self, annotator: str, each: int | None) -> Judgement | None:
        """The pair that an annotator is to judge, with what was already said of it; None if nothing is left.

        What was undone comes first, then what was begun, then the next one that fewer than `each` others have judged
        or are looking at.
        """
        now = time.time()
        with self._transaction() as connection:
            found = connection.execute(
                f"SELECT {_JUDGEMENT} FROM judgements JOIN pairs ON pairs.id = pair "
                "WHERE annotator = ? AND ended IS NULL AND undone = 0 AND withdrawn = 0 ORDER BY number DESC LIMIT 1",
                (annotator,),
            ).fetchone()
            if found is not None:
                return _judgement(found)
            row = connection.execute(
                """
                SELECT id FROM pairs
                WHERE withdrawn = 0 AND first IS NOT NULL AND (owner IS NULL OR owner = :annotator)
                AND NOT EXISTS (SELECT 1 FROM judgements WHERE pair = id AND annotator = :annotator AND undone = 0)
                AND (:each IS NULL OR :each > (
                    SELECT COUNT(*) FROM judgements WHERE pair = id AND undone = 0
                    AND (ended IS NOT NULL OR began > :since)
                ))
                ORDER BY place LIMIT 1
                """,
                {"annotator": annotator, "each": each, "since": now - _CLAIM},
            ).fetchone()
            if row is None:
                return None
            return _begun(connection, row["id"], annotator, now)

    def say(
        self,
        pair: str,
        annotator: str,
        *,
        complete: Sequence[str],
        seconds: float = 0.0,
        **said: int | bool | None,
    ) -> Judgement | None:
        """A click: note what was said of a pair.

        Args:
            complete: the columns that have to be there before the pair is judged.
            seconds: how long the pair was looked at until now.
            said: columns.

        Returns:
            What has been said so far; None where the pair is not open for this annotator, because it has been judged
            (in another tab), or was never shown.
        """
        with self._transaction() as connection:
            found = connection.execute(
                f"SELECT {_JUDGEMENT} FROM judgements "
                "WHERE pair = ? AND annotator = ? AND ended IS NULL AND undone = 0",
                (pair, annotator),
            ).fetchone()
            if found is None:
                return None
            now = time.time()
            looked = min(max(seconds, 0.0), now - found["began"])
            changed: dict[str, Any] = {**said, "seconds": max(found["seconds"], looked)}
            after = {**dict(found), **changed}
            if after["skipped"] or all(after[name] is not None for name in complete):
                changed["ended"] = now
            connection.execute(
                f"UPDATE judgements SET {', '.join(f'{name} = ?' for name in changed)} WHERE number = ?",
                (*changed.values(), found["number"]),
            )
            return _judgement({**after, **changed})

    def close_chat(self, number: int) -> None:
        """The chat does not go on after this judgement."""
        with self._transaction() as connection:
            connection.execute("UPDATE judgements SET closed = 1 WHERE number = ?", (number,))

    def last(self, annotator: str) -> Judgement | None:
        """What an annotator judged last, and has not undone."""
        rows = self._rows(
            f"SELECT {_JUDGEMENT} FROM judgements WHERE annotator = ? AND ended IS NOT NULL AND undone = 0 "
            "ORDER BY ended DESC, number DESC LIMIT 1",
            annotator,
        )
        return _judgement(rows[0]) if rows else None

    def undo(self, annotator: str) -> bool:
        """Open an annotator's last judgement again; what was asked after it is withdrawn. Returns whether there was
        one."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT number, pair FROM judgements WHERE annotator = ? AND ended IS NOT NULL AND undone = 0 "
                "ORDER BY ended DESC, number DESC LIMIT 1",
                (annotator,),
            ).fetchone()
            if row is None:
                return False
            # What is open now is shown again later, from its beginning.
            connection.execute(
                "UPDATE judgements SET undone = 1 WHERE number = ? OR (annotator = ? AND ended IS NULL AND undone = 0)",
                (row["number"], annotator),
            )
            connection.execute(
                "UPDATE pairs SET withdrawn = 1 WHERE after = ? AND owner = ?", (row["pair"], annotator)
            )
            _begun(connection, row["pair"], annotator, time.time())
            return True

    def judgements(self) -> list[Judgement]:
        """All that were ended and not undone, in the order in which they were."""
        rows = self._rows(
            f"SELECT {_JUDGEMENT} FROM judgements JOIN pairs ON pairs.id = pair "
            "WHERE ended IS NOT NULL AND undone = 0 AND withdrawn = 0 ORDER BY ended, number"
        )
        return list(map(_judgement, rows))

    def ever_judged(self) -> frozenset[str]:
        """The pairs that somebody has judged at any time, whether that was undone or not."""
        rows = self._rows("SELECT DISTINCT pair FROM judgements WHERE ended IS NOT NULL")
        return frozenset(row["pair"] for row in rows)

    def progress(self, annotator: str, each: int | None) -> tuple[int, int]:
        """How many pairs an annotator has judged, and how many are left for them at most."""
        [row] = self._rows(
            """
            SELECT
              (SELECT COUNT(*) FROM judgements JOIN pairs ON id = pair
               WHERE annotator = ?1 AND ended IS NOT NULL AND undone = 0 AND withdrawn = 0) AS done,
              (SELECT COUNT(*) FROM pairs
               WHERE withdrawn = 0 AND first IS NOT NULL AND (owner IS NULL OR owner = ?1)
               AND NOT EXISTS (SELECT 1 FROM judgements
                               WHERE pair = id AND annotator = ?1 AND ended IS NOT NULL AND undone = 0)
               AND (?2 IS NULL OR ?2 > (SELECT COUNT(*) FROM judgements
                                        WHERE pair = id AND annotator != ?1 AND ended IS NOT NULL AND undone = 0))
              ) AS waiting
            """,
            annotator,
            each,
        )
        return row["done"], row["waiting"]

    def waiting(self, each: int | None) -> int:
        """How many of everybody's pairs fewer than `each` people have judged: nobody, where it is None."""
        [row] = self._rows(
            """
            SELECT COUNT(*) AS waiting FROM pairs WHERE withdrawn = 0 AND owner IS NULL AND ? > (
                SELECT COUNT(*) FROM judgements WHERE pair = id AND ended IS NOT NULL AND undone = 0)
            """,
            each or 1,
        )
        return int(row["waiting"])


def _begun(connection: sqlite3.Connection, pair: str, annotator: str, now: float) -> Judgement:
    cursor = connection.execute(
        "INSERT INTO judgements (pair, annotator, first_left, began) VALUES (?, ?, ?, ?)",
        (pair, annotator, first_is_left(pair, annotator), now),
    )
    row = connection.execute(
        f"SELECT {_JUDGEMENT} FROM judgements WHERE number = ?", (cursor.lastrowid,)
    ).fetchone()
    return _judgement(row)


def _text(text: str | None) -> str | None:
    return None if text is None else json.dumps(text)


def _pair(row: sqlite3.Row) -> ShownPair:
    first, second = (None if row[name] is None else json.loads(row[name]) for name in ("first", "second"))
    return ShownPair(
        row["id"],
        json.loads(row["prompt"]),
        first,
        second,
        json.loads(row["made_by"]),
        row["owner"],
        row["after"],
    )


def _judgement(row: Mapping[str, Any] | sqlite3.Row) -> Judgement:
    first, second = (None if row[name] is None else bool(row[name]) for name in ("first_safe", "second_safe"))
    return Judgement(
        row["number"],
        row["pair"],
        row["annotator"],
        bool(row["first_left"]),
        row["verdict"],
        first,
        second,
        bool(row["skipped"]),
        bool(row["closed"]),
        row["seconds"],
        row["began"],
        row["ended"],
    )


def _is_pair(one: ShownPair) -> bool:
    said = [turn[key] for turn in one.prompt for key in ("role", "content")]
    perhaps = (one.first, one.second, one.owner, one.after)
    return (
        all(isinstance(text, str) for text in (one.id, *said))
        and all(isinstance(text, (str, NoneType)) for text in perhaps)
        and isinstance(one.made_by, dict)
    )


def _is_judgement(one: Judgement) -> bool:
    numbers = (one.seconds, one.began, one.ended or 0.0)
    return (
        (one.verdict is None or (type(one.verdict) is int and abs(one.verdict) <= 4))
        and all(isinstance(number, (int, float)) for number in numbers)
        and isinstance(one.annotator, str)
    )


def _damaged(path: Path, why: str) -> DataError:
    return DataError("E173", f"cannot be used: {why}", place=str(path))
