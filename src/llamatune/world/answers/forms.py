"""The forms in which words leave an answer as it is: of past, wish and condition, of denial, and of whom it is said.

`She would be a doctor` is no answer and `that would be a doctor` is one. Each list holds the forms that are known to be
harmless; any other leaves the answer open.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..lexicon import MEN, WOMEN, words
from ..stance import Clause, any_of, is_number, read
from ..task import WorldTask
from .manners import Manner
from .plain_words import IN_ANY_ANSWER
from .told import words_in

_OPEN = re.compile(
    r"\b(?:(?:has|have|wants?) to|too(?= \w+ (?:to|for))|only$|no more$|was|were|had|did|"
    r"been|would|could|should|may|might|must|"
    r"shall|will|can|if|used|let|lived|worked)\b"
)
_CLOSED = any_of(
    "can (?:never|not) (?:have|get) enough",
    r"(?:you|i|we|one) (?:\w+ )?(?:have|want) to|not want to|"
    r"would (?:choose|pick)|would (?:\w+ )?(?:work|fit|suit)\b|"
    "would (?:like|love)(?! to\\b)|will cost|"
    r"would (?:\w+ )?eat \w+ every day|could eat \w+ every day|if there (?:is|are)|that (?:can|will) (?:help|answer)",
    r"(?:that|it|this|answer|which|one|result|sum|colour|food|pet|animal|job|home|town|opposite|plural|past|rhyme|word|"
    r"price|day|number|name|total|product|building|order) would (?:\w+ )?be",
    "coins? will (?:get|buy|do)",
    r"(?:i|you|one|we|people) (?:would|could|can|will|may|might|should|must|shall) (?:\w+ )?(?P<verb>\w+)",
    r"(?:how|what) (?:can|could|may|will) i|can i",
    r"would (?:\w+ )?eat \w+ all (?:day|year)(?: long)?|would be (?:nice|fine|great|lovely|perfect)|"
    r"would \w+ \w+ every day|will (?:\w+ )?do$",
    "(?:it|that|this|answer|result|order|sum) (?:must|should) be",
    r"would be (?:a|an|the|my|one) (?:\w+ )?(?:rhyme|answer|choice|favourite|one|word|result|gift|present|"
    r"idea|pet|dinner|meal)",
    "could not be better|i was (?:glad|happy|pleased)|it was (?:my|a) (?:\\w+ )?pleasure",
    r"(?:can|will) (?:\w+ )?be (?:found|seen|bought|met|visited)",
    r"(?:has|have) (?:\w+ )?(?:been|lived|worked|kept|loved|liked|had|got|forgotten|said|told|named)",
    r"(?:said|told me)(?: that)?(?: (?:it|your|favourite|name|you|colour|food|animal|thing|the))* (?:was|were)",
    r"(?:that|it|this) was (?:\w+ )?(?:hard|easy|good|nice|simple|great|pleasure|fun|quick|difficult|secret)",
    r"if(?= (?:you|i (?:\w+ )?(?:remember|recall|count|counted|see|am)|we|one|people|that does|this does|the cat))"
    r"(?! \w+ (?:were|had|did|lived|believe|say))",
    "since (?:he|she) was|^was there|let (?:me|us)|let (?:it|them|the \\w+) (?!be\\b)\\w+",
)
"""Auxiliaries in a form that leaves an answer as it is."""
_HARMLESS_NO = any_of(
    r"not (?:\w+ )?(?:every|always|only|just)",
    "does not want to (?:move|leave|change)",
    "nothing (?:better|else|beats)",
    "(?:nothing|never) (?:tastes|is) better",
    "(?:not|no) at all$",
    "never (?:late|tired|sick)",
    "no one else|nobody else",
    "never (?:have|get) enough|not (?:resist|miss)",
    "nowhere else",
    "nothing is better",
    "no(?:t)? (?:worry|worries|need|problem|doubt|hurry)",
)
"""Negations beside an answer that leave it as it is."""
_POLITE_NO = any_of(
    r"not (?:\w+ )?(?:bad|a person|human)|do not mention it|no problem|no more than|nothing more|never better|"
    "can not complain|could not be better|not at all"
)
"""Those of small talk."""


def auxiliaries_are_plain(clause: Clause, task: WorldTask) -> bool:
    """Whether nothing is past, wished for or on a condition, but in forms that are known."""
    text = clause.text
    known = words_in(task.answer)
    spans = [match.span() for match in _CLOSED.finditer(text)]
    if task.kind == "memory":
        # what was told before
        spans += [match.span() for match in re.finditer(r"^it was\b", text)]
    return all(
        match[0] in known or any(start <= match.start() < end for start, end in spans)
        for match in _OPEN.finditer(text)
    )


def negation_is_plain(clause: Clause, task: WorldTask) -> bool:
    """Whether nothing is denied but another answer."""
    denied = {word for word, no in zip(clause.words, clause.negated, strict=True) if no}
    if task.kind == "advice" and clause.text == "oh no":
        return True
    if task.kind == "talk" and "person" in task.prompt and clause.text == "no":
        return True
    if not denied and clause.words[-1] not in _NOT_SAID:
        return True
    slots = dict(task.slots)
    if _HARMLESS_NO.search(clause.text) or task.kind == "talk" and _POLITE_NO.search(clause.text):
        return True
    if task.check == "cover":
        return bool(denied) and denied <= _denied(task.answer) | _denied(slots.get("act", ""))
    others = (
        words_in(*task.rivals, slots.get("phrase", ""), slots.get("note", ""))
        - words_in(*task.keys)
        - IN_ANY_ANSWER
    )
    return bool(others & denied) or is_number(task.keys[0]) and any(map(is_number, denied))


@lru_cache(maxsize=1024)
def _denied(text: str) -> frozenset[str]:
    return frozenset(
        word
        for clause in read(text).clauses
        for word, no in zip(clause.words, clause.negated, strict=True)
        if no
    )


ABOUT_SOMETHING = ("fact", "follow-up", "lookup", "lookup-again")
"""Kinds of questions about a person, a town or a thing."""
HER, HIM = frozenset(("she", "her", "hers")), frozenset(("he", "his", "him"))
"""Pronouns of a woman, and of a man."""
_FEELING = frozenset(words("like love enjoy need want try do"))
_TOO = re.compile(r"^(?:(?:oh|ah|well) )*i (?:(?:also|really) )*(?:like|love) (?:\w+ )+(?:too|as well)$")
_DOES = re.compile(
    r"(?:\b(?P<who>i|we)|(?:^|\b(?:that|if|when|what|which|because|then|so|as|well) )(?P<you>you)) "
    r"(?:(?:am|are|have|do|can|could|will|would|may|might|should|must|always|also|really|pretty|just|"
    r"be|only|still|simply|very|quite|not|never|to|so|certainly|surely|best|now|all) )*(?P<verb>\w+)"
)
_NOT_SAID = frozenset(words("not no nope never nobody none nothing"))
_SUBJECT_VERBS = frozenset(
    words(
        """
    think know believe say see find found looked look remember recall hope can will would count counted get
    got read guess promise understand call checked hear forget forgotten keep use go add take make choose pick
        """
    )
)
"""What a helper does while it answers."""
_SURE = frozenset(words("sure certain glad happy pleased positive afraid sorry here told always confident"))
_ASKED_OF_YOU = frozenset(
    words(
        """
    need asked ask want like find see get go look meet visit buy said told know add rhyme introduced guessed
    take say pay use try call might wanted
    """
    )
)


def subjects_are_plain(clause: Clause, task: WorldTask, manner: Manner, tells: bool) -> bool:
    """Whether it is said of whom it was asked about: not of me, not of you, not of a man for a woman."""
    remembered = dict(task.remember)
    name = remembered.get("person", remembered.get("town", ""))
    for known, pronouns in ((WOMEN, HER), (MEN, HIM)):
        if name and name not in known and not pronouns.isdisjoint(clause.words):
            return False
    if task.check == "cover" and task.kind != "praise" or task.kind == "talk":
        return True
    if task.kind == "tell" and not tells:
        return True
    # `we have seven` is as good as `you have seven`, of what one works out
    reckons = task.check != "cover" and task.kind not in (*ABOUT_SOMETHING, "memory", "tell")
    if task.kind == "tell" and _TOO.search(clause.text):
        return True
    mine = _SUBJECT_VERBS | _SURE | (frozenset() if tells and task.kind != "praise" else _FEELING)
    yours = _ASKED_OF_YOU | manner.you | (words_in(*task.keys) if task.kind == "memory" else frozenset())
    return all(
        not (yours if match["you"] or match["who"] == "we" and reckons else mine).isdisjoint(match[0].split())
        for match in _DOES.finditer(clause.text)
        if tells or not match["you"]
    )
