"""Lists that the policy writes for Ghost Attention, as the paper's model wrote those of hobbies (section 3.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llamatune.errors import DataError
from llamatune.recipe.stages.gatt import GhostAttention
from llamatune.sampling.dialogues import prompt_row
from llamatune.sampling.opening import Asking

_LISTS = 8
"""How many answers a list of values is gathered from."""
_MARK = re.compile(r"\s*(?:[-*\u2022\u2013]|\(?\d{1,3}[.):])\s+")
_COMMAS = re.compile(r", and |, | and ", re.IGNORECASE)
_AROUND = " \t.,;:!*_`\"'\u201c\u201d"
_MOST_WORDS = 6
"""What has more words is a sentence, and no value."""


def written_lists(ghost: GhostAttention, asking: Asking) -> dict[str, list[str]]:
    """The values of each kind for which the model writes them, from several answers of it.

    Raises:
        DataError: E148, the answers name nothing.
        ModelError, StoppedEarly, OutOfMemoryError: as `Asking.sample`.
    """
    if ghost.constraints == "world":
        return {}
    asked = {kind: one.written_for for kind, one in ghost.constraints.items() if one.written_for}
    found = {}
    for kind, question in asked.items():
        prompt = prompt_row(asking.chat, [{"role": "user", "content": question}])
        [(_, answers)] = asking.sample(
            [prompt], k=_LISTS, temperature=asking.recipe.sampling.temperature, what=f"values of {kind}"
        )
        values = values_in([one.text for one in answers if one.ended])
        found[kind] = [value for value in values if value not in ghost.held_out]
        if not found[kind]:
            raise _no_value(kind, question, answers[0].text)
    return found


def values_in(replies: Sequence[str]) -> list[str]:
    """What lists that a model wrote name, nothing twice, in the order of the replies.

    Where some of a reply's lines are marked (`-`, `1.`), the others are not part of its list; a single line is parted
    at its commas.
    """
    found: dict[str, str] = {}
    for reply in replies:
        for item in _items(reply):
            value = item.strip(_AROUND)
            if value and len(value.split()) <= _MOST_WORDS and "{}" not in value:
                found.setdefault(value.casefold(), value)
    return list(found.values())


def _items(reply: str) -> Iterator[str]:
    lines = [line for line in reply.splitlines() if line.strip()]
    marked = [line[mark.end() :] for line in lines if (mark := _MARK.match(line))]
    if marked:
        # "1. Chess: a game of two"
        yield from (re.split(r": | [-\u2013\u2014] |\*\*:", line)[0] for line in marked)
    elif len(lines) == 1:
        parts = _COMMAS.split(lines[0].rpartition(": ")[2])
        # One of many words: no list, but a sentence with commas.
        yield from parts if all(len(part.split()) <= _MOST_WORDS for part in parts) else ()
    else:
        yield from (line for line in lines if not line.rstrip().endswith(":"))


def _no_value(kind: str, question: str, answer: str) -> DataError:
    return DataError(
        "E148",
        f"of {_LISTS} answers to {question!r:.80}, none has a value for `{kind}`: {answer[:200]!r}",
        place=f"gatt.constraints.{kind}.written_for",
        why="a value is one to six words, in a list that came to its end; the answers are kept",
        hint="ask for few values, one a line, raise `sampling.max_new_tokens`, or give `values` yourself",
    )
