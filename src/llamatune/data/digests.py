"""What makes two rows equal: 16-byte digests of canonical rows, and of their prompts; and which came before."""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from llamatune.data.rows import Document, Message, Preference, Prompt, Row

_RECENT = 1 << 18
"""How many digests are kept in memory before they are written: sorted, they touch each page of the table once."""

_CACHE_KIB = 16_384
"""How much of the table is kept in memory."""


def row_digests(row: Row) -> tuple[bytes, bytes]:
    """16-byte digests of the row, and of its prompt: all before the last reply, or before both replies of a pair;
    of a document and of a prompt, the whole.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(row, Document):
        digest.update(row.text.encode())
        return digest.digest(), digest.digest()
    if isinstance(row, Preference):
        _update(digest, row.prompt)
        prompt = digest.digest()
        for side in (row.chosen, row.rejected):
            digest.update(b"reply:")
            _update(digest, side)
        digest.update(str((row.rating, row.chosen_safe, row.rejected_safe)).encode())
        return digest.digest(), prompt
    if isinstance(row, Prompt):
        _update(digest, row.messages)
        return digest.digest(), digest.digest()
    last = max(index for index, message in enumerate(row.messages) if message.role == "assistant")
    _update(digest, row.messages[:last])
    prompt = digest.digest()
    _update(digest, row.messages[last:])
    digest.update(str([message.train for message in row.messages]).encode())
    if row.score is not None:
        digest.update(str(row.score).encode())
    return digest.digest(), prompt


class SeenDigests:
    """The digests that came so far: the last ones in memory, the others in a file, so that memory stays flat however
    many there are.

    Args:
        folder: where the file may be while this is open; it is removed at the end.
        name: of the file, where a folder has several.
    """

    def __init__(self, folder: Path, name: str = "digests") -> None:
        self._path = folder / f"{name}.sqlite"
        self._recent: set[bytes] = set()
        self._table: sqlite3.Connection | None = None

    def __enter__(self) -> SeenDigests:
        return self

    def __exit__(self, *_: object) -> None:
        if self._table is not None:
            self._table.close()
        self._path.unlink(missing_ok=True)

    def is_new(self, digest: bytes) -> bool:
        """Whether this digest came for the first time. Raises OSError: the file cannot be written."""
        if digest in self._recent or (self._table is not None and self._is_written(digest)):
            return False
        self._recent.add(digest)
        if len(self._recent) == _RECENT:
            self._write()
        return True

    def _is_written(self, digest: bytes) -> bool:
        assert self._table is not None
        try:
            found = self._table.execute("SELECT 1 FROM seen WHERE digest = ?", (digest,))
            return found.fetchone() is not None
        except sqlite3.Error as error:
            raise self._as_os_error(error) from None

    def _write(self) -> None:
        try:
            if self._table is None:
                self._table = sqlite3.connect(self._path, isolation_level=None)
                # Nothing of it is needed after a crash, and nobody else opens it.
                for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                    self._table.execute(f"PRAGMA {setting}")
                self._table.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
                self._table.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
            self._table.execute("BEGIN")
            self._table.executemany("INSERT INTO seen VALUES (?)", ((one,) for one in sorted(self._recent)))
            self._table.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._as_os_error(error) from None
        self._recent.clear()

    def _as_os_error(self, error: sqlite3.Error) -> OSError:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        return OSError(errno.ENOSPC if full else errno.EIO, str(error), str(self._path))


def _update(digest: hashlib.blake2b, messages: Iterable[Message]) -> None:
    for message in messages:
        for text in (message.role, message.content, message.input or ""):
            encoded = text.encode()
            digest.update(b"%d:" % len(encoded))
            digest.update(encoded)
