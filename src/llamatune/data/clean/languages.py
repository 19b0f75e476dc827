"""In which language a text is: py3langid, whose model comes with it, or a fastText model of the user's.

The paper takes fastText's language identification at a threshold of 0.5; what is below is `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from llamatune.errors import DataError

UNKNOWN = "unknown"
_SURE = 0.5
_READ = 4000
"""Characters of a text that are looked at: more would not change the answer, and take time."""

_CODE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def language_identifier(model: Path | None) -> Callable[[str], str]:
    """A function that says the language of a text, as a code such as `en`, or `unknown`.

    Args:
        model: a fastText model, such as lid.176.bin; py3langid's own model when None.

    Raises:
        DataError: E180, no such model, or one whose labels are not languages.
    """
    tell = _of_langid() if model is None else _of_fasttext(model)

    def language(text: str) -> str:
        line = " ".join(text[:_READ].split())
        if not line:
            return UNKNOWN
        code, confidence = tell(line)
        return code if confidence >= _SURE else UNKNOWN

    return language


def _of_langid() -> Callable[[str], tuple[str, float]]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def tell(line: str) -> tuple[str, float]:
        code, confidence = identifier.classify(line)
        return str(code), float(confidence)

    return tell


def _of_fasttext(model: Path) -> Callable[[str], tuple[str, float]]:
    import fasttext

    try:
        loaded = fasttext.load_model(str(model))
    except ValueError as error:
        raise DataError("E180", f"no fastText model: {error}", place=str(model)) from None

    def tell(line: str) -> tuple[str, float]:
        # The binding's own `predict` does not work with numpy 2.
        found = loaded.f.predict(line + "\n", 1, 0.0, "strict")
        confidence, label = found[0] if found else (0.0, UNKNOWN)
        code = label.removeprefix("__label__")
        if not _CODE.fullmatch(code):
            raise DataError("E180", f"its label {label!a} is not a language", place=str(model))
        return code, float(confidence)

    return tell
