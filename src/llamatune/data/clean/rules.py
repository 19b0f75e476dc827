"""Rules about single documents, of the kinds that Gopher's and C4's pipelines have (arXiv 2112.11446, appendix A).

Each is off unless the recipe names its limit. The Llama 2 paper cleans its data and does not say how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version

from llamatune.data.clean.languages import language_identifier
from llamatune.data.rows import Document, Encoded, Encoder, Reason, Row, RowRejected
from llamatune.recipe.stages.pretrain import Clean


class CleanEncoder:
    """An `Encoder` of those documents that the rules keep."""

    def __init__(self, inner: Encoder, clean: Clean) -> None:
        self.inner, self.clean = inner, clean
        self._language: Callable[[str], str] | None = None
        state = f"{inner.fingerprint} {clean.model_dump_json()}"
        if clean.languages:
            self._language = language_identifier(None)
            state += version("py3langid")
        self.fingerprint = hashlib.sha256(state.encode()).hexdigest()

    def encode(self, row: Row) -> Iterator[Encoded]:
        """The document's training sequences. Raises RowRejected: a rule leaves it out."""
        assert isinstance(row, Document)
        reason = self.reason_against(row.text)
        if reason is not None:
            raise RowRejected(reason, 0)
        return self.inner.encode(row)

    def reason_against(self, text: str) -> Reason | None:
        """The first rule that the text breaks."""
        clean, words = self.clean, text.split()
        if len(words) < clean.min_words:
            return Reason.FEW_WORDS
        if clean.max_words is not None and len(words) > clean.max_words:
            return Reason.MANY_WORDS
        if _share_with_letters(words) < clean.min_letters:
            return Reason.FEW_LETTERS
        if _share_repeated(text) > clean.max_repeated_lines:
            return Reason.REPEATED_LINES
        if self._language is not None and self._language(text) not in clean.languages:
            return Reason.OTHER_LANGUAGE
        return None


def _share_with_letters(words: list[str]) -> float:
    return sum(any(map(str.isalpha, word)) for word in words) / len(words) if words else 0.0


def _share_repeated(text: str) -> float:
    """Of the lines that are not blank, how many have been there before."""
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0
