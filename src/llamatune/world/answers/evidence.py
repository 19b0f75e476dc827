"""What a reply says of a question: words with their stances, and where the right one is among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..lexicon import words
from ..stance import Stance, words_written_out

Meant = list[tuple[str, Stance]]
"""Words with their stances."""


@dataclass(frozen=True)
class Evidence:
    """What a reply says of a question: how it means the right answer, each time, and how much it says besides."""

    right: list[Stance]
    beside: int = 0
    half: bool = False
    """Part of the right answer is there, or it is there in part of the right order."""


GLUE = frozenset(
    words(
        """
    a an the to of in on at by for from with is are was were be am do does did has have had will would can could
    should may must shall i you he she it we they me him her them my your his its our their this that these
    those there and or but not no if so as than then when who what which where how
    """
    )
)
"""Words that hold others together."""


def mentions(meant: Meant, phrase: str) -> list[Stance]:
    """How the words of `phrase` are meant, wherever they are next to each other."""
    wanted = words_written_out(phrase)
    found = []
    for place, (word, _) in enumerate(meant):
        part = meant[place : place + len(wanted)] if word == wanted[0] else []
        if part and [word for word, _ in part] == wanted:
            found.append(max(stance for _, stance in part))
    return found


def among(phrases: Iterable[str], meant: Meant) -> list[str]:
    """Those of the phrases that are put forward, be it with doubt."""
    present = {word for word, _ in meant}
    return [
        phrase
        for phrase in dict.fromkeys(phrases)
        if words_written_out(phrase)[0] in present and put_forward(mentions(meant, phrase))
    ]


def put_forward(stances: Iterable[Stance]) -> bool:
    """Whether any of these is put forward, be it with doubt."""
    return any(stance in (Stance.SAID, Stance.DOUBTED) for stance in stances)


_LINKS = frozenset(
    words(
        """
    is are makes make equals become becomes give gives in leaves sorted reversed plural past so turns says
    """
    )
)


def without_echo(meant: Meant, phrase: str) -> Meant:
    """The words without a repetition of what the question was about: `the opposite of PHRASE is`, `PHRASE becomes`."""
    echo = words_written_out(phrase)
    for place in range(len(meant) - len(echo) + 1):
        after = place + len(echo)
        if [word for word, _ in meant[place:after]] == echo:
            before = meant[place - 1][0] if place else ""
            linked = after < len(meant) and meant[after][0] in _LINKS
            if before in ("of", "for", "from", "list", "than") or linked:
                return meant[:place] + [("the", Stance.SAID)] + meant[after:]
    return meant
