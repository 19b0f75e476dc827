"""What makes two rows equal: 16-byte digests of canonical rows, and of their prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from llamatune.data.rows import Document, Message, Preference, Prompt, Row


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


def _update(digest: hashlib.blake2b, messages: Iterable[Message]) -> None:
    for message in messages:
        for text in (message.role, message.content, message.input or ""):
            encoded = text.encode()
            digest.update(b"%d:" % len(encoded))
            digest.update(encoded)
