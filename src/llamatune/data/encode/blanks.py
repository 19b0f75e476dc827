"""The blank that a tokenizer puts before a text, as SentencePiece does: before which texts, and how to do without it.

Measured with transformers 5.23 and tokenizers 0.23. Three parts of a fast tokenizer add it:

- a `Metaspace` pre-tokenizer, before each stretch of text between control tokens (`prepend_scheme: always`), or only
  where the whole text begins (`first`); not before a text that already begins with a blank;
- a `Prepend` normaliser, before each stretch, even one that begins with a blank;
- a `ByteLevel` pre-tokenizer with `add_prefix_space`, like `always`.

transformers 5 rebuilds the tokenizers of the Llama class, `always` where tokenizer_config.json says `legacy: true`
and `first` elsewhere, whatever tokenizer.json says; and it does not write `legacy` when it saves them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

PartState = dict[str, Any]

_PARTS = ("normalizer", "pre_tokenizer")


def blank_after_control_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let each text between control tokens begin with a blank, not only the first one of a sequence.

    This is what encoding part by part with SentencePiece gives, which Meta's code and that of the named templates'
    projects do: BOS is not text, so the text after it is a beginning.
    """
    _change(tokenizer.backend_tokenizer, _always)


def follow_tokenizer_file(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Put the blank where the folder's tokenizer.json puts it, if transformers put it elsewhere."""
    file = folder / "tokenizer.json"
    if not _has(tokenizer.backend_tokenizer, _is_first) or not file.is_file():
        return
    state = json.loads(file.read_text(encoding="utf-8"))
    stored = _tokenizer({name: state.get(name) for name in _PARTS})
    if _has(stored, _is_always):
        blank_after_control_tokens(tokenizer)


def without_blanks(backend: Tokenizer) -> Tokenizer | None:
    """A copy that puts no blank before any text; None if `backend` puts none, either."""
    from tokenizers import Tokenizer

    if not _has(backend, lambda part: _none(part) != part):
        return None
    copy = Tokenizer.from_str(backend.to_str())
    _change(copy, _none)
    copy.no_truncation()
    copy.no_padding()
    return copy


def _always(part: PartState) -> PartState | None:
    return {**part, "prepend_scheme": "always"} if _is_first(part) else part


def _none(part: PartState) -> PartState | None:
    if part["type"] == "Prepend":
        return None
    if part["type"] == "Metaspace":
        return {**part, "prepend_scheme": "never"}
    return {**part, "add_prefix_space": False} if part["type"] == "ByteLevel" else part


def _is_first(part: PartState) -> bool:
    return bool(part["type"] == "Metaspace" and part["prepend_scheme"] == "first")


def _is_always(part: PartState) -> bool:
    return bool(
        part["type"] == "Prepend" or (part["type"] == "Metaspace" and part["prepend_scheme"] == "always")
    )


def _change(backend: Tokenizer, change: Callable[[PartState], PartState | None]) -> None:
    """Replace each normaliser and pre-tokenizer by what `change` makes of it; None takes it out."""
    for name in _PARTS:
        state = _state(backend, name)
        changed = [new for part in state if (new := change(part)) is not None]
        if changed != state:
            setattr(backend, name, getattr(_tokenizer({name: _sequence(name, changed)}), name))


def _has(backend: Tokenizer, test: Callable[[PartState], bool]) -> bool:
    return any(test(part) for name in _PARTS for part in _state(backend, name))


def _state(backend: Tokenizer, name: str) -> list[PartState]:
    """A tokenizer's normalisers or pre-tokenizers one by one, as tokenizer.json writes them."""
    part = getattr(backend, name)
    return _flat(json.loads(part.__getstate__())) if part is not None else []


def _flat(state: PartState) -> list[PartState]:
    inner = state.get("normalizers", state.get("pretokenizers")) if state["type"] == "Sequence" else None
    return [state] if inner is None else [part for one in inner for part in _flat(one)]


def _sequence(name: str, parts: list[PartState]) -> PartState | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"type": "Sequence", name.replace("_", "") + "s": parts}


def _tokenizer(parts: dict[str, Any]) -> Tokenizer:
    """A tokenizer without a vocabulary that has these parts."""
    from tokenizers import Tokenizer

    empty: PartState = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {}, "unk_token": ""},
    }
    return Tokenizer.from_str(json.dumps(empty | parts))
