"""How toxic a classifier of the user's finds a text: line by line, averaged over the document, as in the paper (4.1).

The paper takes a HateBERT fine-tuned on ToxiGen, and a sample of a tenth of the documents. None is shipped.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from llamatune.data.clean.near import digest_of
from llamatune.judging.evaluation.classifier import TextClassifier


class DocumentToxicity:
    """A text's mean over its lines of how probably each is toxic.

    Args:
        share: of the documents that are looked at, chosen by their text.
        label: the classifier's label for toxic; when left out, the only one whose name says so.

    Raises:
        ModelError: what `TextClassifier` raises.
    """

    def __init__(self, folder: Path, *, share: float = 0.1, label: str | None = None) -> None:
        self.share, self.classifier = share, TextClassifier(folder, label)

    @property
    def digest(self) -> str:
        """Changes with the classifier's files and with what is asked of it."""
        return hashlib.sha256(f"{self.classifier.digest}\n{self.share}".encode()).hexdigest()

    def looks_at(self, text: str) -> bool:
        return digest_of(text) < self.share * 2**64

    def scores(self, text: str) -> float | None:
        """The mean probability of its lines to be toxic; None for a text without lines."""
        lines = [line for line in text.splitlines() if line.strip()]
        return sum(self.classifier.chances(lines)) / len(lines) if lines else None
