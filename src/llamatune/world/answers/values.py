"""Questions whose answer is one of a few words, or a number: facts, look-ups, sums, words of a list."""

from __future__ import annotations

import re
from functools import lru_cache

from ..facts import FACTS, PERSON_ATTRIBUTES, TOWN_ATTRIBUTES, Attribute
from ..lexicon import NOUNS, PEOPLE, THINGS, TOWNS, USERS, words
from ..stance import Spoken, Stance, is_number, words_written_out
from ..task import WorldTask
from .evidence import GLUE, Evidence, Meant, among, mentions, put_forward, without_echo


def of_value(task: WorldTask, spoken: Spoken) -> Evidence:
    """One of a few words: a place, a colour, a name, a word of a list."""
    slots = dict(task.slots)
    meant = without_echo(spoken.meant, slots["items"]) if "items" in slots else spoken.meant
    right = [stance for key in task.keys for stance in mentions(meant, key)]
    if _said_of_nothing(task, spoken) or _strangely_said(task, spoken):
        right.append(Stance.DOUBTED)
    rivals = task.rivals + (
        tuple(noun for noun in NOUNS if noun not in task.keys) if "items" in slots else ()
    )
    beside = len(among((rival.removeprefix("the ") for rival in rivals), meant))
    strangers = _strangers(task, spoken)
    if strangers and not _named(task, spoken):
        return Evidence([], half=False)
    return Evidence(right, beside + (strangers if not beside else 0) + _other_facts(task, meant))


_ABOUT_SOMETHING = ("fact", "follow-up", "lookup", "lookup-again")
"""Questions about a person, a town or a thing."""

_LINKING = frozenset(words("it she he her his him they their them this that these answer right correct true"))
"""What points at a question or at whom it is about."""

_OF_IT = r"(?:is|are|was|were|has|have|had|sounds|looks|seems|feels)"


def _said_of_nothing(task: WorldTask, spoken: Spoken) -> bool:
    """Whether the reply says something of the value itself that has nothing to do with the question.

    `The red box is empty`, but not `the red box is where you find it`.
    """
    if task.kind not in _ABOUT_SOMETHING:
        return False
    question = task.prompt.lower().replace(dict(task.slots).get("note", "").lower(), "")
    links = {*_LINKING, *(set(words_written_out(question)) - GLUE), *words_written_out(_subjects(task)[0])}
    for sentence in spoken.sentences:
        text = " ".join(clause.text for clause in sentence)
        match = re.search(rf"\b{re.escape(task.keys[0])}(?: box| town)? {_OF_IT} (?P<rest>.+)", text)
        if match and not links & set(match["rest"].split()):
            return True
    return False


_COMMONPLACE = frozenset(
    words(
        """
    it here there now today always never still really certainly surely sure course yes ok okay well right correct true
    answer question think believe know known say says said told look looked see find found get gives take takes go ask
    keep need want mind forget note named called things day time all every each everyone best own owns only just also
    very much enough indeed please hi hello oh nothing else better nice good choice easy simple simply quite try has
    put make inside open held long since year years pick got one so far friend dear been price money earn start
    begin end
    """
    )
)
"""Words with which anything may be said plainly."""

_SUMMING = frozenset(
    words("add together sum total difference result equals come comes left leaves remain count list words")
)
"""Those with which a number may be, too."""


def _strangely_said(task: WorldTask, spoken: Spoken) -> bool:
    """Whether there are words around the right answer with which the world says no such thing.

    Nobody can list all ways to take an answer back (`she failed to become a doctor`); so what is not known to leave it
    as it is leaves it open.
    """
    if task.kind == "tell":
        return False
    told = [
        task.prompt,
        *task.forms,
        *task.keys,
        *task.rivals,
        *(value for _, value in task.slots + task.remember),
    ]
    name = _subjects(task)[0]
    if name in PEOPLE + TOWNS:
        told += [
            text
            for attribute in _attributes(name)
            if task.answer in attribute.values
            for text in (*attribute.statements, *attribute.questions, *attribute.forms, *attribute.more)
        ]
    stems = _stems_told(tuple(told)) | _PLAIN_STEMS
    stems |= _SUMMING_STEMS if is_number(task.keys[0]) else set()
    wanted = words_written_out(task.keys[0])[0]
    return any(
        _stem(word) not in stems and not is_number(word)
        for clause in spoken.clauses
        if wanted in clause.words
        for word in clause.words
    )


_ENDING = re.compile(r"(?<=\w\w)(?:s|ed|e|es|ing)$")


@lru_cache(maxsize=1 << 15)
def _stem(word: str) -> str:
    """`live`, `lives`, `lived` and `living` are one word."""
    return _ENDING.sub("", word)


_PLAIN_STEMS = frozenset(map(_stem, _COMMONPLACE | GLUE))
_SUMMING_STEMS = frozenset(map(_stem, _SUMMING))


@lru_cache(maxsize=4096)
def _stems_told(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_stem(word) for text in texts for word in words_written_out(text))


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


def _attributes(name: str) -> tuple[Attribute, ...]:
    return PERSON_ATTRIBUTES if name in PEOPLE else TOWN_ATTRIBUTES


_PRONOUN_ONE = frozenset(
    words(
        """
    this that the no easy good nice hard any every which another each red blue quick
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
    if _strangely_said(task, spoken):
        right.append(Stance.DOUBTED)
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
