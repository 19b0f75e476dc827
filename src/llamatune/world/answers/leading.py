"""What comes right before an answer and right after it, where that decides what is said of it.

`She lives in Foxley` leads to the answer; `a hen house`, `Foxley is nice` and `the friend of Foxley` make something
else of it.
"""

from __future__ import annotations

from ..lexicon import words
from ..stance import Clause, is_number
from ..task import WorldTask
from .forms import ABOUT_SOMETHING, HER, HIM
from .manners import MANNERS, Manner, manner_of
from .plain_words import COMPANY, QUALITIES
from .told import words_answering, words_in

_SKIPPED = frozenset(
    words(
        """
    you us
    a an the its her his your their my very good nice famous really certainly simply just only always still
    indeed now called exactly so surely definitely actually clearly
        """
    )
)
"""What may stand between an answer and the word that leads to it."""
_LEADS = frozenset(
    words(
        """is are be answer say said says think believe know yes that sure well easy note reads right me to"""
    )
)
_IS = frozenset(words("is are be"))
_NOT_AFTER = frozenset(
    words(
        """house home town pet animal job food colour building people market day name price owner dinner meal dish
        door work person"""
    )
)
"""Nouns that make another thing of an answer right before them: `a hen house`."""
_OF_IT = frozenset(words("is are has have looks sounds seems"))
_DEEDS = frozenset(words("works lives sells keeps likes loves wants eats wears visits serves"))
_LINKS = frozenset(
    words(
        """
    it that this these there where who which he she his her him they answer right correct pay need home house
    lives live resides job profession work works pet animal favourite food colour likes loves market day held
    costs cost price box sold made does got
        """
    )
)


_OF = frozenset(
    words(
        """lot middle heart centre owner proud total list sum answer fan job work piece fond enough care that town
        name lots plenty consists up"""
    )
)
"""What leads to an answer together with `of`."""


_WHO_IS = {
    "home": frozenset(words("resident inhabitant citizen local native man woman girl boy")),
    "pet": frozenset(words("owner keeper")),
    "food": frozenset(words("lover fan eater enthusiast")),
    "colour": frozenset(words("lover fan enthusiast")),
}
"""What somebody is called after the answer."""
_TWO_LEADING = frozenset(
    (
        *(
            "goes for",
            "go for",
            "deals in",
            "deal in",
            "dresses in",
            "dressed in",
            "look at",
            "ends on",
            "ends in",
        ),
        *("comes to", "amounts to", "leads to", "changes to", "turns to"),
    )
)
"""What leads to an answer with both its words."""
HELD = frozenset(words("market open opens held stalls takes happens it there buy sell shop goods trade meet"))
"""What happens on a market day."""


def is_led_to(clause: Clause, task: WorldTask, manner: Manner) -> bool:
    """Whether what comes right before the answer, and right after it, goes with the question."""
    found = [
        _leads(clause.words, place, task, manner)
        for place, word in enumerate(clause.words)
        if word in words_answering(task)
    ]
    return any(found) if is_number(task.keys[0]) else all(found)


def _leads(said: tuple[str, ...], place: int, task: WorldTask, manner: Manner) -> bool:
    if said[place + 1 : place + 2] and said[place + 1] in _WHO_IS.get(manner_of(task), ()):
        # `she is a Foxley resident`, `a proud pony owner`
        return not {"is", "am", "are"}.isdisjoint(said[:place])
    if place + 1 < len(said) and (
        said[place + 1] == dict(task.slots).get("thing")
        or said[place + 1] in _NOT_AFTER
        or said[place + 1] in COMPANY - manner.words
        or _is_quality(said[place + 1])
    ):
        return False
    if task.kind in ABOUT_SOMETHING and _says_something_else(said[place + 1 :], task):
        return False
    before = [word for word in said[:place] if word not in _SKIPPED | QUALITIES or word == "fond"]
    if before[-2:-1] and before[-1] == "of" and before[-2] in _OF:
        return before[-2] != "enough" or "get" in before
    if not before or before[-1] == "for" and before[-2:-1] == ["spot"]:
        return True
    if " ".join(before[-2:]) in _TWO_LEADING:
        return True
    lead = before[-1]
    if lead not in _LEADS | manner.leads:
        return False
    if lead not in _IS or len(before) < 2:
        return True
    of_whom = (
        "of" in before[-3:-2] or "for" in before[-3:-2] or before[-4:-3] == ["day"] and before[-3] == "in"
    )
    if task.kind in ("fact", "follow-up"):
        names = {dict(task.slots).get("name", "").lower(), "he", "she", "they"}
        return manner is MANNERS["job"] or before[-2] not in names or of_whom
    if manner is MANNERS["box"]:
        return before[-2] != dict(task.slots)["thing"] or "box" in said[place:] or "one" in said[place:]
    return True


def _is_quality(word: str) -> bool:
    """Whether a word would have to stand before what it is said of: `she likes red clever`."""
    return word in QUALITIES and not word.endswith("ly") and word not in ("one", "nowadays", "days")


def _says_something_else(after: tuple[str, ...], task: WorldTask) -> bool:
    """Whether something is said of the value itself that has nothing to do with the question: `Foxley is nice`."""
    rest = [word for word in after if word not in ("town", "coins", "coin")]
    slots = dict(task.slots)
    about = words_in(slots.get("name", ""), slots.get("thing", ""), dict(task.remember).get("person", ""))
    if not rest[1:]:
        return False
    if rest[0] in _DEEDS:
        return manner_of(task) not in ("pet", "owner")
    if (
        manner_of(task) == "owner"
        and rest[0] == "is"
        and {"with", "who", "one", "of", "holding", "right", "correct"}.isdisjoint(rest)
    ):
        return True
    if rest[0] == "has" and manner_of(task) == "home":
        return HER.union(HIM, about).isdisjoint(rest)
    if manner_of(task) == "owner" and rest[:3] == ["is", "the", "one"]:
        return False
    links = _LINKS | {"famous", "visit"} if manner_of(task) == "building" else _LINKS
    return rest[0] in _OF_IT and links.union(about).isdisjoint(rest[1:])
