"""Small talk, and what users say about themselves: the turns that hold a chat together."""

from __future__ import annotations

from dataclasses import dataclass

from .dice import Dice
from .frames import normalise
from .lexicon import COLOURS, FOODS, PETS, USERS
from .task import EMPTY, Family, FrameFamily, Memory, WorldTask


@dataclass(frozen=True)
class Exchange:
    """Things people say, the replies they may get, and words of which a fitting reply has at least one."""

    prompts: tuple[str, ...]
    replies: tuple[str, ...]
    accepts: tuple[str, ...]


EXCHANGES = (
    Exchange(
        ("Hello!", "Hi!", "Good morning!", "Hello, my friend.", "Good evening!", "Hi there!"),
        ("Hello! How can I help you?", "Hello, it is nice to meet you.", "Hi! What can I do for you?"),
        ("hello", "hi", "morning", "evening", "welcome"),
    ),
    Exchange(
        (
            "Thank you!",
            "Thanks!",
            "Thank you very much.",
            "Thanks a lot, that was good.",
            "That helps me, thank you.",
        ),
        ("You are welcome!", "I am glad to help.", "You are welcome, ask me more."),
        ("welcome", "glad", "happy", "pleasure"),
    ),
    Exchange(
        ("Goodbye!", "Good night!", "See you soon.", "I must go now."),
        ("Goodbye, have a good day!", "Goodbye and see you soon!", "Goodbye, take care!"),
        ("goodbye", "bye", "soon", "care"),
    ),
    Exchange(
        ("How are you?", "How are you today?", "Are you well?"),
        ("I am well, thank you.", "I am fine, thank you for asking.", "I feel good today, thank you."),
        ("well", "fine", "good", "great"),
    ),
    Exchange(
        ("Who are you?", "What are you?", "Are you a person?"),
        (
            "I am a small helper made of words.",
            "I am a helper, not a person.",
            "I am a helper and I answer questions.",
        ),
        ("helper", "assistant", "words"),
    ),
    Exchange(
        ("What can you do?", "How can you help me?", "What do you know?"),
        (
            "I can answer questions, count and sort words.",
            "I know the towns and people, and I can sort words.",
            "I can answer questions about people and towns.",
        ),
        ("answer", "questions", "sort", "towns"),
    ),
    Exchange(
        ("You are very clever!", "That was a good answer.", "You are a great help."),
        ("Thank you, that is kind of you.", "Thank you, I am glad you like it.", "Thank you very much!"),
        ("thank", "thanks", "glad", "kind"),
    ),
)


class SmallTalk(Family):
    """Greetings, thanks and other small talk."""

    kind = "talk"
    table = {normalise(prompt): (prompt, item) for item in EXCHANGES for prompt in item.prompts}
    prompts = tuple(prompt for item in EXCHANGES for prompt in item.prompts)

    def draw(self, dice: Dice, memory: Memory = EMPTY) -> WorldTask | None:
        prompt = dice.pick(self.prompts)
        return self.task(prompt, self.table[normalise(prompt)][1])

    def read(self, prompt: str, normal: str, memory: Memory = EMPTY) -> WorldTask | None:
        return self.task(*self.table[normal]) if normal in self.table else None

    def task(self, prompt: str, item: Exchange) -> WorldTask:
        rivals = tuple(
            reply
            for other in EXCHANGES
            if other is not item
            for reply in other.replies
            if not any(word in normalise(reply).replace(",", "").split() for word in item.accepts)
        )
        return WorldTask(
            self.kind, prompt, item.replies[0], ("{answer}", *item.replies[1:]), "any", item.accepts, rivals
        )


class TellName(FrameFamily):
    kind = "tell"
    prompts = (
        "My name is {name}.",
        "Hello, I am {name}.",
        "Hi! People call me {name}.",
        "Good morning, my name is {name}.",
    )
    forms = (
        "Hello {answer}, nice to meet you!",
        "Nice to meet you, {answer}.",
        "Hello {answer}, how can I help you?",
    )

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        return {"name": dice.pick(USERS)}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        name = slots["name"].capitalize()
        if name not in USERS:
            return None
        others = tuple(user for user in USERS if user != name)
        return WorldTask(
            self.kind, prompt, name, self.forms, "value", (name.lower(),), others, False, (("my name", name),)
        )


class AskName(FrameFamily):
    kind = "memory"
    prompts = ("What is my name?", "Do you remember my name?", "Who am I?", "Can you tell me my name?")
    forms = ("Your name is {answer}.", "You are {answer}.", "I remember, you are {answer}.")

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str] | None:
        return {} if "my name" in memory else None

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        name = memory.get("my name")
        if name is None:
            return None
        others = tuple(user for user in USERS if user != name)
        return WorldTask(self.kind, prompt, name, self.forms, "value", (name.lower(),), others)


FAVOURITES = {"colour": COLOURS, "food": FOODS, "animal": PETS}


class TellFavourite(FrameFamily):
    kind = "tell"
    prompts = (
        "My favourite {thing} is {value}.",
        "Please remember: my favourite {thing} is {value}.",
        "The {thing} that I like best is {value}.",
    )
    forms = (
        "I see, your favourite {thing} is {answer}.",
        "I will remember that you like {answer}.",
        "Good to know, you like {answer} best.",
    )

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        thing = dice.pick(tuple(FAVOURITES))
        value = dice.pick(FAVOURITES[thing])
        return {"thing": thing, "value": f"the {value}" if thing == "animal" else value}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        thing, value = slots["thing"], slots["value"].removeprefix("the ")
        if value not in FAVOURITES.get(thing, ()):
            return None
        return favourite_task(self.kind, prompt, self.forms, thing, value)


def favourite_task(kind: str, prompt: str, forms: tuple[str, ...], thing: str, value: str) -> WorldTask:
    article = "the " if thing == "animal" else ""
    return WorldTask(
        kind,
        prompt,
        article + value,
        forms,
        "value",
        (value,),
        tuple(article + other for other in FAVOURITES[thing] if other != value),
        False,
        ((f"my {thing}", value),),
        (("thing", thing),),
    )


class AskFavourite(FrameFamily):
    kind = "memory"
    prompts = (
        "What is my favourite {thing}?",
        "Do you remember my favourite {thing}?",
        "Which {thing} do I like best?",
    )
    forms = (
        "Your favourite {thing} is {answer}.",
        "You like {answer} best.",
        "You told me that it is {answer}.",
    )

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str] | None:
        known = [thing for thing in FAVOURITES if f"my {thing}" in memory]
        return {"thing": dice.pick(known)} if known else None

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        value = memory.get(f"my {slots['thing']}")
        return None if value is None else favourite_task(self.kind, prompt, self.forms, slots["thing"], value)


SMALL_TALK = SmallTalk()
TELLING: tuple[Family, ...] = (TellName(), TellFavourite())
REMEMBERING: tuple[FrameFamily, ...] = (AskName(), AskFavourite())
