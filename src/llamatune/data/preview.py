"""Show encoded rows as a person reads them: the text, with the trained tokens marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from llamatune.data.rows import IGNORED, RATINGS, Encoded, Pair
from llamatune.shown import printable
from llamatune.wording import counted

_GREEN, _RESET = "\x1b[32m", "\x1b[0m"
_OPEN, _CLOSE = "⟦", "⟧"


def preview(rows: Iterable[Encoded], decode: Callable[[list[int]], str], *, colour: bool) -> str:
    """Rows decoded, trained tokens in green or between ⟦ and ⟧. Special tokens are shown, and control characters
    by their numbers.

    Neighbouring tokens of one kind are decoded together, so that the text reads as it was written. Brackets of the same
    shape in the text itself are doubled. Of a pair, the prompt is shown once, then both replies, with the token marked
    at which each is scored.
    """
    return "\n\n".join(
        f"row {number}: {_about(row)}\n{marked(row, decode, colour=colour)}"
        for number, row in enumerate(rows, 1)
    )


def _about(row: Encoded) -> str:
    if row.pair is not None:
        text = _about_pair(row.pair)
    elif row.prompt is not None:
        text = f"{_about_prompt(row.is_safety)}, {counted(len(row.input_ids), 'token')}"
    else:
        text = f"{counted(len(row.input_ids), 'token')}, {row.trained} trained"
    if row.truncated:
        text += "; cut to fit max_length"
    if row.altered:
        text += f"; the chat template leaves out or rewrites text of {counted(row.altered, 'message')}"
    return text


def _about_prompt(is_safety: bool) -> str:
    return "safety prompt" if is_safety else "prompt"


def _about_pair(pair: Pair) -> str:
    text = f"prompt {counted(pair.prompt, 'token')}, chosen {pair.chosen}, rejected {pair.rejected}"
    if pair.rating >= 0:
        text += f"; {RATINGS[pair.rating]}"
    known = {1: "safe", 0: "unsafe"}
    labels = (("chosen", pair.chosen_safe), ("rejected", pair.rejected_safe))
    return "; ".join([text, *(f"{side} {known[label]}" for side, label in labels if label in known)])


def shown_row(row: Mapping[str, Any], decode: Callable[[list[int]], str]) -> dict[str, Any]:
    """A row of the training set as preview.json holds it: where it is from, what is known of it, and its `spans`;
    those of a pair by part."""
    ids, labels = row["input_ids"], row["labels"]
    shown: dict[str, Any] = {"place": row["place"]}
    if "pair" in row:
        pair = Pair(*row["pair"])
        shown["about"] = _about_pair(pair)
        for name, part in zip(("prompt", "chosen", "rejected"), pair.parts, strict=True):
            shown[name] = spans(ids[part], labels[part], decode)
        return shown
    if "score" in row:
        shown["about"] = f"score {row['score']:.4g}"
    if "prompt" in row:
        shown["about"] = _about_prompt(row["is_safety"])
    return shown | {"tokens": spans(ids, labels, decode)}


def marked(row: Encoded, decode: Callable[[list[int]], str], *, colour: bool) -> str:
    """One row's text with its trained tokens marked."""
    if row.pair is None:
        return _marked(row.input_ids, row.labels, decode, colour=colour)
    heads = ("", "\nchosen:", "\nrejected:")
    return "".join(
        head + _marked(row.input_ids[part], row.labels[part], decode, colour=colour)
        for head, part in zip(heads, row.pair.parts, strict=True)
    )


def _marked(
    input_ids: Sequence[int],
    labels: Sequence[int],
    decode: Callable[[list[int]], str],
    *,
    colour: bool,
) -> str:
    pieces = []
    for text, trained in spans(input_ids, labels, decode):
        if colour:
            pieces.append(f"{_GREEN}{text}{_RESET}" if trained else text)
        else:
            text = text.replace(_OPEN, _OPEN * 2).replace(_CLOSE, _CLOSE * 2)
            pieces.append(f"{_OPEN}{text}{_CLOSE}" if trained else text)
    return "".join(pieces)


def spans(
    input_ids: Sequence[int], labels: Sequence[int], decode: Callable[[list[int]], str]
) -> list[tuple[str, bool]]:
    """The text of a row in pieces, each with whether its tokens are trained; see `printable`."""
    pairs = zip(input_ids, labels, strict=True)
    return [
        (printable(decode([token for token, _ in span])), trained)
        for trained, span in groupby(pairs, key=lambda pair: pair[1] != IGNORED)
    ]
