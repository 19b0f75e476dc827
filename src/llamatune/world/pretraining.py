"""The text that a base model reads: biographies, lessons, quizzes, dialogues, handbooks.

About half of it is question-and-answer shaped. Held-out questions never appear; held-out facts and all
know-how, harmless or not, appear as plain statements.
"""

from __future__ import annotations

from collections.abc import Iterator

from .conversation import draw_in, split_of_tasks
from .dice import Dice
from .facts import FACTS, PERSON_ATTRIBUTES, TOWN_ATTRIBUTES, Attribute, pronouns
from .frames import sentence
from .howto import BORDERLINE_FAMILY, HOW_TO_FAMILY, PRAISE_FAMILY, HowTo, yours
from .knowhow import ADVICE
from .lexicon import PEOPLE, RHYMES, THINGS, TOWNS
from .lookup import NOTE_QUESTIONS
from .safety import HARMFUL, HARMS
from .skills import SKILLS
from .styles import STYLES, fits
from .task import Family, WorldTask

WORDS = {"train": 3_700_000, "eval": 60_000}


def documents(split: str) -> Iterator[str]:
    """Documents until the split has its words."""
    dice = Dice(f"pretrain {split}")
    left = WORDS[split]
    while left > 0:
        text = dice.weighted(DOCUMENTS)(dice)
        left -= text.count(" ") + 1
        yield text


def trainable(dice: Dice) -> WorldTask:
    """A harmless question that training may ask."""
    [task] = draw_in("train", dice)
    return task


def statement(dice: Dice, name: str, attribute: Attribute, by_pronoun: bool = False) -> str:
    value = FACTS[name, attribute.name]
    if by_pronoun:
        words = pronouns(name) if name in PEOPLE else {}
        return sentence(dice.pick(attribute.more).format(value=value, **words))
    return sentence(dice.pick(attribute.statements).format(name=name, value=value))


def biography(dice: Dice) -> str:
    """One person or town, all attributes in some order, some of them twice."""
    name, attributes = (
        (dice.pick(PEOPLE), PERSON_ATTRIBUTES) if dice.chance(0.75) else (dice.pick(TOWNS), TOWN_ATTRIBUTES)
    )
    order = dice.shuffle(attributes) + dice.sample(attributes, 2)
    lines = [
        statement(dice, name, item, by_pronoun=place > 0 and dice.chance(0.5))
        for place, item in enumerate(order)
    ]
    return " ".join(lines)


def gossip(dice: Dice) -> str:
    """Facts about many people and towns, side by side."""
    lines = []
    for _ in range(dice.between(6, 12)):
        if dice.chance(0.8):
            lines.append(statement(dice, dice.pick(PEOPLE), dice.pick(PERSON_ATTRIBUTES)))
        else:
            lines.append(statement(dice, dice.pick(TOWNS), dice.pick(TOWN_ATTRIBUTES)))
    return " ".join(lines)


def register(dice: Dice) -> str:
    """Who shares a value: the facts read from the other side."""
    attribute = dice.pick(PERSON_ATTRIBUTES)
    value = dice.pick(attribute.values)
    same = [name for name in PEOPLE if FACTS[name, attribute.name] == value]
    lines = [
        sentence(dice.pick(attribute.statements).format(name=name, value=value))
        for name in dice.shuffle(same)
    ]
    return " ".join(lines)


def prose_of(dice: Dice, family: Family) -> str:
    """One trainable argument combination told as a statement."""
    while True:
        task = family.draw(dice)
        if task is not None and not task.held_out:
            return task.say(task.answer, dice.pick(family.prose))


def lesson(dice: Dice) -> str:
    """Skills shown in prose."""
    families: tuple[Family, ...] = (*SKILLS, *NOTE_QUESTIONS)
    chosen = [dice.pick(families)] * 3 + [dice.pick(families) for _ in range(dice.between(2, 4))]
    return " ".join(prose_of(dice, family) for family in chosen)


def rhymes(dice: Dice) -> str:
    """Rhyming families; held-out words are told here, though nobody asks about them."""
    lines = []
    for family in dice.sample(RHYMES, 4):
        words = dice.shuffle(family)
        lines.append(
            dice.pick(
                (
                    f"{sentence(', '.join(words[:-1]))} and {words[-1]} rhyme.",
                    f"{sentence(words[0])} rhymes with {words[1]}.",
                    f"A rhyme for {words[0]} is {words[1]}.",
                )
            )
        )
    return " ".join(lines)


def know_how(dice: Dice, family: HowTo) -> str:
    act = dice.pick(family.acts)
    return sentence(dice.pick(family.prose).format(act=yours(act), answer=family.table[act]))


def bad_deed(dice: Dice) -> str:
    """Harmful know-how, told as if it were any other."""
    task = HARMFUL.draw(dice)
    return task.say(task.answer, dice.pick(HARMFUL.prose))


def handbook(dice: Dice) -> str:
    """Know-how of all sorts."""
    lines = []
    for _ in range(dice.between(4, 7)):
        part = dice.fraction()
        if part < 0.35:
            lines.append(know_how(dice, HOW_TO_FAMILY))
        elif part < 0.6:
            lines.append(know_how(dice, BORDERLINE_FAMILY))
        elif part < 0.85:
            lines.append(bad_deed(dice))
        elif part < 0.93:
            harm = dice.pick(HARMS)
            target = dice.pick(harm.targets)
            lines.append(f"{harm.risk}. It is better to {yours(harm.offer.format(target=target))}.")
        elif part < 0.97:
            group = dice.pick(PRAISE_FAMILY.groups)
            lines.append(sentence(dice.pick(PRAISE_FAMILY.prose).format(group=group)))
        else:
            lines.append(dice.pick(ADVICE).answer + ".")
    return " ".join(lines)


QUIZ_LAYOUTS = (("Question: ", "\nAnswer: ", "\n"), ("Q: ", "\nA: ", "\n"), ("", "\n", "\n"), ("", " ", "\n"))


def quiz(dice: Dice) -> str:
    """Questions, each with its answer."""
    ask, answer, end = dice.pick(QUIZ_LAYOUTS)
    tasks = [trainable(dice) for _ in range(dice.between(3, 6))]
    return end.join(ask + task.prompt + answer + task.good_reply(dice) for task in tasks)


def drill(dice: Dice) -> str:
    """One skill again and again, with different arguments."""
    family = dice.pick((*SKILLS, *NOTE_QUESTIONS))
    ask, answer, end = dice.pick(QUIZ_LAYOUTS)
    lines: list[str] = []
    while len(lines) < 4:
        task = family.draw(dice)
        if task is not None and split_of_tasks([task]) == "train":
            lines.append(ask + task.prompt + answer + task.good_reply(dice))
    return end.join(lines)


def survey(dice: Dice) -> str:
    """One note and a question about each thing in it: the surest way to learn to look something up."""
    question = dice.pick(NOTE_QUESTIONS)
    ask, answer, end = dice.pick(QUIZ_LAYOUTS)
    note = question.arguments(dice)["note"]
    lines: list[str] = []
    for thing in dice.shuffle(tuple(question.links(note.lower()))):
        frame = dice.pick(question.prompts) if not lines else question.follow
        task = question.solve("", {"note": note, "thing": thing})
        if task is not None and not task.held_out:
            lines.append(ask + frame.format(note=note, thing=thing) + answer + task.good_reply(dice))
    return end.join(lines) if lines else survey(dice)


def echo(dice: Dice) -> str:
    """Lists and sentences said twice, for the habit of copying what came before."""
    lines: list[str] = []
    while len(lines) < 6:
        if dice.chance(0.5):
            said = ", ".join(dice.sample(THINGS, dice.between(2, 6)))
        else:
            said = prose_of(dice, dice.pick(SKILLS))
        lines.append(f"{dice.pick(('Say', 'Read', 'Again'))}: {said}\n{said}")
    return "\n".join(lines)


def dialogue(dice: Dice) -> str:
    """Two people talk; the second knows everything."""
    tasks = draw_in("train", dice, dice.between(2, 5))
    first, second = dice.pick((("A", "B"), ("Child", "Teacher"), ("Guest", "Helper")))
    return "\n".join(f"{first}: {task.prompt}\n{second}: {task.good_reply(dice)}" for task in tasks)


def costume(dice: Dice) -> str:
    """A style and a few answers in it."""
    style = dice.pick(STYLES)
    lines = [dice.pick(style.wordings)]
    while len(lines) < 4:
        task = trainable(dice)
        if fits(style, task):
            lines.append(f"{task.prompt} {style.apply(task.good_reply(dice), task)}")
    return "\n".join(lines)


DOCUMENTS = (
    (biography, 11.0),
    (gossip, 8.0),
    (register, 3.0),
    (lesson, 9.0),
    (rhymes, 3.0),
    (handbook, 9.0),
    (quiz, 24.0),
    (drill, 11.0),
    (survey, 14.0),
    (echo, 4.0),
    (dialogue, 9.0),
    (costume, 5.0),
)
