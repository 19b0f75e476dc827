"""How toxic a classifier of the user's finds a text: line by line, averaged over the document, as in the paper (4.1).

The paper takes a HateBERT fine-tuned on ToxiGen, and a sample of a tenth of the documents. None is shipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.data.clean.near import digest_of
from llamatune.errors import DataError, gate
from llamatune.models.heads import set_padding
from llamatune.outside import read_any_json
from llamatune.recipe.hashing import file_sha256

if TYPE_CHECKING:
    import torch

_BATCH = 32
_LONGEST = 512
_PATTERNS = ("config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt")


class ToxicityClassifier:
    """A sequence classifier in a local folder, of which one label means toxic.

    Args:
        share: of the documents that are looked at, chosen by their text.

    Raises:
        DataError: E180, no classifier, or it is not known which label means toxic.
    """

    def __init__(self, folder: Path, *, share: float = 0.1, label: str | None = None) -> None:
        self.folder, self.share = folder, share
        self.at = _toxic_label(folder, label)
        self._loaded: Any = None

    @property
    def digest(self) -> str:
        """Changes with the classifier's files and with what is asked of it."""
        files = sorted({file for pattern in _PATTERNS for file in self.folder.glob(pattern)})
        content = [*(file_sha256(file) for file in files), str(self.at), str(self.share)]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def looks_at(self, text: str) -> bool:
        return digest_of(text) < self.share * 2**64

    def scores(self, text: str) -> float | None:
        """The mean probability of its lines to be toxic; None for a text without lines."""
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            return None
        return sum(self._of_lines(lines)) / len(lines)

    def _of_lines(self, lines: Sequence[str]) -> list[float]:
        import torch

        tokenizer, model = self._open()
        found: list[float] = []
        for start in range(0, len(lines), _BATCH):
            batch = tokenizer(
                list(lines[start : start + _BATCH]),
                truncation=True,
                max_length=_LONGEST,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits: torch.Tensor = model(**batch.to(model.device)).logits.float()
            chances = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)
            found += chances[:, self.at].tolist()
        return found

    def _open(self) -> Any:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

            with gate(DataError, "E180", "the classifier cannot be loaded", place=str(self.folder)):
                tokenizer = AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True)
                model = AutoModelForSequenceClassification.from_pretrained(
                    str(self.folder), local_files_only=True, use_safetensors=True, dtype=torch.float32
                )
                # A classifier that reads the last token has to know which ones are padding.
                set_padding(model, tokenizer.pad_token_id)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._loaded = (tokenizer, model.eval().to(device))
        return self._loaded


def _toxic_label(folder: Path, wanted: str | None) -> int:
    """The number of the label that means toxic: the one that is named, or the only one that says so."""
    try:
        config = read_any_json(folder / "config.json")
        labels = {str(name).lower(): int(at) for at, name in config["id2label"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise DataError(
            "E180",
            "not the folder of a classifier: its config.json names no labels",
            place=str(folder),
            hint="name a folder with config.json, model.safetensors and a tokenizer",
        ) from None
    if wanted is not None and wanted.lower() in labels:
        return labels[wanted.lower()]
    named = [at for name, at in labels.items() if name in ("toxic", "toxicity", "hate", "hateful", "unsafe")]
    if wanted is None and len(named) == 1:
        return named[0]
    raise DataError(
        "E180",
        f"the classifier has no label `{wanted}`" if wanted else "it is not known which label means toxic",
        place=str(folder),
        hint=f"`--toxic-label NAME`; its labels: {', '.join(labels)}",
    )
