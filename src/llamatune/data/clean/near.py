"""Documents that are nearly the same as others: signatures of texts, by MinHash.

Five words in a row are compared (datasketch), with the 14 bands of 8 hashes that FineWeb's pipeline takes: two
documents that share 80% of these are found with a probability of 92%, with 70% of 56%, with half of them of 5%.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from llamatune.data.digests import SeenDigests

BANDS, _HASHES, _WORDS = 14, 8, 5
COLUMNS = 1 + BANDS
"""Numbers in a signature: one for the whole text, and one for each band."""

NOTHING = 0
"""A number that stands for no band: of a document without words, or where near duplicates are not looked for."""

_ANY_WORD = re.compile(r"\w+")


def digest_of(text: str) -> int:
    """A number for a text; equal texts have the same one."""
    return _number(text.encode("utf-8", "surrogatepass"))


def _number(content: bytes) -> int:
    """Never NOTHING."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") | 1


class Signer:
    """Makes signatures; `near` also of bands, which needs datasketch."""

    def __init__(self, *, near: bool) -> None:
        self._first = None
        if near:
            from datasketch import MinHash

            self._first = MinHash(num_perm=BANDS * _HASHES, seed=1, scheme="affine32")

    def sign(self, text: str) -> list[int]:
        return [digest_of(text), *self._bands(text)]

    def _bands(self, text: str) -> list[int]:
        words = _ANY_WORD.findall(text.lower())
        if self._first is None or not words:
            return [NOTHING] * BANDS
        last = max(1, len(words) - _WORDS + 1)
        parts = {" ".join(words[start : start + _WORDS]).encode() for start in range(last)}
        made = self._first.copy()
        made.update_batch(sorted(parts))
        bands = made.hashvalues.astype("<u4").reshape(BANDS, _HASHES)
        return [_number(number.to_bytes(1, "big") + band.tobytes()) for number, band in enumerate(bands)]


class SeenNearly:
    """The documents that came so far, by the bands of their signatures; memory stays flat, see `SeenDigests`.

    Args:
        folder: where a file may be while this is open; it is removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._signer = Signer(near=True)
        self._seen = SeenDigests(folder, "bands")

    def __enter__(self) -> SeenNearly:
        return self

    def __exit__(self, *of_error: object) -> None:
        self._seen.__exit__(*of_error)

    def is_new(self, text: str) -> bool:
        """Whether no document before was nearly the same. Raises OSError: the file cannot be written."""
        bands = [band for band in self._signer.sign(text)[1:] if band != NOTHING]
        # All of them, also after the first that is known: a later document may be like this one in another.
        return all([self._seen.is_new(b"%016x" % band) for band in bands])
