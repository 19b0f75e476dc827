"""Questions whose answer is words in an order: lists put in order, phrases that are changed."""

from __future__ import annotations

from collections.abc import Sequence

from ..frames import items_of
from ..lexicon import NOUNS, OPPOSITES, PLACES, USERS, VERBS, words
from ..stance import Spoken, Stance, words_written_out
from ..task import WorldTask
from .evidence import Evidence, Meant, mentions, put_forward, without_echo


def of_order(task: WorldTask, spoken: Spoken) -> Evidence:
    """All words of a list in their order, once, and no others; first the list of the question may be said again."""
    asked = items_of(dict(task.slots)["items"])
    wanted = list(task.keys)
    meant = spoken.meant if asked == wanted else without_echo(spoken.meant, " ".join(asked))
    meant = [(word, stance) for word, stance in meant if word in NOUNS]
    listed = [(word, stance) for word, stance in meant if stance < Stance.DENIED]
    items = [word for word, _ in listed]
    denied: list[Stance] = [stance for word, stance in meant if word in wanted and stance == Stance.DENIED]
    stances: list[Stance] = [max((stance for _, stance in listed), default=Stance.ASKED)]
    if items == wanted or items == wanted * 2:
        return Evidence(stances + denied)
    if _runs(items, wanted):
        return Evidence(stances + denied, beside=1)
    started = set(wanted) <= set(items) and _runs(items, wanted[:2])
    return Evidence([], half=started and not denied)


def _runs(said: Sequence[str], part: Sequence[str]) -> bool:
    """Whether `part` is in `said`, unbroken."""
    return any(list(said[place : place + len(part)]) == list(part) for place in range(len(said)))


_PLURALS = frozenset(NOUNS.values())
_DEEDS = frozenset((*VERBS, *VERBS.values(), "was"))


def of_phrase(task: WorldTask, spoken: Spoken) -> Evidence:
    """A changed phrase, and no other of its kind."""
    meant = without_echo(spoken.meant, dict(task.slots)["phrase"])
    wanted = list(task.keys[1:] if task.keys[0] == "the" else task.keys)
    right = mentions(_not_asked_about(meant), " ".join(wanted))
    said = [word if put_forward([stance]) else "" for word, stance in meant]
    others = (
        _other_sentences(said, wanted) if wanted[0].capitalize() in USERS else _other_phrases(said, wanted)
    )
    left = _outside(said, wanted)
    again = set(wanted) <= left
    known = {*wanted, *words_written_out(dict(task.slots)["phrase"])}
    strange = {word for word in left - known if word in NOUNS or word in _PLURALS}
    return Evidence(right, len(others) + len(strange) + again)


_ASKED_ABOUT = frozenset(words("opposite plural past contrary antonym reverse"))


def _not_asked_about(meant: Meant) -> Meant:
    """The words but for those of which something is asked or said: `the opposite of the cold bed`."""
    said = [word for word, _ in meant]
    return [
        (word, stance)
        if not (
            _ASKED_ABOUT & set(said[max(0, place - 4) : place]) and "of" in said[max(0, place - 3) : place]
        )
        else ("", stance)
        for place, (word, stance) in enumerate(meant)
    ]


def _outside(said: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """The words that are said apart from the unbroken phrase."""
    left: set[str] = set()
    place = 0
    while place < len(said):
        if list(said[place : place + len(wanted)]) == list(wanted):
            place += len(wanted)
        else:
            left.add(said[place])
            place += 1
    return left


def _other_phrases(said: Sequence[str], wanted: Sequence[str]) -> set[tuple[str, str]]:
    """Things that are called something: `cold bed`, and after `the` also what is no word."""
    return {
        (quality, thing)
        for before, quality, thing in zip(["", *said], said, said[1:], strict=False)
        if quality in OPPOSITES
        and [quality, thing] != wanted
        and (thing in NOUNS or thing in _PLURALS or thing and before == "the")
    }


def _other_sentences(said: Sequence[str], wanted: Sequence[str]) -> set[tuple[str, str]]:
    """People who do something, and places where it is done."""
    deeds = {
        (name, deed)
        for name, deed in zip(said, said[1:], strict=False)
        if name.capitalize() in USERS and deed in _DEEDS and [name, deed] != wanted[:2]
    }
    places = {("", place) for place in PLACES if place in " ".join(said) and place not in " ".join(wanted)}
    return deeds | places
