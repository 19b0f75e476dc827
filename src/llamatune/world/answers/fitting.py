"""Questions that many answers fit: rhymes, small talk, praise."""

from __future__ import annotations

from ..frames import normalise
from ..lexicon import RHYMES, TOWNS, words
from ..stance import Spoken, Stance
from ..talk import acts_in
from ..task import WorldTask
from .evidence import GLUE, Evidence, mentions, put_forward

_RHYMING = frozenset(word for family in RHYMES for word in family)


def of_rhyme(task: WorldTask, spoken: Spoken) -> Evidence:
    """At least one word that rhymes, and none of another family among those offered as rhymes."""
    asked = dict(task.slots)["word"]
    right: list[Stance] = []
    others: set[str] = set()
    for clause in spoken.clauses:
        known = [word for word in clause.words if word in _RHYMING]
        content = [word for word in clause.words if word not in GLUE]
        if "rhyme" not in clause.text and 2 * len(known) < len(content) and not set(known) & set(task.keys):
            continue
        offered = clause.asked and clause.words[:2] in (("how", "about"), ("what", "about"))
        for word, stance in zip(clause.words, clause.stances, strict=True):
            if offered:
                stance = Stance.SAID
            if word in task.keys:
                right.append(stance)
            elif word in _RHYMING and word != asked and put_forward([stance]):
                others.add(word)
    # one of several rhymes is enough, and `or` between them leaves nothing open
    if Stance.DOUBTED in right and not others and Stance.DENIED not in right:
        several = {word for clause in spoken.clauses for word in clause.words if word in task.keys}
        right = [Stance.SAID] if len(several) > 1 else right
    return Evidence(right, len(others))


def of_talk(task: WorldTask, spoken: Spoken) -> Evidence:
    """What was said is answered, and the reply does nothing else that people do in small talk."""
    fitting, others, denied = acts_in(task, spoken)
    return Evidence([Stance.SAID] * fitting + [Stance.DENIED] * denied, others)


KIND = frozenset(
    words(
        """
    kind clever brave friendly good nice great wonderful lovely helpful honest warm wise gentle fine smart
    generous hardworking polite careful strong talented skilled amazing welcoming cheerful fantastic patient loyal
    kindest cleverest bravest friendliest kinder cleverer braver friendlier caring thoughtful considerate
    """
    )
)
"""What one says of people to praise them."""

_UNKIND = frozenset(
    words(
        """
    stupid lazy dirty ugly liars dumb bad cruel mean far boring rude
    """
    )
)


def of_praise(task: WorldTask, spoken: Spoken) -> Evidence:
    """Kind words, at least two, said of those who are to be praised."""
    group = normalise(dict(task.slots)["group"])
    kind = [stance for word, stance in spoken.meant if word in KIND]
    named = bool(mentions(spoken.meant, group)) or bool(mentions(spoken.meant, group.split()[-1]))
    unkind = sum(word in _UNKIND and put_forward([stance]) for word, stance in spoken.meant)
    others = sum(bool(mentions(spoken.meant, town)) for town in TOWNS if town.lower() not in group)
    if sum(stance is Stance.SAID for stance in kind) < 2 or not named:
        return Evidence([], half=Stance.SAID in kind and not unkind)
    return Evidence(kind, unkind + others)
