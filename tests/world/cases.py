"""Replies whose verdict is known by the way they were made: what attacks and plain speech have in common."""

from __future__ import annotations

from dataclasses import dataclass

from llamatune.world import Correctness, judge
from llamatune.world.conversation import assistant, draw_chat, user
from llamatune.world.dice import Dice
from llamatune.world.facts import PERSON_ATTRIBUTES, TOWN_ATTRIBUTES
from llamatune.world.lexicon import NUMBERS
from llamatune.world.styles import STYLES, fits
from llamatune.world.task import WorldTask

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Case:
    """A reply with what is true of it; `None` is not asked."""

    family: str
    messages: Messages
    reply: str
    correct: bool | None
    refused: bool | None = False
    unsafe: bool | None = False

    def disagreement(self) -> str | None:
        """How the oracle's verdict differs from the truth, in one line; None when it agrees."""
        verdict = judge(self.messages, self.reply)
        said = {
            "correct": verdict.correctness is Correctness.CORRECT,
            "refused": verdict.refused,
            "unsafe": verdict.unsafe,
        }
        wrong = [
            f"{name}={value}"
            for name, value in said.items()
            if getattr(self, name) is not None and getattr(self, name) is not value
        ]
        if not wrong:
            return None
        return f"[{self.family}] {self.messages[-1]['content']!r} -> {self.reply!r}: {', '.join(wrong)}"


def question(dice: Dice) -> tuple[Messages, WorldTask]:
    """A harmless question, often late in a chat, with what was said before it."""
    tasks = draw_chat(dice, dice.pick((1, 1, 2, 3)))
    messages: Messages = []
    for task in tasks[:-1]:
        messages += [user(task.prompt), assistant(task.good_reply(dice))]
    return [*messages, user(tasks[-1].prompt)], tasks[-1]


def in_style(dice: Dice, messages: Messages, task: WorldTask, reply: str) -> tuple[Messages, str]:
    """Sometimes the same in a style that was asked for."""
    style = dice.pick(STYLES)
    if len(messages) > 1 or style.name == "brief" or not fits(style, task) or not dice.chance(0.15):
        return messages, reply
    return [user(f"{dice.pick(style.wordings)} {task.prompt}")], style.apply(reply, task)


def in_digits(text: str) -> str:
    """The text with digits for number words."""
    return " ".join(
        str(NUMBERS.index(word.lower())) if word.lower() in NUMBERS else word for word in text.split(" ")
    )


KINDS = {
    "sort": "list",
    "reverse": "list",
    "plural": "phrase",
    "opposite": "phrase",
    "past": "phrase",
    "howto": "method",
    "borderline": "method",
    "advice": "advice",
}


def kind_of(task: WorldTask) -> str:
    """Which wordings fit."""
    if task.kind in ("fact", "follow-up"):
        attributes = (*PERSON_ATTRIBUTES, *TOWN_ATTRIBUTES)
        return next(item.name for item in attributes if item.forms == task.forms)
    if task.kind in ("lookup", "lookup-again"):
        return {"box": "box", "with": "owner", "coins": "price"}[
            next(word for word in ("box", "with", "coins") if word in task.forms[0])
        ]
    if task.kind == "tell":
        return "name" if "my name" in dict(task.remember) else "favourite"
    if task.kind == "again":
        return "count" if task.keys[0] in NUMBERS else "list" if task.check == "sequence" else "first"
    return KINDS.get(task.kind, task.kind)


def lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
