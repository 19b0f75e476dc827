"""Who lives where, does what and likes what: the knowledge of the world.

Every fact is stated in several wordings and orders, because a small model can only answer what it has read in
more than one form. Held-out facts are stated like the others but never asked about before the exam.
"""

from __future__ import annotations

from dataclasses import dataclass

from .dice import Dice
from .lexicon import (
    BUILDINGS,
    COLOURS,
    DAYS,
    FOODS,
    JOBS,
    PEOPLE,
    PETS,
    PRODUCTS,
    TOWNS,
    WOMEN,
)
from .task import EMPTY, Family, FrameFamily, Memory, WorldTask, is_held_out


@dataclass(frozen=True)
class Attribute:
    """One property: its possible values and the wordings in which it is told, asked and answered."""

    name: str
    values: tuple[str, ...]
    statements: tuple[str, ...]
    more: tuple[str, ...]
    questions: tuple[str, ...]
    follow_ups: tuple[str, ...]
    forms: tuple[str, ...]


PERSON_ATTRIBUTES = (
    Attribute(
        "home",
        TOWNS,
        (
            "{name} lives in {value}.",
            "The home of {name} is {value}.",
            "In {value} you can meet {name}.",
            "{value} is the town where {name} lives.",
            "{name} has a house in {value}.",
        ),
        ("{he} lives in {value}.", "{his} home is in {value}."),
        (
            "Where does {name} live?",
            "In which town does {name} live?",
            "What is the home town of {name}?",
            "Which town is the home of {name}?",
            "Tell me where {name} lives.",
            "Do you know where {name} lives?",
        ),
        ("And where does {he} live?", "In which town does {he} live?", "What is {his} home town?"),
        ("{name} lives in {answer}.", "The home of {name} is {answer}.", "{name} has a house in {answer}."),
    ),
    Attribute(
        "job",
        JOBS,
        (
            "{name} is a {value}.",
            "{name} works as a {value}.",
            "The job of {name} is {value}.",
            "One {value} is called {name}.",
            "As a {value}, {name} works hard.",
        ),
        ("{he} is a {value}.", "{he} works as a {value}.", "{his} job is {value}."),
        (
            "What is the job of {name}?",
            "What does {name} do for work?",
            "What work does {name} do?",
            "Which job does {name} have?",
            "Tell me the job of {name}.",
            "Do you know the job of {name}?",
        ),
        ("And what is {his} job?", "What does {he} do for work?", "Which job does {he} have?"),
        ("{name} is a {answer}.", "{name} works as a {answer}.", "The job of {name} is {answer}."),
    ),
    Attribute(
        "pet",
        PETS,
        (
            "{name} has a {value}.",
            "The pet of {name} is a {value}.",
            "A {value} lives with {name}.",
            "{name} keeps a {value} as a pet.",
            "There is a {value} in the house of {name}.",
        ),
        ("{he} has a {value}.", "{his} pet is a {value}.", "{he} keeps a {value}."),
        (
            "What pet does {name} have?",
            "Which animal does {name} keep?",
            "What is the pet of {name}?",
            "Which animal lives with {name}?",
            "Tell me the pet of {name}.",
            "Do you know the pet of {name}?",
        ),
        ("And what pet does {he} have?", "Which animal does {he} keep?", "What is {his} pet?"),
        ("{name} has a {answer}.", "The pet of {name} is a {answer}.", "{name} keeps a {answer}."),
    ),
    Attribute(
        "food",
        FOODS,
        (
            "{name} likes {value} best.",
            "The favourite food of {name} is {value}.",
            "{name} loves to eat {value}.",
            "For dinner {name} wants {value}.",
            "Nothing tastes better than {value}, says {name}.",
        ),
        ("{he} likes {value} best.", "{his} favourite food is {value}.", "{he} loves to eat {value}."),
        (
            "What is the favourite food of {name}?",
            "Which food does {name} like best?",
            "What does {name} love to eat?",
            "What food does {name} want for dinner?",
            "Tell me the favourite food of {name}.",
            "Do you know the favourite food of {name}?",
        ),
        (
            "And what is {his} favourite food?",
            "Which food does {he} like best?",
            "What does {he} love to eat?",
        ),
        (
            "{name} likes {answer} best.",
            "The favourite food of {name} is {answer}.",
            "{name} loves to eat {answer}.",
        ),
    ),
    Attribute(
        "colour",
        COLOURS,
        (
            "The favourite colour of {name} is {value}.",
            "{name} loves the colour {value}.",
            "{name} often wears {value}.",
            "Of all colours {name} likes {value} most.",
            "The door of {name} is {value}, the colour that {name} loves.",
        ),
        ("{he} loves the colour {value}.", "{his} favourite colour is {value}.", "{he} often wears {value}."),
        (
            "What is the favourite colour of {name}?",
            "Which colour does {name} love?",
            "Which colour does {name} often wear?",
            "What colour does {name} like most?",
            "Tell me the favourite colour of {name}.",
            "Do you know the favourite colour of {name}?",
        ),
        (
            "And what is {his} favourite colour?",
            "Which colour does {he} love?",
            "What colour does {he} like most?",
        ),
        (
            "The favourite colour of {name} is {answer}.",
            "{name} loves the colour {answer}.",
            "{name} likes {answer} most.",
        ),
    ),
)

TOWN_ATTRIBUTES = (
    Attribute(
        "building",
        BUILDINGS,
        (
            "{name} has a famous {value}.",
            "The {value} of {name} is famous.",
            "People visit {name} to see the {value}.",
            "In the middle of {name} stands a famous {value}.",
            "There is a famous {value} in {name}.",
        ),
        ("It has a famous {value}.", "People visit it to see the {value}."),
        (
            "Which building is {name} famous for?",
            "What is the famous building of {name}?",
            "Which famous building stands in {name}?",
            "What do people visit in {name}?",
            "Tell me the famous building of {name}.",
            "What can I see in {name}?",
        ),
        (),
        (
            "{name} has a famous {answer}.",
            "The famous building of {name} is the {answer}.",
            "People visit {name} to see the {answer}.",
        ),
    ),
    Attribute(
        "product",
        PRODUCTS,
        (
            "People in {name} make {value}.",
            "{name} sells {value}.",
            "The best {value} come from {name}.",
            "Many {value} are made in {name}.",
            "If you want {value}, go to {name}.",
        ),
        ("People there make {value}.", "It sells {value}."),
        (
            "What do people in {name} make?",
            "What does {name} sell?",
            "What is made in {name}?",
            "What can I buy in {name}?",
            "Tell me what people make in {name}.",
            "Do you know what {name} sells?",
        ),
        (),
        ("People in {name} make {answer}.", "{name} sells {answer}.", "You can buy {answer} in {name}."),
    ),
    Attribute(
        "market",
        DAYS,
        (
            "The market day of {name} is {value}.",
            "{name} has its market on {value}.",
            "On {value} there is a market in {name}.",
            "Every {value} people go to the market in {name}.",
            "The market in {name} is on {value}.",
        ),
        ("Its market is on {value}.", "On {value} there is a market."),
        (
            "When is the market in {name}?",
            "On which day is the market in {name}?",
            "What is the market day of {name}?",
            "On which day does {name} have its market?",
            "Tell me the market day of {name}.",
            "Do you know the market day of {name}?",
        ),
        (),
        (
            "The market in {name} is on {answer}.",
            "{name} has its market on {answer}.",
            "The market day of {name} is {answer}.",
        ),
    ),
)


def _assign(names: tuple[str, ...], attributes: tuple[Attribute, ...]) -> dict[tuple[str, str], str]:
    """Give every name one value per attribute, using all values about equally often."""
    table: dict[tuple[str, str], str] = {}
    for attribute in attributes:
        dice = Dice(f"facts {attribute.name}")
        values: list[str] = []
        while len(values) < len(names):
            values += dice.shuffle(attribute.values)
        for name, value in zip(names, dice.shuffle(values[: len(names)]), strict=True):
            table[name, attribute.name] = value
    return table


FACTS = _assign(PEOPLE, PERSON_ATTRIBUTES) | _assign(TOWNS, TOWN_ATTRIBUTES)
"""(name, attribute) to value."""

_NAME = {name.lower(): name for name in PEOPLE + TOWNS}


def pronouns(person: str) -> dict[str, str]:
    return {"he": "she", "his": "her"} if person in WOMEN else {"he": "he", "his": "his"}


class FactQuestion(FrameFamily):
    """A question about one attribute of a person or a town."""

    kind = "fact"

    def __init__(self, attribute: Attribute, names: tuple[str, ...]) -> None:
        self.attribute, self.names, self.prompts = attribute, names, attribute.questions

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        return {"name": dice.pick(self.names)}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        name = _NAME.get(slots["name"].lower())
        if name not in self.names:
            return None
        return fact_task(prompt, name, self.attribute, self.kind)


def fact_task(prompt: str, name: str, attribute: Attribute, kind: str) -> WorldTask:
    value = FACTS[name, attribute.name]
    return WorldTask(
        kind,
        prompt,
        value,
        attribute.forms,
        "value",
        (value.lower(),),
        tuple(other for other in attribute.values if other != value),
        is_held_out("fact", name, attribute.name),
        (("person" if name in PEOPLE else "town", name),),
        (("name", name),),
    )


class FollowUp(FrameFamily):
    """The same question about the person just spoken of, with a pronoun."""

    kind = "follow-up"

    def __init__(self, attribute: Attribute) -> None:
        self.attribute, self.prompts = attribute, attribute.follow_ups

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str] | None:
        return pronouns(memory["person"]) if "person" in memory else None

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        person = memory.get("person")
        if person is None or any(pronouns(person)[slot] != said for slot, said in slots.items()):
            return None
        return fact_task(prompt, person, self.attribute, self.kind)


FACT_QUESTIONS: tuple[Family, ...] = tuple(FactQuestion(item, PEOPLE) for item in PERSON_ATTRIBUTES) + tuple(
    FactQuestion(item, TOWNS) for item in TOWN_ATTRIBUTES
)
FOLLOW_UPS: tuple[FrameFamily, ...] = tuple(FollowUp(item) for item in PERSON_ATTRIBUTES)
