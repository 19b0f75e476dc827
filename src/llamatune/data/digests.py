"""What makes two rows equal: 16-byte digests of canonical rows, and of their prompts; and which came before."""

from __future__ import annotations

import errno
import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from llamatune.data.rows import Document, Message, Preference, Prompt, Row

_MEMORY_KIB = 16_384
"""How much of the table of digests is kept in memory."""


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
    """The digests that came so far, in a file: memory stays flat however many there are.

    Args:
        folder: where the file may be while this is open; it is removed at the end.

    Raises:
        OSError: it cannot be written there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "digests.sqlite"

    def __enter__(self) -> SeenDigests:
        # Nothing of it is needed after a crash.
        self._table = sqlite3.connect(self._path, isolation_level=None)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_MEMORY_KIB}"):
            self._table.execute(f"PRAGMA {setting}")
        self._table.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._table.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self._table.close()
        self._path.unlink(missing_ok=True)

    def is_new(self, digest: bytes) -> bool:
        """Whether this digest came for the first time."""
        try:
            added = self._table.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,))
        except sqlite3.Error as error:
            full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, str(error), str(self._path)) from None
        return added.rowcount == 1


def _update(digest: hashlib.blake2b, messages: Iterable[Message]) -> None:
    for message in messages:
        for text in (message.role, message.content, message.input or ""):
            encoded = text.encode()
            digest.update(b"%d:" % len(encoded))
            digest.update(encoded)
