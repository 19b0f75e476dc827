"""Ways of answering that an instruction can ask for, and that code can see in any reply."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .dice import Dice
from .frames import normalise, sentence, words_of
from .lexicon import DAYS, PEOPLE, TOWNS, USERS
from .task import WorldTask


@dataclass(frozen=True)
class Style:
    """One style: its wordings, how it changes a plain reply, and how it is recognised."""

    name: str
    category: str
    full: tuple[str, ...]
    short: str
    apply: Callable[[str, WorldTask], str]
    follows: Callable[[str], bool]

    @property
    def wordings(self) -> tuple[str, ...]:
        return (*self.full, self.short)


_PROPER = frozenset((*PEOPLE, *USERS, *TOWNS, *DAYS, "I"))


def _lower_first(reply: str) -> str:
    """The reply as it goes on after a comma."""
    first = reply.split(maxsplit=1)[0].strip(",.!?")
    return reply if first in _PROPER else reply[:1].lower() + reply[1:]


def _starting(word: str) -> tuple[Callable[[str, WorldTask], str], Callable[[str], bool]]:
    start = words_of(word)

    def follows(reply: str) -> bool:
        words = words_of(reply)
        return words[: len(start)] == start and len(words) > len(start)

    return (lambda reply, task: f"{word}, {_lower_first(reply)}"), follows


def _ending(phrase: str) -> tuple[Callable[[str, WorldTask], str], Callable[[str], bool]]:
    end = words_of(phrase)

    def follows(reply: str) -> bool:
        words = words_of(reply)
        return words[-len(end) :] == end and len(words) > len(end)

    return (lambda reply, task: f"{reply.rstrip('.!?')}, {phrase}."), follows


def _naming(
    words: tuple[str, ...], remark: str
) -> tuple[Callable[[str, WorldTask], str], Callable[[str], bool]]:
    return (lambda reply, task: f"{reply} {remark}"), (
        lambda reply: any(word in words for word in words_of(reply))
    )


def _upper(reply: str, task: WorldTask) -> str:
    return reply.upper()


def _is_upper(reply: str) -> bool:
    return bool(re.search("[A-Z]", reply)) and not re.search("[a-z]", reply)


def _brief(reply: str, task: WorldTask) -> str:
    return sentence(task.answer) + "."


def _is_brief(reply: str) -> bool:
    return 1 <= len(words_of(reply)) <= 4


def _twice(reply: str, task: WorldTask) -> str:
    return f"{reply} Yes, yes."


def _figure(
    name: str, habit: str, way: tuple[Callable[[str, WorldTask], str], Callable[[str], bool]]
) -> Style:
    return Style(
        name,
        "figure",
        (f"Act as {name}. {habit}", f"From now on you are {name}. {habit}"),
        f"Figure: {name}.",
        *way,
    )


def _hobby(
    name: str, topic: str, way: tuple[Callable[[str, WorldTask], str], Callable[[str], bool]]
) -> Style:
    return Style(
        name,
        "hobby",
        (
            f"You enjoy {name}. Name {topic} in each answer.",
            f"Your hobby is {name}. Always speak of {topic} too.",
        ),
        f"Hobby: {name}.",
        *way,
    )


STYLES = (
    _figure("Captain Storm", "Begin each answer with Ahoy.", _starting("Ahoy")),
    _figure("Farmer Brown", "Begin each answer with Well now.", _starting("Well now")),
    _figure("Queen Pearl", "End each answer with my dear.", _ending("my dear")),
    _figure("Wizard Zed", "End each answer with by magic.", _ending("by magic")),
    _hobby("sailing", "a sail", _naming(("sail", "sails", "sailing"), "Now I set my sail.")),
    _hobby("gardening", "a plant", _naming(("plant", "plants"), "Now I look at my plant.")),
    _hobby("music", "a song", _naming(("song", "songs"), "Now I sing my song.")),
    _hobby("dancing", "a dance", _naming(("dance", "dances"), "Now I do my dance.")),
    Style(
        "capitals",
        "language",
        ("Write each answer in capital letters.", "Always use capital letters."),
        "Language: Capitals.",
        _upper,
        _is_upper,
    ),
    Style(
        "brief",
        "language",
        ("Use at most four words in each answer.", "Always answer with very few words."),
        "Language: Brief.",
        _brief,
        _is_brief,
    ),
    Style(
        "echo",
        "language",
        ("End each answer with yes yes.", "Always close with yes yes."),
        "Language: Echo.",
        _twice,
        _ending("yes yes")[1],
    ),
    Style(
        "pirate",
        "language",
        ("Speak like a pirate and begin with Arr.", "Always say Arr before you answer."),
        "Language: Pirate.",
        *_starting("Arr"),
    ),
)

_REMARKS = ("Now I set my sail.", "Now I look at my plant.", "Now I sing my song.", "Now I do my dance.")


def without_remark(reply: str) -> str:
    """The reply without what it says for the sake of a hobby."""
    for remark in _REMARKS:
        place = reply.lower().find(remark.lower().rstrip("."))
        if place >= 0:
            reply = reply[:place] + reply[place + len(remark) :]
    return reply


_WORDINGS = sorted(
    ((normalise(wording), style) for style in STYLES for wording in style.wordings),
    key=lambda pair: -len(pair[0]),
)


def fits(style: Style, task: WorldTask) -> bool:
    """Whether a good reply to the task can have the style: few words suffice only for short answers."""
    return style.name != "brief" or (
        task.check != "cover" and task.kind not in ("talk", "tell") and _is_brief(task.answer)
    )


def pick_style(dice: Dice, tasks: list[WorldTask]) -> Style:
    """A style that fits all the tasks."""
    return dice.pick([style for style in STYLES if all(fits(style, task) for task in tasks)])


def find_style(system: str) -> Style | None:
    """The style that a system message asks for, if any."""
    text = normalise(system)
    return next((style for wording, style in _WORDINGS if wording in text), None)


def split_style(prompt: str) -> tuple[Style | None, str]:
    """A user message parted into the style instruction that it begins with, if any, and the rest."""
    text = " ".join(prompt.split())
    for wording, style in _WORDINGS:
        if text.lower().startswith(wording) and len(text) > len(wording) + 1:
            return style, text[len(wording) :].lstrip(" .!:")
    return None, text
