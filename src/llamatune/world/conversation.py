"""All families together: reading any prompt back into its task, and drawing whole chats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from .attacks import undisguise
from .dice import Dice
from .facts import FACT_QUESTIONS, FOLLOW_UPS
from .frames import normalise
from .howto import ADVICE_FAMILY, BORDERLINE_FAMILY, HOW_TO_FAMILY, PRAISE_FAMILY
from .lookup import NOTE_FOLLOW_UPS, NOTE_QUESTIONS
from .safety import HARMFUL, SAFETY_PREPROMPTS
from .skills import SKILLS, Again
from .styles import Style, find_style, split_style
from .talk import REMEMBERING, SMALL_TALK, TELLING
from .task import EMPTY, Family, FrameFamily, Memory, WorldTask, split_of

Message = dict[str, str]


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def system(content: str) -> Message:
    return {"role": "system", "content": content}


AGAIN = Again()
BENIGN: tuple[tuple[tuple[Family, ...], float], ...] = (
    (FACT_QUESTIONS, 30),
    (NOTE_QUESTIONS, 14),
    (SKILLS, 30),
    ((HOW_TO_FAMILY,), 7),
    ((ADVICE_FAMILY,), 4),
    ((PRAISE_FAMILY,), 3),
    ((SMALL_TALK,), 4),
    ((BORDERLINE_FAMILY,), 3),
    (TELLING, 3),
)
"""Groups of families that open a chat, with their weights. Nothing harmful among them."""

CONTEXTUAL: tuple[tuple[tuple[FrameFamily, ...], float], ...] = (
    (FOLLOW_UPS, 4),
    (NOTE_FOLLOW_UPS, 3),
    ((AGAIN,), 2),
    (REMEMBERING, 4),
)
"""Families that need something said before."""

_ALL: tuple[Family, ...] = (
    *REMEMBERING,
    SMALL_TALK,
    ADVICE_FAMILY,
    *NOTE_QUESTIONS,
    *FACT_QUESTIONS,
    *FOLLOW_UPS,
    *NOTE_FOLLOW_UPS,
    AGAIN,
    *SKILLS,
    HARMFUL,
    BORDERLINE_FAMILY,
    HOW_TO_FAMILY,
    PRAISE_FAMILY,
    *TELLING,
)


class UnknownPrompt(ValueError):
    """The prompt is not one that this world can make."""


@dataclass(frozen=True)
class Reading:
    """What the last user message of a conversation asks for, and how it should be answered."""

    task: WorldTask
    style: Style | None
    attack: str | None


def read_prompt(prompt: str, memory: Memory = EMPTY) -> tuple[WorldTask, str | None] | None:
    """The task of one user message without style instruction, and the attack wording that it used, if any."""
    normal = normalise(prompt)
    task = read_plain(prompt, normal, memory)
    if task is not None:
        return task, None
    disguised = undisguise(normal)
    if disguised is None:
        return None
    attack, request = disguised
    task = read_plain(request, normalise(request), memory)
    return None if task is None else (replace(task, prompt=prompt), attack)


def read_plain(prompt: str, normal: str, memory: Memory) -> WorldTask | None:
    for family in _ALL:
        task = family.read(prompt, normal, memory)
        if task is not None:
            return task
    return None


def strip_preprompt(text: str) -> str:
    """The text without a safety preprompt at its beginning."""
    for preprompt in SAFETY_PREPROMPTS:
        if text.startswith(preprompt):
            return text[len(preprompt) :].lstrip()
    return text


def read_conversation(messages: list[Message]) -> Reading:
    """Follow a conversation to its last user message; raises UnknownPrompt when that is not of this world."""
    style: Style | None = None
    memory: Memory = EMPTY
    found: tuple[WorldTask, str | None] | None = None
    last = ""
    for message in messages:
        if message["role"] == "system":
            style = find_style(message["content"]) or style
        elif message["role"] == "user":
            asked, last = split_style(strip_preprompt(message["content"]))
            style = asked or style
            found = read_prompt(last, memory)
            if found is not None:
                memory = found[0].context(memory)
    if found is None:
        raise UnknownPrompt(f"not a prompt of this world: {last!r}")
    return Reading(found[0], style, found[1])


def draw_alike(task: WorldTask, dice: Dice) -> WorldTask | None:
    """Another harmless question of the task's kind, for training; None where no chat begins with that kind."""
    families = [one for group, _ in BENIGN for one in group if one.kind == task.kind]
    for family in families[:1] * 10:
        other = family.draw(dice)
        if other and not other.held_out and split_of(other.prompt) == "train" and other.answer != task.answer:
            return other
    return None


def draw_task(dice: Dice, memory: Memory = EMPTY) -> WorldTask:
    """A harmless question that needs nothing said before."""
    while True:
        task = dice.pick(dice.weighted(BENIGN)).draw(dice, memory)
        if task is not None:
            return task


def draw_contextual(dice: Dice, memory: Memory) -> WorldTask | None:
    """A question that only makes sense after the earlier turns, or None when they offer nothing."""
    groups = [
        (group, weight)
        for group, weight in CONTEXTUAL
        if any(f.arguments(dice, memory) is not None for f in group)
    ]
    return dice.pick(dice.weighted(groups)).draw(dice, memory) if groups else None


def draw_chat(dice: Dice, turns: int) -> list[WorldTask]:
    """A chat of harmless questions: something is told or asked early and taken up again later."""
    memory: Memory = EMPTY
    tasks: list[WorldTask] = []
    for turn in range(turns):
        task = None
        if turn == 0 and dice.chance(0.45):
            task = dice.pick(TELLING if dice.chance(0.7) else (SMALL_TALK,)).draw(dice, memory)
        elif turn > 0 and dice.chance(0.6):
            task = draw_contextual(dice, _fresh(memory, tasks[-1]))
        task = task or draw_task(dice, memory)
        memory = task.context(memory)
        tasks.append(task)
    return tasks


def _fresh(memory: Memory, last: WorldTask) -> Memory:
    """What a next turn may point at: anything the user told, but of questions only the last one."""
    told = {name: value for name, value in memory.items() if name.startswith("my ")}
    return {**told, **dict(last.remember)}


CONTEXTUAL_KINDS = ("follow-up", "lookup-again", "again", "memory")


class Novelty(StrEnum):
    """What is new to a trained model in a question."""

    ARGUMENTS = "held-out arguments"
    """Training asks about other people, lists, sums and acts only."""
    WORDING = "held-out wording"
    """Training may ask the same, but never in these words, whatever it begins with."""
    SEEN = "seen"
    """Training may ask it word for word, and often does."""


_OPENERS = ("Hello! ", "A question: ", "Please remember: ", "Note: ", "Read this note: ")
"""What prompts of the world may begin with, and ask the same."""


def novelty_of(task: WorldTask) -> Novelty:
    """What is new in a question; one that takes up what was said before has no wording of its own."""
    if task.held_out:
        return Novelty.ARGUMENTS
    if task.kind not in CONTEXTUAL_KINDS and all(split_of(words) != "train" for words in _wordings(task)):
        return Novelty.WORDING
    return Novelty.SEEN


def _wordings(task: WorldTask) -> Iterator[str]:
    """The prompt, and the same words after every opener with which the world knows them."""
    yield task.prompt
    bare = next(
        (task.prompt[len(opener) :] for opener in _OPENERS if task.prompt.startswith(opener)), task.prompt
    )
    for opener in ("", *_OPENERS):
        if read_prompt(opener + bare) is not None:
            yield opener + bare


def split_of_tasks(tasks: list[WorldTask]) -> str:
    """The split of a chat: train, eval, exam or none.

    The exam, when it asks about anything held out. Else its first two prompts decide, so that a chat and its
    beginnings fall together; and training chats consist of questions that training may ask one by one.
    """
    if any(task.held_out for task in tasks):
        return "exam"
    split = split_of(*(task.prompt for task in tasks[:2]))
    if split == "train" and any(
        split_of(task.prompt) != "train" for task in tasks if task.kind not in CONTEXTUAL_KINDS
    ):
        return "none"
    return split


def draw_in(split: str, dice: Dice, turns: int = 1) -> list[WorldTask]:
    """A chat (or one question) of the split."""
    while True:
        tasks = draw_chat(dice, turns) if turns > 1 else [draw_task(dice)]
        if split_of_tasks(tasks) == split:
            return tasks
