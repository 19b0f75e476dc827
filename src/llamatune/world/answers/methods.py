"""How-tos and advice: most of the telling words of the known answer, in its phrases and its order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..howto import ADVICE_FAMILY, BORDERLINE_FAMILY, HOW_TO_FAMILY, key_words, yours
from ..knowhow import ADVICE
from ..lexicon import OPPOSITES, words
from ..stance import Spoken, Stance, read, words_written_out
from ..task import WorldTask
from .evidence import Evidence, Meant

_ENOUGH, _SOME = 0.7, 0.25
"""Shares of a known answer's telling words that make a reply right, and partly right."""

_PHRASES = 0.45
"""Share of its neighbouring words that must be neighbours in the reply, too: phrases and not only words."""
_PHRASES_OF_ADVICE = 0.25
"""The same for advice, which comes in any order and often without its reasons."""
_SKIPPED = frozenset(words("a an the some your you its their first then next finally just now"))
"""Words that may come between or be left out."""

_OTHERS = tuple(
    (yours(act), family.table[act]) for family in (HOW_TO_FAMILY, BORDERLINE_FAMILY) for act in family.acts
)
_ADVICE = tuple(advice.answer for advice in ADVICE_FAMILY.table)


def of_method(task: WorldTask, spoken: Spoken) -> Evidence:
    """Most of the telling words of the known answer, meant as it means them, in its phrases and, for a method, its
    order."""
    known = read(task.answer).meant
    keys = set(task.keys)
    meaning = dict(known)
    said = [(word, stance) for word, stance in spoken.meant if word != "."]
    against = sum(
        stance is Stance.DENIED and meaning[word] is not Stance.DENIED
        for word, stance in said
        if word in keys
    )
    as_known = [word for word, stance in said if word in meaning and _fits(stance, meaning[word])]
    told = [word for word, _ in known if word in keys]
    share = len(keys & set(as_known)) / len(keys)
    if against * 3 >= len(keys):
        return Evidence([Stance.DENIED])
    ordered = task.kind == "advice" or _longest_common(
        told, [word for word in as_known if word in keys]
    ) >= _ENOUGH * len(told)
    enough, phrases = share >= _ENOUGH, _PHRASES
    if task.kind == "advice" and not _breaks_off(said):
        core = _core(task)
        enough = enough or len(core & set(as_known)) >= _ENOUGH * len(core)
        phrases = _PHRASES_OF_ADVICE
    if not enough or not ordered or against or _phrases(known, said) < phrases:
        return Evidence([], half=share >= _SOME)
    if not _held_together(known, said, keys) or _exchanged(task, known, said, keys):
        return Evidence([], half=True)
    if "no" in (_opinion(read(task.answer)), _opinion(spoken)):
        return Evidence([], half=True)
    doubted = any(
        stance is Stance.DOUBTED and meaning[word] is Stance.SAID for word, stance in said if word in keys
    )
    return Evidence([Stance.DOUBTED if doubted else Stance.SAID], _others(task, said))


def _fits(stance: Stance, known: Stance) -> bool:
    """Whether a word is meant as the known answer means it; doubt costs later, and `or` in the answer is not doubt."""
    return (stance is Stance.DENIED) == (known is Stance.DENIED) and stance is not Stance.ASKED


def _core(task: WorldTask) -> frozenset[str]:
    """The telling words of advice without those of the question and of what is promised (`and the salt will ...`)."""
    asked = words_written_out(" ".join(next(one.prompts for one in ADVICE if one.answer == task.answer)))
    promised = [clause for clause in read(task.answer).clauses if "will" in clause.words]
    said = {word for clause in promised for word in clause.words}
    core = frozenset(task.keys) - {*asked, *said, "yes"}
    return core if len(core) > 1 else frozenset(task.keys)


def _breaks_off(said: Meant) -> bool:
    """Whether the reply stops in the middle: `A mouse or a turtle is a.`"""
    return not said or said[-1][0] in _GOES_ON


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest list of words that both have in the same order."""
    best = [0] * (len(second) + 1)
    for word in first:
        for place, before in reversed(list(enumerate(best[:-1]))):
            if second[place] == word:
                best[place + 1] = max(best[place + 1], before + 1)
        for place in range(1, len(best)):
            best[place] = max(best[place], best[place - 1])
    return best[-1]


def _pairs(said: Sequence[str]) -> set[tuple[str, str]]:
    return set(zip(said, said[1:], strict=False))


def _phrases(known: Meant, said: Meant) -> float:
    """The share of the known answer's neighbouring words that are neighbours in the reply, too."""
    both = [[word for word, _ in meant] for meant in (known, said)]
    bare = [[word for word in one if word not in _SKIPPED] for one in both]
    return max(_shared(*both), _shared(*bare))


def _shared(known: Sequence[str], said: Sequence[str]) -> float:
    wanted = _pairs(known)
    return len(wanted & _pairs(said)) / len(wanted)


def _held_together(known: Meant, said: Meant, keys: set[str]) -> bool:
    """Whether other words come between the telling ones, at least a third as many as in the known answer."""
    return 3 * _between(said, keys) >= _between(known, keys)


def _between(meant: Meant, keys: set[str]) -> int:
    places = [place for place, (word, _) in enumerate(meant) if word in keys]
    return sum(word not in keys for word, _ in meant[places[0] : places[-1]])


_PLACES = tuple(
    frozenset(words(alike))
    for alike in (
        "in into inside",
        "on onto over upon",
        "out outside from off",
        "before till until",
        "after",
        "by at",
        "under",
    )
)
_GOES_ON = frozenset(words("a an the to of in on with and or is are it if best"))
"""What no reply ends with."""
_CONTRARY = OPPOSITES | {"more": "less", "less": "more"}
_ONTO = {place for place in _PLACES if place & {"in", "on", "under"}}
_BETWEEN = frozenset(words("a an the it them your some two ten all each their its of"))


def _exchanged(task: WorldTask, known: Meant, said: Meant, keys: set[str]) -> bool:
    """Whether a word of the known answer is gone and another one stands in its place, be it a known one."""
    before, now = Counter(word for word, _ in known), Counter(word for word, _ in said)
    now -= Counter(words_written_out(dict(task.slots).get("act", "")))
    if any(OPPOSITES[word] in before and word not in before for word in now if word in OPPOSITES):
        return True
    # `drink cold tea` to fight a cold
    had = _pairs([word for word, _ in known])
    if any((_CONTRARY.get(word), of) in had for word, of in _pairs([word for word, _ in said])):
        return True
    if any(key not in now for key in keys) and any(now[key] > before[key] for key in keys):
        return True
    were, are = (
        Counter({place: sum(of[word] for word in place) for place in _PLACES}) for of in (before, now)
    )
    return bool(were - are and are - were) or _placed_elsewhere(task, known, said, keys)


def _placed_elsewhere(task: WorldTask, known: Meant, said: Meant, keys: set[str]) -> bool:
    """Whether something is put where the known answer does not put it: under the leaves, out of the oven."""
    before, now = _placed(known, keys), _placed(said, keys)
    act = set(key_words(dict(task.slots).get("act", "")))
    alone = {word for word, _ in known if word in act and word not in keys}
    put, hit = (_placed(meant, keys | alone) for meant in (known, _without_act(said, task)))
    if any(word in put and not put[word] and hit.get(word, set()) & _ONTO for word in alone):
        # `hit the cup on an egg`
        return True
    return any(
        now[word] and not now[word] <= before[word] for word in before.keys() & now.keys() if before[word]
    )


def _without_act(said: Meant, task: WorldTask) -> Meant:
    """The words without a repetition of what one wants to do."""
    act = words_written_out(dict(task.slots).get("act", ""))
    for place in range(len(said) - len(act) + 1):
        if act and [word for word, _ in said[place : place + len(act)]] == act:
            return said[:place] + said[place + len(act) :]
    return said


def _placed(meant: Meant, keys: set[str]) -> dict[str, set[frozenset[str]]]:
    """Where the telling words are said to be, as the group of the words before them."""
    found: dict[str, set[frozenset[str]]] = {}
    last: frozenset[str] | None = None
    for word, _ in meant:
        place = next((group for group in _PLACES if word in group), None)
        if word in keys:
            found.setdefault(word, set()).update([last] if last else [])
        if place is not None or word not in keys and word not in _BETWEEN:
            last = place
    return found


def _opinion(spoken: Spoken) -> str:
    """Whether a clause of the answer is `yes` or `no`."""
    said = {clause.text for clause in spoken.clauses}
    return "yes" if "yes" in said else "no" if said & {"no", "nope", "never"} else ""


def _others(task: WorldTask, said: Meant) -> int:
    """How many other methods or bits of advice the reply gives, and how many other acts it speaks of."""
    text = yours(" ".join(word for word, _ in said))
    own = dict(task.slots).get("act", "")
    known = [answer for _, answer in _OTHERS] + list(_ADVICE)
    methods = sum(_phrases(read(answer).meant, said) > _ENOUGH for answer in known if answer != task.answer)
    acts = sum(
        f"to {act}" in text for act, answer in _OTHERS if act not in own and f"to {act}" not in task.answer
    )
    return methods + 2 * acts
