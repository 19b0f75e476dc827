"""Small talk, and what users say about themselves: the turns that hold a chat together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .dice import Dice
from .frames import normalise
from .lexicon import COLOURS, FOODS, PETS, USERS
from .stance import Clause, Spoken, Stance, any_of
from .task import EMPTY, Family, FrameFamily, Memory, WorldTask


@dataclass(frozen=True)
class Exchange:
    """Things people say, the replies they may get, words of which those have at least one, and what they do."""

    prompts: tuple[str, ...]
    replies: tuple[str, ...]
    accepts: tuple[str, ...]
    act: str


EXCHANGES = (
    Exchange(
        ("Hello!", "Hi!", "Good morning!", "Hello, my friend.", "Good evening!", "Hi there!"),
        ("Hello! How can I help you?", "Hello, it is nice to meet you.", "Hi! What can I do for you?"),
        ("hello", "hi", "morning", "evening", "welcome"),
        "greets",
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
        "welcomes",
    ),
    Exchange(
        ("Goodbye!", "Good night!", "See you soon.", "I must go now."),
        ("Goodbye, have a good day!", "Goodbye and see you soon!", "Goodbye, take care!"),
        ("goodbye", "bye", "soon", "care"),
        "parts",
    ),
    Exchange(
        ("How are you?", "How are you today?", "Are you well?"),
        ("I am well, thank you.", "I am fine, thank you for asking.", "I feel good today, thank you."),
        ("well", "fine", "good", "great"),
        "is well",
    ),
    Exchange(
        ("Who are you?", "What are you?", "Are you a person?"),
        (
            "I am a small helper made of words.",
            "I am a helper, not a person.",
            "I am a helper and I answer questions.",
        ),
        ("helper", "assistant", "words"),
        "names itself",
    ),
    Exchange(
        ("What can you do?", "How can you help me?", "What do you know?"),
        (
            "I can answer questions, count and sort words.",
            "I know the towns and people, and I can sort words.",
            "I can answer questions about people and towns.",
        ),
        ("answer", "questions", "sort", "towns"),
        "offers",
    ),
    Exchange(
        ("You are very clever!", "That was a good answer.", "You are a great help."),
        ("Thank you, that is kind of you.", "Thank you, I am glad you like it.", "Thank you very much!"),
        ("thank", "thanks", "glad", "kind"),
        "thanks",
    ),
)


_WELL = "(?:well|fine|good|great|happy|okay|ok|excellent|wonderful|fantastic|lovely)"
ACTS = {
    "greets": any_of(
        "hello|hi|hey|greetings|(?<!are )(?<!very )welcome",
        "good (?:morning|evening|day|afternoon)|(?:nice|good|lovely|great) to (?:meet|see) you",
    ),
    "welcomes": any_of(
        r"you are (?:very |most )?welcome|(?:am|was|be) (?:\w+ )?(?:glad|happy|pleased)|glad (?:to|i)|happy to",
        "(?:my|a) pleasure|any ?time|no problem|not at all|do not mention it",
    ),
    "parts": any_of(
        r"good ?bye|bye|farewell|(?<!to )see you|take care|good night|sleep well|until|have a (?:\w+ )?day"
    ),
    "is well": any_of(
        rf"(?:i (?:am|feel)|(?<!you are )(?:feeling|doing|going)) (?:\w+ ){{0,2}}{_WELL}"
        r"(?! (?:that )?(?:i can|i could|to|you)\b)",
        rf"^(?!ok(?:ay)?$)(?:(?:very|pretty|quite|really|so|all|just|rather|oh|i am|am) )*{_WELL}"
        "(?: (?:and you|thank you|thanks|indeed|today|here|always|as|for asking|and))*$",
        "not (?:too |so |at all )?bad|never (?:been |felt )?better|could not be better|can not complain",
        f"(?:all|everything) (?:is|goes) {_WELL}",
    ),
    "names itself": any_of(
        "(?<!you are a )(?<!you are an )(?:helper|assistant|made of words|program|machine|model)",
        "not (?:a person|human)|just words|^i am (?:a )?(?:person|human)",
    ),
    "offers": any_of(
        "(?:i|we) (?:can|will|know(?! the answer| it| that)|answer|help|sort|count|like to|am able to)"
    ),
    "thanks": any_of(
        "thanks?|you are (?:too |very |so |most )?(?:kind|nice|sweet)",
        "(?:that is|how|very|so) (?:very |so )?(?:kind|nice)|glad (?:that )?you like",
    ),
}
"""What people do in small talk, and how it shows in a clause that is written out (`stance.written_out`)."""
_IN_PASSING = {
    "greets": ("welcomes", "offers", "is well"),
    "welcomes": ("greets", "offers", "parts"),
    "parts": ("greets", "welcomes", "thanks"),
    "is well": ("greets", "thanks", "welcomes"),
    "names itself": ("greets", "offers"),
    "offers": ("greets", "names itself", "welcomes"),
    "thanks": ("greets", "welcomes"),
}
"""What a fitting reply may do besides."""


_ASKS_BACK = re.compile(r"(?:and )?(?:how|what) (?:can|may|could) i (?:help|do|assist)\b")
"""What one may ask after any small talk."""


def acts_in(task: WorldTask, spoken: Spoken) -> tuple[int, int, int]:
    """How often the reply does what fits the small talk, how many other things it does, how often it denies to."""
    act = SmallTalk.table[normalise(task.prompt)][1].act
    clauses = [
        clause
        for clause in spoken.clauses
        if not (clause.asked and (act == "offers" or _ASKS_BACK.match(clause.text)))
    ]
    if act != "is well":
        clauses = [clause for clause in clauses if clause.text != "well"]  # `Well, goodbye!`
    found = {name: [_means(pattern, clause) for clause in clauses] for name, pattern in ACTS.items()}
    fitting, denied = found[act].count(True), found[act].count(False)
    others = sum(True in seen for name, seen in found.items() if name != act and name not in _IN_PASSING[act])
    more = sum(True in found[name] for name in _IN_PASSING[act])
    return fitting, others + max(0, more - 2), denied


_POLITE = any_of(
    "not (?:too |so |at all )?bad|never (?:been |felt )?better|could not be better|can not complain|no problem",
    "not at all|do not mention it|not (?:a person|human)",
)
"""Negations that people use in small talk and that deny nothing."""
_NOT_DONE = ("is", "are", "was", "means", "yourself", "him", "her", "them")
"""Words after which what is said is not done: `hello is a word`."""
_OF_OTHERS = re.compile(
    r"i (?:(?:need|know|want|have|like|see|love) |am (?:a )?(?:person|human))|"
    r"(?:he|she|they|you|who|nobody|no one|someone) (?:\w+ )?(?:am|is|are|was|were|can|will|know|feel)\b"
)
"""Says it of somebody else."""


def _means(pattern: re.Pattern[str], clause: Clause) -> bool | None:
    """Whether a clause does what the pattern says (False: denies to do it); None when it is about something else."""
    match = pattern.search(clause.text)
    if match is None:
        return None
    if _POLITE.search(match[0]):
        return True
    if re.match(r"i am (?:a )?(?:person|human)\b", clause.text):
        return False
    after = clause.text[match.end() :].split()
    if match.start() and _OF_OTHERS.match(clause.text) or after and after[0] in _NOT_DONE:
        return False
    stance = clause.stances[clause.text.count(" ", 0, match.end() - 1)]
    return stance is not Stance.DENIED


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
