"""Look at every row of a source, in parts that are kept: what was looked at once is not looked at again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.analysis.personal import personal_data_in
from llamatune.analysis.tally import Tally
from llamatune.analysis.terms import GENDERED, PERSONS, TermFinder, lower_words, pronouns_in
from llamatune.analysis.toxicity import DocumentToxicity
from llamatune.data.clean.near import NOTHING, Signer, digest_of
from llamatune.data.contamination.skipgrams import Skipgrams
from llamatune.data.read.sources import OpenSource
from llamatune.data.rows import Conversation, Document, Message, Preference, Prompt, Row, RowRejected
from llamatune.errors import DataError, LlamatuneError
from llamatune.runs.shards import Part, Record, Say, Shards
from llamatune.runs.signals import StopRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VERSION = 2
"""Part of the key of what is kept: raise it when the same rows would be counted differently."""

PART_ROWS = 2000
_PLACES = 3
"""How many places are noted of a part for each kind of finding."""

ENGLISH = "en"


@dataclass(frozen=True)
class Means:
    """What is looked at, and with what; a part that is None is not run."""

    finder: TermFinder
    language: Callable[[str], str] | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    toxicity: DocumentToxicity | None = None
    near: bool = True
    benchmark: Sequence[Sequence[int]] = ()
    """Token ids of the rows of a benchmark, which are looked for in the texts."""


class Looking:
    """The rows of a source, counted in parts.

    Args:
        folder: keeps the parts.
        key: everything that decides what is counted, but for the source.
    """

    def __init__(self, source: OpenSource, means: Means, folder: Path, key: dict[str, Any]) -> None:
        self.source, self.means = source, means
        rows = source.survey.count
        self.parts = [Part(f"{start:09d}", 1) for start in range(0, rows, PART_ROWS)]
        self._shards = Shards(folder, {"version": VERSION, "rows": source.fingerprint, **key})
        self._signer = Signer(near=means.near)
        self._reading: Iterator[tuple[str, dict[str, Any]]] | None = None
        self._at = 0
        self._unread: list[DataError] = []

    def make(self, *, stop: StopRequest, say: Say, done: Callable[[int, int], None]) -> None:
        """Count what is missing. Raises what `Shards.make` raises, and what reading the files raises."""
        self._shards.make(self.parts, self._count, stop=stop, say=say, done=done)

    def records(self) -> Iterator[dict[str, Any]]:
        """`counts`, `signatures`, `judgements` and `places` of each part, in order."""
        return self._shards.read(self.parts)

    def _rows(self, start: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows from that number on: from where reading is, or from the beginning."""
        if self._reading is None or self._at > start:
            self._reading, self._at = iter(self.source.rows(self._unread.append)), 0
        skipped = sum(1 for _ in islice(self._reading, start - self._at))
        self._at += skipped
        self._unread.clear()
        return self._reading

    def _count(self, part: Part) -> Iterator[Record]:
        tally, found = Tally(), _Found()
        texts: list[str] = []
        # The last part hears of all lines that are no rows, also of those at the end.
        most = None if part == self.parts[-1] else PART_ROWS
        for place, raw in islice(self._rows(int(part.name)), most):
            self._at += 1
            tally.add("rows", "read")
            try:
                row = self.source.canonical(raw, place)
            except RowRejected as rejected:
                tally.add("left out", rejected.reason.value)
                continue
            except LlamatuneError as error:
                _bad(error, tally, found)
                continue
            text = said_in(row)
            texts.append(text)
            self._look(text, place, tally, found)
            _look_at_turns(row, tally, found)
        for unread in self._unread:
            tally.add("rows", "read")
            _bad(unread, tally, found)
        self._unread.clear()
        seen = Skipgrams(self.means.benchmark)
        for tokens in self._tokens(texts):
            tally.add_length("tokens", len(tokens))
            if self.means.benchmark:
                seen.read(tokens)
        yield {"counts": tally.to_json(), **vars(found), "of_benchmark": list(seen.found().items())}

    def _look(self, text: str, place: str, tally: Tally, found: _Found) -> None:
        means = self.means
        tally.add("rows", "looked at")
        tally.add("totals", "bytes", len(text.encode("utf-8", "surrogatepass")))
        words = lower_words(text)
        tally.add_length("words", len(words))
        tally.add_length("characters", len(text))
        language = means.language(text) if means.language else ENGLISH
        tally.add("languages", language)
        if language == ENGLISH:
            tally.add("rows", "english")
            _look_at_people(words, means.finder, tally)
        for kind, number in personal_data_in(text).items():
            tally.add("personal: documents", kind)
            tally.add("personal: number", kind, number)
            found.note(kind, place)
        if means.toxicity is not None and means.toxicity.looks_at(text):
            score = means.toxicity.scores(text)
            if score is not None:
                tally.add("toxicity", f"{min(int(score * 20), 19)}")
        found.signatures.append([f"{one:x}" for one in self._signer.sign(text)])
        found.places.append(place)

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Of each text, without what a chat template or a document's ends add."""
        if self.means.tokenizer is None or not texts:
            return []
        return tokens_of(self.means.tokenizer, texts)


class _Found:
    """What is kept of single rows: signatures, judgements, and where something is."""

    def __init__(self) -> None:
        self.signatures: list[list[str]] = []
        self.judgements: list[str] = []
        self.places: list[str] = []
        self.noted: dict[str, list[str]] = {}

    def note(self, kind: str, place: str) -> None:
        places = self.noted.setdefault(kind, [])
        if len(places) < _PLACES:
            places.append(place)


def tokens_of(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Of each text, without what a chat template or a document's ends add."""
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return found


def said_in(row: Row) -> str:
    """All that is said in a row: a prompt once, then both replies."""
    if isinstance(row, Document):
        return row.text
    return "\n".join(_said(message) for message in _messages(row))


def _messages(row: Row) -> Sequence[Message]:
    assert not isinstance(row, Document)
    return (*row.prompt, *row.chosen, *row.rejected) if isinstance(row, Preference) else row.messages


def _said(message: Message) -> str:
    return message.content if message.input is None else f"{message.content}\n{message.input}"


def _bad(error: LlamatuneError, tally: Tally, found: _Found) -> None:
    problem = error.problems[0]
    tally.add("bad rows", problem.code)
    found.note("bad rows", f"{problem.place}: {problem.what}")


def _look_at_people(words: Sequence[str], finder: TermFinder, tally: Tally) -> None:
    groups = pronouns_in(words)
    for group in groups:
        tally.add("pronouns", group)
    tally.add("pronouns", "gendered", any(group in GENDERED for group in groups))
    tally.add("pronouns", "any person", any(group in PERSONS for group in groups))
    terms = finder.find(words)
    for axis in {axis for axis, _ in terms}:
        tally.add("identity", axis)
    for axis, term in terms:
        tally.add(f"identity: {axis}", term)


def _look_at_turns(row: Row, tally: Tally, found: _Found) -> None:
    if isinstance(row, (Conversation, Prompt)):
        tally.add_length("turns", sum(message.role == "user" for message in row.messages))
        tally.add("system messages", str(any(message.role == "system" for message in row.messages)))
        for message in row.messages:
            if message.role != "system":
                tally.add_length(f"words of {message.role} turns", len(lower_words(_said(message))))
        found.judgements.append(f"{NOTHING:x}")
    elif isinstance(row, Preference):
        tally.add_length("turns", sum(message.role == "user" for message in row.prompt))
        _look_at_pair(row, tally)
        found.judgements.append(f"{_judgement(row):x}")
    else:
        found.judgements.append(f"{NOTHING:x}")


def _look_at_pair(row: Preference, tally: Tally) -> None:
    sides = [
        sum(len(lower_words(message.content)) for message in side) for side in (row.chosen, row.rejected)
    ]
    for name, length in zip(("chosen", "rejected"), sides, strict=True):
        tally.add_length(f"words of {name} replies", length)
    difference = sides[0] - sides[1]
    tally.add("longer reply", "chosen" if difference > 0 else "rejected" if difference < 0 else "neither")
    tally.add("words more in the chosen", str(max(-200, min(200, round(difference / 20) * 20))))
    tally.add("ratings", row.rating or "unrated")
    tally.add("safety", _bin(row))


def _bin(row: Preference) -> str:
    if row.chosen_safe is None or row.rejected_safe is None:
        return "unlabelled"
    if row.chosen_safe == row.rejected_safe:
        return "both_safe" if row.chosen_safe else "both_unsafe"
    return "chosen_safe" if row.chosen_safe else "rejected_safe"


def _judgement(row: Preference) -> int:
    """Even or odd by which of two replies is the chosen one, and otherwise a number of the prompt and the two."""
    prompt, *sides = (
        "\0".join(f"{message.role}\0{_said(message)}" for message in part)
        for part in (row.prompt, row.chosen, row.rejected)
    )
    both = digest_of("\0\0".join([prompt, *sorted(sides)]))
    return (both | 1) ^ (sides[0] <= sides[1])
