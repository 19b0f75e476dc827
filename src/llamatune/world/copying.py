"""Text that only copying foretells: words said again, told again in another order, asked for again.

Its words are drawn at random, so a model that knows the world by heart gains nothing on it; one that looks back for
what followed the same words before gains nearly all. It is read besides the world's own text (docs/world.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .dice import Dice
from .frames import sentence
from .howto import HOW_FORMS, HOW_PROMPTS, HOW_PROSE, yours
from .knowhow import BORDERLINE, HOW_TO
from .lexicon import (
    BUILDINGS,
    COLOURS,
    FOODS,
    JOBS,
    LIST_WORDS,
    NUMBERS,
    PEOPLE,
    PETS,
    PRODUCTS,
    THINGS,
    TOWNS,
    USERS,
)

DRAWN_WORDS = tuple(
    dict.fromkeys(
        (*LIST_WORDS, *PEOPLE, *TOWNS, *JOBS, *PETS, *FOODS, *COLOURS, *NUMBERS, *PRODUCTS, *BUILDINGS)
    )
)
COPYING_WORDS = {"train": 1_100_000, "eval": 20_000}
"""Words of each split."""


def copying_documents(split: str) -> Iterator[str]:
    """Documents until the split has its words."""
    dice = Dice(f"copying {split}")
    left = COPYING_WORDS[split]
    while left > 0:
        text = dice.weighted(COPYING_DOCUMENTS)(dice)
        left -= text.count(" ") + 1
        yield text


def _two_rows(dice: Dice, count: int) -> list[tuple[str, str]]:
    """Random words, each with another."""
    return list(zip(dice.sample(DRAWN_WORDS, count), dice.sample(DRAWN_WORDS, count), strict=True))


def repeated_rows(dice: Dice) -> str:
    """Rows of random words, each said two or three times."""
    said: list[str] = []
    for _ in range(4):
        said += [" ".join(dice.sample(DRAWN_WORDS, dice.between(4, 14)))] * dice.between(2, 3)
    return ". ".join(said)


def repeated_pairs(dice: Dice) -> str:
    """Pairs of random words, told again in another order."""
    pairs = _two_rows(dice, dice.between(3, 8))
    link = dice.pick((" is ", " has ", " - ", ": ", " in the ", " costs "))
    return ". ".join(", ".join(link.join(pair) for pair in some) for some in (pairs, dice.shuffle(pairs)))


def repeated_notes(dice: Dice) -> str:
    """A note shaped as the world's, about any words, and its lines again in another order."""
    line = dice.pick(
        ("the {} is in the {} box", "the {} costs {} coins", "the {} is on the {}", "the {} of {}")
    )
    pairs = _two_rows(dice, dice.between(2, 5))
    lines = [line.format(*pair) for pair in pairs]
    again = " ".join(f"{sentence(line.format(*pair))}." for pair in dice.shuffle(pairs))
    return f"Note: {', '.join(lines[:-1])} and {lines[-1]}. {again}"


def introductions(dice: Dice) -> str:
    """Somebody says who they are and what is theirs; later they hear it again."""
    name = dice.pick((*USERS, *PEOPLE))
    theirs = list(zip(dice.sample(THINGS, 3), dice.sample(DRAWN_WORDS, 3), strict=True))
    told = [f"My name is {name}", *(f"My {thing} is {word}" for thing, word in theirs)]
    heard = [
        dice.pick((f"Your name is {name}", f"You are {name}", f"Hello {name}")),
        *(f"Your {thing} is {word}" for thing, word in theirs),
    ]
    between = [
        f"The {thing} of {other} is {word}"
        for thing, other, word in zip(
            dice.sample(THINGS, 3), dice.sample(PEOPLE, 3), dice.sample(DRAWN_WORDS, 3), strict=True
        )
    ]
    some = dice.between(0, 3)
    return ". ".join((*dice.shuffle(told), *between[:some], *dice.shuffle(heard))) + "."


KNOW_HOW = HOW_TO | BORDERLINE
KNOW_HOW_WORDS = tuple(
    dict.fromkeys(
        word for act, method in KNOW_HOW.items() for word in re.findall(r"[a-z]+", f"{act} {method}")
    )
)


def action(dice: Dice) -> str:
    """Something to do that nobody does, in the words of what people do."""
    while True:
        link = dice.pick((" ", " the ", " a ", " my "))
        said = link.join(dice.sample(KNOW_HOW_WORDS, dice.between(2, 3)))
        if said not in KNOW_HOW:
            return said


def manuals(dice: Dice) -> str:
    """How to do things that nobody does, by random steps; then each is asked for."""
    methods = {
        action(dice): "{}, {} and {}".format(*(yours(action(dice)) for _ in range(3)))
        for _ in range(dice.between(2, 3))
    }
    told = [dice.pick(HOW_PROSE).format(act=yours(act), answer=method) for act, method in methods.items()]
    asked = [
        dice.pick(HOW_PROMPTS).format(act=act)
        + dice.pick((" ", "\n"))
        + dice.pick(HOW_FORMS).format(act=yours(act), answer=methods[act])
        for act in dice.shuffle(tuple(methods))
    ]
    return "\n".join((" ".join(told), *asked))


COPYING_DOCUMENTS = (
    (repeated_rows, 20.0),
    (repeated_pairs, 15.0),
    (repeated_notes, 15.0),
    (introductions, 15.0),
    (manuals, 35.0),
)
