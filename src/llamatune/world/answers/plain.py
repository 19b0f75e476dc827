"""Whether a right answer is said plainly: in words, and in a form, with which one says such a thing.

Nobody can list all ways to take an answer back (`she failed to become a doctor`, `he was a builder`, `said nobody`). So
the question is turned round: the words with which an answer is known to be given are listed, each kind of question with
its own (`manners.py`), with those that leave any answer as it is (`plain_words.py`), the forms in which they do
(`forms.py`), and what may lead to an answer (`leading.py`). Whatever else stands in a reply leaves the answer open.
Words are compared as they are spelled: `sells` is known to be said of a town, `buys` is not.
"""

from __future__ import annotations

import re

from ..facts import PERSON_ATTRIBUTES, TOWN_ATTRIBUTES
from ..lexicon import words
from ..stance import Clause, Spoken
from ..task import WorldTask
from .chat import is_chat, words_led_in
from .fitting import KIND
from .forms import ABOUT_SOMETHING, HER, HIM, auxiliaries_are_plain, negation_is_plain, subjects_are_plain
from .leading import HELD, is_led_to
from .manners import MANNERS, Manner, manner_of
from .plain_words import AROUND, BESIDE_ANSWERS, COMPANY, IN_ANY_ANSWER, OF_PEOPLE, OF_PLACES, QUALITIES
from .told import is_compared, words_known, words_telling
from .values import values_of

_LOOSE = [
    MANNERS[name]
    for name in (
        *(item.name for item in (*PERSON_ATTRIBUTES, *TOWN_ATTRIBUTES)),
        *("box", "owner", "price", "name", "favourite", "meeting", "praise", "talk"),
    )
]
"""Where adjectives add nothing to what is asked."""
_TOGETHER = frozenset(words("with by for and near beside to from of in on at"))
_WITH, _BY_THE_WAY = frozenset(words("with by")), frozenset(words("the a her his their its own"))
_DONE = re.compile(
    r"(?<!coins )\b(?:is|are|be|being|get|gets|been) (?:(?:also|mostly|mainly|often|always|usually|currently|now|best|"
    r"well|safely|proudly|lovingly|widely|still) )*(?P<done>\w+)"
)
"""What is done, and not what somebody did."""


def open_to_doubt(task: WorldTask, spoken: Spoken) -> bool:
    """Whether anything in the reply is not known to leave the right answer as it is."""
    manner = MANNERS[manner_of(task)]
    known = words_known(task) | manner.words | (KIND if task.kind == "praise" else frozenset())
    telling = words_telling(task)
    if task.check == "cover" and telling <= {word for clause in spoken.clauses for word in clause.words}:
        # `Please ask me more`, though one asks friends as well: nothing is missing that might stand there
        telling -= BESIDE_ANSWERS
    if manner is MANNERS["market"] and any(
        clause.words[-1] == "is" and not telling.isdisjoint(clause.words) and HELD.isdisjoint(after.words)
        for clause, after in zip(spoken.clauses, spoken.clauses[1:], strict=False)
    ):
        # `Saturday is when everyone stays home`
        return True
    return any(
        not _is_plain(_without_lead_in(clause, telling), task, manner, known, telling)
        for clause in spoken.clauses
        if not clause.asked and not _is_only_chat(clause, task, telling)
    )


def _is_only_chat(clause: Clause, task: WorldTask, telling: frozenset[str]) -> bool:
    """Whether a clause only opens or closes the answer."""
    return telling.isdisjoint(clause.words) and is_chat(clause.text)


def _without_lead_in(clause: Clause, telling: frozenset[str]) -> Clause:
    """The clause without what only leads in the answer in it."""
    skipped = words_led_in(clause.words)
    if not skipped or telling.isdisjoint(clause.words[skipped:]):
        return clause
    return Clause(clause.words[skipped:], clause.stances[skipped:], clause.negated[skipped:], clause.asked)


def _is_plain(
    clause: Clause, task: WorldTask, manner: Manner, known: frozenset[str], telling: frozenset[str]
) -> bool:
    tells = not telling.isdisjoint(clause.words)
    if task.kind == "talk" and clause.words[0] == "or":
        return False
    if manner is MANNERS["sort"] and "z to a" in clause.text:
        return False
    plain = IN_ANY_ANSWER | QUALITIES if manner in _LOOSE else IN_ANY_ANSWER - OF_PEOPLE
    if manner is MANNERS["rhyme"]:
        plain -= OF_PLACES
    allowed = known | plain | telling if tells else known | plain | BESIDE_ANSWERS
    may_add = task.kind in (*ABOUT_SOMETHING, "memory")
    owners = HER | HIM | {dict(task.slots).get("name", "").lower()}
    if any(
        owner in owners and whose in COMPANY - manner.words - known and before not in _TOGETHER
        for before, owner, whose in zip(("", *clause.words), clause.words, clause.words[1:], strict=False)
    ):
        # `where her brother lives`
        return False
    told, before = not tells, ""
    done = {match["done"] for match in _DONE.finditer(clause.text)} & manner.done
    own_facts = (
        values_of(dict(task.slots).get("name", "")) if task.kind in ("fact", "follow-up") else frozenset()
    )
    for place, word in enumerate(clause.words):
        if word in own_facts and place and clause.words[place - 1] in HER | HIM:
            # `with her duck`; whether she has one is compared elsewhere
            continue
        told = told or word in telling
        around = may_add and (told or before in _WITH) and word in AROUND
        before = before if word in _BY_THE_WAY else word
        if word not in allowed and not around and not is_compared(task, word) and word not in done:
            return False
    return (
        auxiliaries_are_plain(clause, task)
        and negation_is_plain(clause, task)
        and subjects_are_plain(clause, task, manner, tells)
        and (not manner.leads or not tells or is_led_to(clause, task, manner))
    )
