"""How probably a text has a label, by a sequence classifier of the user's: toxic texts, above all.

The paper takes classifiers tuned on ToxiGen: a HateBERT for its pre-training data (section 4.1), a RoBERTa for what its
models say (A.4.8). None is shipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.errors import ModelError, gate
from llamatune.models.files.gates import check_config_values
from llamatune.models.files.settings import read_model_json
from llamatune.models.files.weights import check_weights
from llamatune.models.quiet import quiet_upstream
from llamatune.outside import is_file
from llamatune.recipe.hashing import file_sha256

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_FILES = ("config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt", "special_tokens*")
"""What decides what it says."""
_AT_ONCE = 32
_LONGEST = 512
"""Tokens; what comes after them is not read."""
_TOXIC = ("toxic", "toxicity", "hate", "hateful", "unsafe")


class TextClassifier:
    """A sequence classifier in a local folder, and one of its labels. It is loaded when it is first asked.

    Args:
        folder: config.json, weights as safetensors, and a tokenizer.
        label: the name of the label; when left out, the only one whose name means toxic.

    Raises:
        ModelError: E242, no such classifier, or it is not known which label is meant; E202, E204, E207, E256: files
            that are broken or pickled.
    """

    def __init__(self, folder: Path, label: str | None = None) -> None:
        self.folder = folder
        self.at = _label_in(folder, label)
        check_weights(folder)
        self._loaded: tuple[PreTrainedTokenizerBase, PreTrainedModel] | None = None

    @property
    def digest(self) -> str:
        """Changes with the classifier's files and with the label."""
        files = sorted({file for pattern in _FILES for file in self.folder.glob(pattern)})
        content = [*(file_sha256(file) for file in files), str(self.at)]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def chances(self, texts: Sequence[str]) -> list[float]:
        """How probably each text, none of them empty, has the label; the end of one that is too long is not read."""
        import torch

        found: list[float] = []
        for start in range(0, len(texts), _AT_ONCE):
            tokenizer, model = self._open()
            batch = tokenizer(
                list(texts[start : start + _AT_ONCE]),
                truncation=True,
                max_length=_room(tokenizer, model),
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits: torch.Tensor = model(**batch.to(model.device)).logits.float()
            apart = logits.shape[1] == 1 or model.config.problem_type == "multi_label_classification"
            found += (logits.sigmoid() if apart else logits.softmax(dim=1))[:, self.at].tolist()
        return found

    def _open(self) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
        if self._loaded is None:
            place = str(self.folder)
            with quiet_upstream(), gate(ModelError, "E242", "the classifier cannot be loaded", place=place):
                self._loaded = _load(self.folder)
        return self._loaded


def _load(folder: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from llamatune.models.heads import set_padding

    from_here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(str(folder), **from_here)
    model, loaded = AutoModelForSequenceClassification.from_pretrained(
        str(folder), use_safetensors=True, dtype=torch.float32, output_loading_info=True, **from_here
    )
    if missing := sorted(loaded["missing_keys"]):
        raise ModelError(
            "E242",
            f"weights of the classifier are in no file, `{missing[0]}` first",
            place=str(folder),
            why="transformers would draw them at random, and its word would be a coin's",
            hint="name a folder whose model was trained to classify, not that of its base",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    # A classifier that reads the last token has to know which ones are padding.
    set_padding(model, tokenizer.pad_token_id)
    return tokenizer, model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _room(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    """Most tokens of a text."""
    positions = getattr(model.config, "max_position_embeddings", None) or _LONGEST + 2
    # RoBERTa's positions begin after that of its padding.
    return min(_LONGEST, int(tokenizer.model_max_length), positions - 2)


def _label_in(folder: Path, wanted: str | None) -> int:
    """The number of the label that is named, or of the only one that means toxic."""
    if not is_file(folder / "config.json"):
        raise ModelError("E242", "there is no config.json in this folder", place=str(folder))
    labels = _labels(folder)
    if wanted is not None and wanted.lower() in labels:
        return labels[wanted.lower()]
    toxic = [at for name, at in labels.items() if name in _TOXIC]
    if wanted is None and len(toxic) == 1:
        return toxic[0]
    raise ModelError(
        "E242",
        f"the classifier has no label `{wanted}`" if wanted else "it is not known which label means toxic",
        place=str(folder),
        hint=f"`toxic_label` (of analyse: `--toxic-label`) names it; its labels: {', '.join(labels)}",
    )


def _labels(folder: Path) -> dict[str, int]:
    """Name in lower case -> number. Those of two labels without names are not in config.json."""
    config = read_model_json(folder / "config.json")
    check_config_values(config, folder / "config.json")
    if not any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ()):
        raise ModelError(
            "E242",
            "not the folder of a classifier: its config.json names no architecture `...ForSequenceClassification`",
            place=str(folder),
        )
    named = config.get("id2label") or {"0": "label_0", "1": "label_1"}
    with gate(ModelError, "E242", "`id2label` of config.json holds no labels", place=str(folder)):
        return {str(name).lower(): int(at) for at, name in named.items()}
