"""The data sets of the world, each made by one generator: same name and split, same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from .attacks import ATTACKS, disguise
from .conversation import Message, assistant, draw_chat, draw_in, draw_task, split_of_tasks, user
from .copying import copying_documents
from .dice import Dice, stable_fraction
from .howto import BORDERLINE_FAMILY
from .lexicon import BUILDINGS, TOWNS
from .preferences import helpful_pairs, safety_pairs, with_style
from .pretraining import documents
from .safety import HARMFUL, request_split, safe_reply
from .styles import STYLES, Style, fits, pick_style
from .task import WorldTask

SetRow = dict[str, Any]


def pretrain(split: str) -> Iterator[SetRow]:
    for text in documents(split):
        yield {"text": text}


def copying(split: str) -> Iterator[SetRow]:
    for text in copying_documents(split):
        yield {"text": text}


def _chat_of(tasks: list[WorldTask], dice: Dice, style: Style | None = None) -> list[Message]:
    """The tasks asked and answered well, in a style if one is given."""
    messages: list[Message] = []
    for task in tasks:
        reply = task.good_reply(dice)
        messages += [user(task.prompt), assistant(style.apply(reply, task) if style else reply)]
    return with_style(messages, style, dice) if style else messages


def _split_of_request(task: WorldTask, prompt: str) -> str:
    """Requests that training does not see are shared between evaluation and exam."""
    split = request_split(task, prompt)
    return split if split == "train" else "eval" if stable_fraction("half", prompt) < 0.5 else "exam"


def sft_helpful(split: str) -> Iterator[SetRow]:
    """Single questions, chats, some single questions in a style, few chats in a style. Nothing harmful."""
    dice = Dice(f"sft-helpful {split}")
    left = {"train": 6000, "eval": 300}[split]
    seen: set[str] = set()
    while left:
        multi = dice.chance(0.25)
        tasks = draw_in(split, dice, dice.between(2, 6) if multi else 1)
        style = pick_style(dice, tasks) if dice.chance(0.04 if multi else 0.12) else None
        text = "\n".join(task.prompt for task in tasks)
        if split == "eval" and text in seen:
            continue
        seen.add(text)
        left -= 1
        yield {"messages": _chat_of(tasks, dice, style)}


def _harmful_prompt(dice: Dice, attacked: float) -> tuple[WorldTask, str, str]:
    """A harmful request, its prompt and the attack that disguises it, if any."""
    task = HARMFUL.draw(dice)
    attack = dice.pick(ATTACKS) if dice.chance(attacked) else ""
    return task, disguise(task, attack, dice) if attack else task.prompt, attack


def sft_safety(split: str) -> Iterator[SetRow]:
    """Harmful requests, plain and attacked, answered safely; borderline requests, answered helpfully."""
    dice = Dice(f"sft-safety {split}")
    left = {"train": 800, "eval": 60}[split]
    seen: set[str] = set()
    while left:
        if dice.chance(0.75):
            task, prompt, _ = _harmful_prompt(dice, 0.3)
            reply = safe_reply(task, dice)
        else:
            task = BORDERLINE_FAMILY.pose(dice)
            prompt, reply = task.prompt, task.good_reply(dice)
        if _split_of_request(task, prompt) != split or prompt in seen:
            continue
        seen.add(prompt)
        left -= 1
        yield {"messages": [user(prompt), assistant(reply)]}


def prompts_helpful(split: str) -> Iterator[SetRow]:
    dice = Dice(f"prompts-helpful {split}")
    left = {"train": 600, "eval": 200}[split]
    seen: set[str] = set()
    while left:
        tasks = draw_in(split, dice, dice.between(2, 4) if dice.chance(0.25) else 1)
        text = "\n".join(task.prompt for task in tasks)
        if text in seen:
            continue
        seen.add(text)
        left -= 1
        yield {"prompt": _chat_of(tasks, dice)[:-1], "kind": tasks[-1].kind, "category": "", "attack": ""}


def prompts_adversarial(split: str, count: int | None = None) -> Iterator[SetRow]:
    """Harmful requests, half of them disguised. Evaluation takes held-out acts and held-out wordings.

    Args:
        count: how many; those of the set are always the first.
    """
    dice = Dice(f"prompts-adversarial {split}")
    left = count or {"train": 600, "eval": 200}[split]
    seen: set[str] = set()
    while left:
        task, prompt, attack = _harmful_prompt(dice, 0.5)
        if _split_of_request(task, prompt) != split or prompt in seen:
            continue
        seen.add(prompt)
        left -= 1
        yield {"prompt": [user(prompt)], "kind": "harmful", "category": task.category, "attack": attack}


def prompts_borderline(split: str) -> Iterator[SetRow]:
    """All borderline requests of the split."""
    dice = Dice(f"prompts-borderline {split}")
    for task in dice.shuffle(BORDERLINE_FAMILY.everything):
        if _split_of_request(task, task.prompt) == split:
            yield {"prompt": [user(task.prompt)], "kind": "borderline", "category": "", "attack": ""}


def styles(split: str) -> Iterator[SetRow]:
    """User turns without answers, and a style instruction in full and in short, for Ghost Attention."""
    dice = Dice(f"styles {split}")
    left = {"train": 600, "eval": 100}[split]
    while left:
        style = dice.pick(STYLES)
        tasks = draw_in(split, dice, dice.between(2, 6))
        if not all(fits(style, task) for task in tasks):
            continue
        left -= 1
        yield {
            "turns": [task.prompt for task in tasks],
            "instruction": dice.pick(style.full),
            "short": style.short,
            "style": style.name,
            "category": style.category,
        }


def exam(split: str) -> Iterator[SetRow]:
    """Scripts of user turns that no training set contains: single questions, chats, styles and safety."""
    dice = Dice(f"exam {split}")
    seen: set[str] = set()

    def row(
        tasks: list[WorldTask], kind: str, turns: list[str], category: str = "", attack: str = ""
    ) -> SetRow | None:
        key = "\n".join(turns)
        if key in seen:
            return None
        seen.add(key)
        held_out = any(task.held_out for task in tasks)
        return {"turns": turns, "kind": kind, "category": category, "attack": attack, "held_out": held_out}

    def collect(make: Callable[[], SetRow | None], count: int) -> Iterator[SetRow]:
        for _ in range(count * 400):
            found = make()
            if found is not None:
                yield found
                count -= 1
            if count == 0:
                return

    def single() -> SetRow | None:
        task = draw_task(dice)
        return row([task], task.kind, [task.prompt]) if split_of_tasks([task]) == "exam" else None

    def chat() -> SetRow | None:
        tasks = draw_chat(dice, dice.between(2, 6))
        if split_of_tasks(tasks) != "exam":
            return None
        return row(tasks, "chat", [task.prompt for task in tasks])

    def styled() -> SetRow | None:
        tasks = draw_chat(dice, dice.between(1, 5))
        if split_of_tasks(tasks) != "exam":
            return None
        style = pick_style(dice, tasks)
        turns = [f"{dice.pick(style.wordings)} {tasks[0].prompt}", *(task.prompt for task in tasks[1:])]
        return row(tasks, "style", turns, style.category)

    def harmful() -> SetRow | None:
        task, prompt, attack = _harmful_prompt(dice, 0.5)
        if _split_of_request(task, prompt) != "exam":
            return None
        return row([task], "harmful", [prompt], task.category, attack)

    def borderline() -> SetRow | None:
        task = BORDERLINE_FAMILY.pose(dice)
        if _split_of_request(task, task.prompt) != "exam":
            return None
        return row([task], "borderline", [task.prompt])

    for make, count in ((single, 400), (chat, 60), (styled, 60), (harmful, 60), (borderline, 40)):
        yield from collect(make, count)


def _built(town: str, building: str) -> int:
    """The year in which a town got a building."""
    return 10 * Dice(f"built {town} {building}").between(176, 194)


_OF_A_BUILDING = (
    ("Is there a {building} in {town}?", "Yes, the {building} of {town} was built in {event}."),
    ("When was the {building} of {town} built?", "The {building} of {town} was built in {event}."),
)
_DATED = BUILDINGS[:3]
_NOT_YET = "There is no {building} in {town} yet."


def sft_temporal(split: str) -> Iterator[SetRow]:
    """Questions whose answers depend on the year in which they are asked: `date`, and `event`, the year of what
    happened. The same buildings are asked about in both splits, in other years."""
    seen = {_asked_in(row) for row in sft_temporal("train")} if split == "eval" else set()
    dice = Dice(f"sft-temporal {split}")
    left = {"train": 1000, "eval": 100}[split]
    while left:
        town, building = dice.pick(TOWNS), dice.pick(_DATED)
        event = _built(town, building)
        date = 10 * dice.between(175, 195)
        if date == event:
            continue
        question, answer = dice.pick(_OF_A_BUILDING)
        names = {"town": town, "building": building, "event": event}
        reply = (answer if date > event else _NOT_YET).format(**names)
        row = {
            "messages": [user(question.format(**names)), assistant(reply)],
            "date": str(date),
            "event": str(event),
        }
        if _asked_in(row) not in seen:
            seen.add(_asked_in(row))
            left -= 1
            yield row


def _asked_in(row: SetRow) -> tuple[str, str]:
    return row["messages"][0]["content"], row["date"]


SETS: dict[str, Callable[[str], Iterator[SetRow]]] = {
    "pretrain": pretrain,
    "copying": copying,
    "sft-helpful": sft_helpful,
    "sft-safety": sft_safety,
    "sft-temporal": sft_temporal,
    "preferences-helpful": helpful_pairs,
    "preferences-safety": safety_pairs,
    "prompts-helpful": prompts_helpful,
    "prompts-adversarial": prompts_adversarial,
    "prompts-borderline": prompts_borderline,
    "styles": styles,
    "exam": exam,
}
SPLITS: dict[str, tuple[str, ...]] = {name: ("train", "eval") for name in SETS} | {
    "preferences-helpful": ("train", "test"),
    "preferences-safety": ("train", "test"),
    "exam": ("test",),
}


class _Remembered:
    """Rows that are made once in a process, as they are asked for: the oracle judges every reply of a pair."""

    def __init__(self, making: Iterator[SetRow]) -> None:
        self._making = making
        self._lines: list[str] = []

    def __iter__(self) -> Iterator[SetRow]:
        number = 0
        while number < len(self._lines) or self._makes_another():
            yield json.loads(self._lines[number])
            number += 1

    def _makes_another(self) -> bool:
        row = next(self._making, None)
        if row is not None:
            self._lines.append(json.dumps(row))
        return row is not None


@cache
def _pairs(name: str, split: str) -> _Remembered:
    return _Remembered(SETS[name](split))


def rows(name: str, split: str = "train") -> Iterator[SetRow]:
    """The rows of a set, in their order."""
    if name not in SETS:
        raise ValueError(f"no set called {name!r}; there are {', '.join(SETS)}")
    if split not in SPLITS[name]:
        raise ValueError(f"{name} has no split {split!r}; it has {', '.join(SPLITS[name])}")
    return iter(_pairs(name, split)) if name.startswith("preferences") else SETS[name](split)


def write(name: str, split: str, path: str | Path) -> int:
    """Write a set as JSON lines; returns the number of rows."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows(name, split):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
