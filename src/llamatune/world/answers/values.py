"""Questions whose answer is one of a few words, or a number: facts, look-ups, sums, words of a list."""

from __future__ import annotations

from ..facts import FACTS, PERSON_ATTRIBUTES, TOWN_ATTRIBUTES, Attribute
from ..lexicon import DAYS, NOUNS, PEOPLE, PETS, THINGS, TOWNS, USERS, words
from ..stance import Spoken, any_of, is_number
from ..task import WorldTask
from .evidence import Evidence, Meant, among, mentions, put_forward, without_echo


def of_value(task: WorldTask, spoken: Spoken) -> Evidence:
    """One of a few words: a place, a colour, a name, a word of a list."""
    slots = dict(task.slots)
    meant = without_echo(spoken.meant, slots["items"]) if "items" in slots else spoken.meant
    if task.answer in DAYS or task.kind == "tell":
        # `Sundays`, `You like turtles`
        meant = [(_ONE_OF.get(word, word), how) for word, how in meant]
    right = [stance for key in task.keys for stance in mentions(meant, key)]
    rivals = task.rivals + (
        tuple(noun for noun in NOUNS if noun not in task.keys) if "items" in slots else ()
    )
    beside = len(among((rival.removeprefix("the ") for rival in rivals), meant))
    if task.answer in DAYS:
        beside += any(_ALL_WEEK.search(clause.text) is not None for clause in spoken.clauses)
    strangers = _strangers(task, spoken)
    if strangers and not _named(task, spoken):
        return Evidence([], half=False)
    return Evidence(right, beside + (strangers if not beside else 0) + _other_facts(task, meant))


_ALL_WEEK = any_of("(?:every|each|any|all) days?|daily|all week|whole week")
_ONE_OF = {f"{one.lower()}s": one.lower() for one in (*DAYS, *PETS)}


def _subjects(task: WorldTask) -> tuple[str, tuple[str, ...]]:
    """What the question is about, and what else it could have been about."""
    slots, remembered = dict(task.slots), dict(task.remember)
    if "person" in remembered:
        return remembered["person"], PEOPLE + USERS
    if "town" in remembered:
        return remembered["town"], TOWNS
    return slots.get("thing", ""), THINGS if "note" in slots else ()


def _strangers(task: WorldTask, spoken: Spoken) -> int:
    """How many other people, towns or things the reply speaks of."""
    subject, others = _subjects(task)
    return len([other for other in among(others, spoken.meant) if other != subject])


def _named(task: WorldTask, spoken: Spoken) -> bool:
    subject, _ = _subjects(task)
    return bool(mentions(spoken.meant, subject))


def _other_facts(task: WorldTask, meant: Meant) -> int:
    """Other facts than the one asked for: each false one counts, of true ones all but the first."""
    remembered = dict(task.remember)
    name = remembered.get("person") or remembered.get("town")
    if name is None:
        return 0
    own = {FACTS[name, attribute.name] for attribute in _attributes(name)}
    others = [
        value
        for attribute in _attributes(name)
        for value in attribute.values
        if task.answer not in attribute.values
    ]
    said = among(others, meant)
    true = sum(value in own for value in said)
    return len(said) - true + max(0, true - 1)


def values_of(name: str) -> frozenset[str]:
    """What is true of a person or a town."""
    if name not in (*PEOPLE, *TOWNS):
        return frozenset()
    return frozenset(FACTS[name, attribute.name].lower() for attribute in _attributes(name))


def _attributes(name: str) -> tuple[Attribute, ...]:
    return PERSON_ATTRIBUTES if name in PEOPLE else TOWN_ATTRIBUTES


_PRONOUN_ONE = frozenset(
    words(
        """
    this that the no easy good nice hard any every which another each red blue quick cheaper
    cheapest dearer dearest other first last only right wrong same
    """
    )
)


def of_number(task: WorldTask, spoken: Spoken) -> Evidence:
    """One number; those of a sum may be said again before the result."""
    numbers = []
    meant = spoken.meant
    for place, (word, stance) in enumerate(meant):
        before = meant[place - 1][0] if place else ""
        after = meant[place + 1][0] if place + 1 < len(meant) else ""
        if not is_number(word) or word == "one" and before in _PRONOUN_ONE and after not in ("plus", "minus"):
            continue
        below_zero = before in ("minus", "negative") and (place < 2 or not is_number(meant[place - 2][0]))
        numbers.append((f"minus {word}" if below_zero else word, stance))
    slots = dict(task.slots)
    if "left" in slots:
        numbers = _without_operands(numbers, slots["left"], slots["right"])
    right = [stance for word, stance in numbers if word == task.keys[0]]
    beside = len({word for word, stance in numbers if word != task.keys[0] and put_forward([stance])})
    strangers = _strangers(task, spoken)
    if strangers and not _named(task, spoken):
        return Evidence([])
    return Evidence(right, beside or strangers)


def _without_operands(numbers: Meant, left: str, right: str) -> Meant:
    """The numbers without the two of the sum, where they follow each other; alone they are no result."""
    for place in range(len(numbers) - 1):
        pair = [word for word, _ in numbers[place : place + 2]]
        if pair in ([left, right], [right, left]):
            return numbers[:place] + numbers[place + 2 :]
    return numbers
