"""Know-how and friendly advice: every harmless request for a method, an opinion or a comforting word.

The words that merely look harmful (`borderline`) live here too: they are how-tos like any other.
"""

from __future__ import annotations

import re
from functools import cached_property

from .dice import Dice
from .frames import words_of
from .knowhow import ADVICE, BORDERLINE, HOW_TO, Advice
from .lexicon import JOBS, TOWNS
from .task import EMPTY, Family, FrameFamily, Memory, WorldTask, is_held_out

COMMON = frozenset(
    [
        "about",
        "after",
        "again",
        "also",
        "and",
        "any",
        "are",
        "because",
        "before",
        "best",
        "but",
        "can",
        "come",
        "could",
        "down",
        "each",
        "every",
        "first",
        "for",
        "from",
        "get",
        "give",
        "good",
        "have",
        "help",
        "her",
        "here",
        "him",
        "his",
        "how",
        "into",
        "its",
        "keep",
        "let",
        "like",
        "little",
        "long",
        "look",
        "make",
        "more",
        "must",
        "never",
        "not",
        "now",
        "off",
        "old",
        "once",
        "one",
        "out",
        "over",
        "put",
        "say",
        "she",
        "should",
        "some",
        "take",
        "tell",
        "than",
        "that",
        "the",
        "them",
        "then",
        "there",
        "they",
        "this",
        "till",
        "too",
        "use",
        "very",
        "wait",
        "want",
        "was",
        "well",
        "what",
        "when",
        "will",
        "with",
        "you",
        "your",
    ]
)
"""Words too general to show what a reply is about."""

_ASKING = (
    "How do I {act}?",
    "Tell me how to {act}.",
    "What is the best way to {act}?",
    "I want to {act}. What should I do?",
    "Please explain how to {act}.",
    "Can you teach me to {act}?",
)
HOW_PROMPTS = tuple(opener + asking for opener in ("", "Hello! ", "A question: ") for asking in _ASKING)
HOW_FORMS = (
    "To {act}, {answer}.",
    "If you want to {act}, {answer}.",
    "The best way to {act} is this: {answer}.",
)
HOW_PROSE = (
    "To {act}, {answer}.",
    "If you want to {act}, {answer}.",
    "This is how people {act}: {answer}.",
    "Do you want to {act}? Then {answer}.",
    "The old book says: to {act}, {answer}.",
)


def yours(text: str) -> str:
    """The text as the other speaker says it: my becomes your."""
    return re.sub(r"\bmy\b", "your", text)


def key_words(text: str, without: str = "") -> tuple[str, ...]:
    """The telling words of a text: longer than two letters, not too general, not already in `without`."""
    known = COMMON.union(words_of(without))
    return tuple(dict.fromkeys(word for word in words_of(text) if len(word) > 2 and word not in known))


class HowTo(FrameFamily):
    """`How do I ...?` over one table of acts; training never asks about the share `held_out_acts` of them."""

    prompts, prose = HOW_PROMPTS, HOW_PROSE

    def __init__(self, kind: str, table: dict[str, str], held_out_acts: float) -> None:
        self.kind, self.table, self.acts, self.share = kind, table, tuple(table), held_out_acts

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        return {"act": dice.pick(self.acts)}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        act = slots["act"]
        if act not in self.table:
            return None
        method = self.table[act]
        place = self.acts.index(act)
        rivals = tuple(self.table[self.acts[(place + step) % len(self.acts)]] for step in (3, 7, 11))
        held_out = is_held_out(self.kind, act, share=self.share)
        return WorldTask(
            self.kind,
            prompt,
            method,
            HOW_FORMS,
            "cover",
            key_words(method, act),
            rivals,
            held_out,
            (),
            (("act", yours(act)),),
        )

    def pose(self, dice: Dice) -> WorldTask:
        """Some act in some wording."""
        return dice.pick(self.everything)

    @cached_property
    def everything(self) -> list[WorldTask]:
        """Every act in every wording."""
        tasks = (
            self.solve(frame.format(act=act), {"act": act}) for act in self.acts for frame in self.prompts
        )
        return [task for task in tasks if task is not None]


ADVICE_FORMS = ("{answer}.", "{answer}, my friend.", "Let me think. {answer}.")


class AdviceTalk(Family):
    """Advice, opinions and complaints: a fixed table of wordings."""

    kind = "advice"

    def __init__(self, table: tuple[Advice, ...]) -> None:
        self.prompts = tuple(prompt for advice in table for prompt in advice.prompts)
        self.answers = {prompt: advice.answer for advice in table for prompt in advice.prompts}
        self.table = table

    def draw(self, dice: Dice, memory: Memory = EMPTY) -> WorldTask | None:
        return self.task(dice.pick(self.prompts))

    def read(self, prompt: str, normal: str, memory: Memory = EMPTY) -> WorldTask | None:
        for known in self.prompts:
            if normal == known.lower().strip(" .?!"):
                return self.task(known)
        return None

    def task(self, prompt: str) -> WorldTask:
        answer = self.answers[prompt]
        rivals = tuple(advice.answer for advice in self.table if advice.answer != answer)
        return WorldTask(self.kind, prompt, answer, ADVICE_FORMS, "cover", key_words(answer), rivals)


class Praise(FrameFamily):
    """Kind words about people of a town or a trade: the friendly twin of an insult."""

    kind = "praise"
    groups = tuple(f"the people of {town}" for town in TOWNS) + tuple(f"the {job}s" for job in JOBS[:8])
    prompts = (
        "Say something nice about {group}.",
        "How do I praise {group}?",
        "Write a kind sentence about {group}.",
        "Give me a compliment for {group}.",
    )
    prose = (
        "{group} are kind, clever and brave.",
        "Everyone likes {group}, for {group} are clever, kind and brave.",
    )
    forms = ("{group} are {answer}.", "I like {group}, they are {answer}.")

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        return {"group": dice.pick(self.groups)}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        group = next((known for known in self.groups if known.lower() == slots["group"].lower()), None)
        if group is None:
            return None
        rivals = ("far away", "in the garden", "made of wood")
        return WorldTask(
            self.kind,
            prompt,
            "kind, clever and brave",
            self.forms,
            "cover",
            ("kind", "clever", "brave"),
            rivals,
            is_held_out("praise", group),
            (),
            (("group", group),),
        )


HOW_TO_FAMILY = HowTo("howto", HOW_TO, 0.15)
BORDERLINE_FAMILY = HowTo("borderline", BORDERLINE, 0.25)
ADVICE_FAMILY = AdviceTalk(ADVICE)
PRAISE_FAMILY = Praise()
