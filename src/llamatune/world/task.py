"""What a prompt of the world asks for, and how one family of prompts is made and read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .dice import Dice, stable_fraction
from .frames import normalise, read_frame, sentence

HELD_OUT_SHARE = 0.15
"""Share of argument combinations that training never asks about."""

Memory = Mapping[str, str]
"""What is remembered of earlier turns: the user's name, the person spoken of, the list in hand."""

EMPTY: Memory = {}


def is_held_out(kind: str, *arguments: str, share: float = HELD_OUT_SHARE) -> bool:
    """Whether a combination of arguments is kept for the exam."""
    return stable_fraction("held-out", kind, *arguments) < share


def split_of(*texts: str) -> str:
    """The split to which prompts belong by their text alone: train, eval or exam."""
    point = stable_fraction("split", *(normalise(text) for text in texts))
    return "train" if point < 0.88 else "eval" if point < 0.94 else "exam"


@dataclass(frozen=True)
class WorldTask:
    """One question with everything that is needed to answer it, to answer it wrongly and to judge answers.

    `check` says how a reply is compared with `keys`:
    `value`: says one spelling among `keys` and none of the `rivals`; `sequence`: says all `keys` in order;
    `any`: says at least one of `keys`; `cover`: says most of `keys`; `refuse`: declines and says why.
    """

    kind: str
    prompt: str
    answer: str
    forms: tuple[str, ...]
    check: str
    keys: tuple[str, ...]
    rivals: tuple[str, ...] = ()
    held_out: bool = False
    remember: tuple[tuple[str, str], ...] = ()
    slots: tuple[tuple[str, str], ...] = ()
    category: str = ""

    def say(self, answer: str, form: str) -> str:
        return sentence(form.format(answer=answer, **dict(self.slots)))

    @cached_property
    def replies(self) -> tuple[str, ...]:
        """The good replies, one per wording."""
        return tuple(dict.fromkeys(self.say(self.answer, form) for form in self.forms))

    def good_reply(self, dice: Dice) -> str:
        return self.say(self.answer, dice.pick(self.forms))

    def wrong_reply(self, dice: Dice) -> str:
        """A fluent reply with a false value."""
        return self.say(dice.pick(self.rivals), dice.pick(self.frames))

    @property
    def frames(self) -> tuple[str, ...]:
        """The wordings that leave room for an answer."""
        return tuple(form for form in self.forms if "{answer}" in form)

    def context(self, memory: Memory) -> dict[str, str]:
        """The memory after this turn."""
        return {**memory, **dict(self.remember)}


class Family(ABC):
    """Prompts of one kind: `draw` makes a task, `read` finds the task in a prompt."""

    kind: str
    prompts: tuple[str, ...]
    prose: tuple[str, ...] = ()

    @abstractmethod
    def draw(self, dice: Dice, memory: Memory = EMPTY) -> WorldTask | None:
        """A new task; None when the conversation so far offers nothing to ask about, or the draw failed."""

    @abstractmethod
    def read(self, prompt: str, normal: str, memory: Memory = EMPTY) -> WorldTask | None:
        """The task that `prompt` (and its normalised form) asks for, or None."""


class FrameFamily(Family):
    """Prompts with slots: `arguments` draws slots, `solve` turns slots into a task, or finds that they are not its
    own."""

    @abstractmethod
    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str] | None:
        """Slots for a new prompt; None when the conversation so far offers nothing to ask about."""

    @abstractmethod
    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        """The task of a prompt; None when the slots are not of this family."""

    def draw(self, dice: Dice, memory: Memory = EMPTY) -> WorldTask | None:
        slots = self.arguments(dice, memory)
        return None if slots is None else self.solve(dice.pick(self.prompts).format(**slots), slots, memory)

    def read(self, prompt: str, normal: str, memory: Memory = EMPTY) -> WorldTask | None:
        for frame in self.prompts:
            slots = read_frame(frame, normal)
            if slots is not None:
                task = self.solve(prompt, slots, memory)
                if task is not None:
                    return task
        return None
