"""Small skills over words and numbers: counting, ordering, rewriting, rhyming, adding."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from .dice import Dice
from .frames import items_of, listing
from .lexicon import LIST_WORDS, NOUNS, NUMBERS, OPPOSITES, PLACES, RHYMES, USERS, VERBS
from .task import EMPTY, Family, FrameFamily, Memory, WorldTask, is_held_out


def number_keys(number: int) -> tuple[str, str]:
    return NUMBERS[number], str(number)


class ListSkill(FrameFamily):
    """A skill over a list of words."""

    forms: tuple[str, ...]
    fewest, most = 3, 4

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        return {"items": listing(dice.sample(LIST_WORDS, dice.between(self.fewest, self.most)))}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        items = [item.lower() for item in items_of(slots["items"])]
        if not items or any(item not in NOUNS for item in items):
            return None
        return replace(
            self.task(prompt, items),
            held_out=is_held_out(self.kind, *items),
            remember=(("items", listing(items)), ("skill", self.kind)),
            slots=(("items", listing(items)),),
        )

    @abstractmethod
    def task(self, prompt: str, items: list[str]) -> WorldTask:
        """The task of this skill on these items."""


class Count(ListSkill):
    kind = "count"
    fewest, most = 1, 7
    prompts = (
        "How many words are in this list: {items}?",
        "Count these words: {items}.",
        "Count the words: {items}.",
        "Here is a list: {items}. How many words does it have?",
        "How many things do I name: {items}?",
    )
    prose = ("Count {items} and you get {answer}.", "The number of words in {items} is {answer}.")
    forms = ("The list has {answer}.", "I count {answer}.", "The number is {answer}.")

    def task(self, prompt: str, items: list[str]) -> WorldTask:
        keys = number_keys(len(items))
        rivals = tuple(word for word in NUMBERS[1:9] if word != keys[0])
        return WorldTask(self.kind, prompt, keys[0], self.forms, "value", keys, rivals)


def misorders(items: list[str]) -> tuple[str, ...]:
    """Other orders of the items: turned round, and each neighbouring pair swapped."""
    found = [items[::-1]]
    for place in range(len(items) - 1):
        swapped = list(items)
        swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
        found.append(swapped)
    return tuple(listing(order) for order in found)


class Sort(ListSkill):
    kind = "sort"
    prompts = (
        "Sort these words from a to z: {items}.",
        "Put these words in order from a to z: {items}.",
        "Sort this list: {items}.",
        "What is the order from a to z of {items}?",
        "Please sort {items}.",
    )
    prose = ("From a to z, {items} become {answer}.", "Sort {items} and you get {answer}.")
    forms = ("{answer}.", "The order is {answer}.", "From a to z: {answer}.")

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        items: list[str] = []
        size = dice.between(self.fewest, self.most)
        for item in dice.sample(LIST_WORDS, 16):
            if len(items) < size and all(item[0] != other[0] for other in items):
                items.append(item)
        return {"items": listing(items)}

    def task(self, prompt: str, items: list[str]) -> WorldTask:
        order = sorted(items)
        return WorldTask(
            self.kind, prompt, listing(order), self.forms, "sequence", tuple(order), misorders(order)
        )


class Reverse(ListSkill):
    kind = "reverse"
    prompts = (
        "Say these words backwards: {items}.",
        "Turn this list round: {items}.",
        "Put these words in reverse order: {items}.",
        "What is the reverse of {items}?",
        "Please reverse {items}.",
    )
    prose = ("The reverse of {items} is {answer}.", "Turned round, {items} becomes {answer}.")
    forms = ("{answer}.", "The reverse is {answer}.", "Backwards: {answer}.")

    def task(self, prompt: str, items: list[str]) -> WorldTask:
        order = items[::-1]
        return WorldTask(
            self.kind, prompt, listing(order), self.forms, "sequence", tuple(order), misorders(order)
        )


class PickEnd(ListSkill):
    """The first or the last word of a list."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.prompts = (
            f"Which word is {kind} in this list: {{items}}?",
            f"What is the {kind} word of {{items}}?",
            f"Name the {kind} word: {{items}}.",
            f"Tell me the {kind} of these words: {{items}}.",
        )
        self.prose = (f"In the list {{items}}, the {kind} word is {{answer}}.",)
        self.forms = (f"The {kind} word is {{answer}}.", "It is {answer}.", f"{{answer}} is the {kind} word.")

    def task(self, prompt: str, items: list[str]) -> WorldTask:
        answer = items[0 if self.kind == "first" else -1]
        rivals = tuple(item for item in items if item != answer) or tuple(
            w for w in LIST_WORDS[:4] if w != answer
        )
        return WorldTask(self.kind, prompt, answer, self.forms, "value", (answer,), rivals)


class Again(FrameFamily):
    """The skill of the last list once more, without one of its words."""

    kind = "again"
    prompts = (
        "Again, but without {item}.",
        "Now do it without {item}.",
        "The same again, but leave out {item}.",
    )

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str] | None:
        items = items_of(memory.get("items", ""))
        return {"item": dice.pick(items)} if len(items) > 2 else None

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        items = items_of(memory.get("items", ""))
        if slots["item"] not in items or len(items) < 2:
            return None
        left = [item for item in items if item != slots["item"]]
        task = LIST_SKILLS[memory["skill"]].solve(prompt, {"items": listing(left)})
        return None if task is None else replace(task, kind=self.kind)


class Rewrite(FrameFamily):
    """A phrase of two parts is changed in one part; which pairs of parts are held out is decided by hash."""

    firsts: tuple[str, ...]
    seconds: tuple[str, ...]
    forms = ("{answer}.", "It is {answer}.", "You say {answer}.")

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        return {"phrase": self.phrase(dice.pick(self.firsts), dice.pick(self.seconds))}

    def phrase(self, first: str, second: str) -> str:
        return f"the {first} {second}"

    def parts(self, phrase: str) -> tuple[str, str] | None:
        """The two parts of a phrase of this family."""
        words = phrase.split()
        return (words[1], words[2]) if len(words) == 3 and words[0] == "the" else None

    @abstractmethod
    def change(self, first: str, second: str) -> tuple[str, tuple[str, ...]]:
        """The changed phrase, and likely mistakes."""

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        parts = self.parts(slots["phrase"].lower())
        if parts is None or parts[0] not in self.firsts or parts[1] not in self.seconds:
            return None
        answer, mistakes = self.change(*parts)
        return WorldTask(
            self.kind,
            prompt,
            answer,
            self.forms,
            "sequence",
            tuple(answer.lower().split()),
            mistakes,
            is_held_out(self.kind, *parts),
            (),
            (("phrase", slots["phrase"]),),
        )


class Plural(Rewrite):
    kind = "plural"
    firsts, seconds = tuple(OPPOSITES), tuple(NOUNS)
    prompts = (
        "What is the plural of {phrase}?",
        "Make this plural: {phrase}.",
        "Say {phrase} in the plural.",
        "There is more than one. Change {phrase}.",
    )
    prose = ("The plural of {phrase} is {answer}.", "First {phrase}, then many more: {answer}.")

    def change(self, first: str, second: str) -> tuple[str, tuple[str, ...]]:
        mistakes = (
            f"the {OPPOSITES[first]} {second}",
            f"the {first} {second}",
            f"the {OPPOSITES[first]} {NOUNS[second]}",
        )
        return f"the {first} {NOUNS[second]}", mistakes


class Opposite(Rewrite):
    kind = "opposite"
    firsts, seconds = tuple(OPPOSITES), tuple(NOUNS)
    prompts = (
        "What is the opposite of {phrase}?",
        "Say the opposite: {phrase}.",
        "Turn {phrase} into the opposite.",
        "Give me the opposite of {phrase}.",
    )
    prose = ("The opposite of {phrase} is {answer}.", "Not {phrase} but {answer}.")

    def change(self, first: str, second: str) -> tuple[str, tuple[str, ...]]:
        others = [word for word in ("big", "hot", "old", "clean") if word not in (first, OPPOSITES[first])]
        return f"the {OPPOSITES[first]} {second}", tuple(f"the {word} {second}" for word in (first, *others))


class Past(Rewrite):
    kind = "past"
    firsts = tuple(f"{name.lower()} {verb}" for name in USERS for verb in VERBS)
    seconds = tuple(PLACES)
    prompts = (
        "Say this in the past: {phrase}.",
        "Put this sentence in the past: {phrase}.",
        "It was yesterday. Change: {phrase}.",
        "What is the past of: {phrase}?",
    )
    prose = ("Today {phrase}. Yesterday {answer}.", "Now {phrase}, but last year {answer}.")

    def phrase(self, first: str, second: str) -> str:
        return f"{first[0].upper()}{first[1:]} {second}"

    def parts(self, phrase: str) -> tuple[str, str] | None:
        words = phrase.split(" ", 2)
        return (f"{words[0]} {words[1]}", words[2]) if len(words) == 3 else None

    def change(self, first: str, second: str) -> tuple[str, tuple[str, ...]]:
        name, verb = first.split()
        other = "rested" if verb != "rests" else "worked"
        name = name.capitalize()
        still = "was" if VERBS[verb] == verb else verb
        return f"{name} {VERBS[verb]} {second}", (f"{name} {still} {second}", f"{name} {other} {second}")


class Rhyme(FrameFamily):
    kind = "rhyme"
    prompts = (
        "Say a word that rhymes with {word}.",
        "What rhymes with {word}?",
        "Which word rhymes with {word}?",
        "Find a rhyme for {word}.",
        "I need a rhyme for {word}.",
    )
    prose = (
        "{word} rhymes with {answer}.",
        "A rhyme for {word} is {answer}.",
        "You can rhyme {word} and {answer}.",
    )
    forms = (
        "{answer} rhymes with {word}.",
        "A rhyme for {word} is {answer}.",
        "{word} rhymes with {answer}.",
    )

    families = {word: family for family in RHYMES for word in family}

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        return {"word": dice.pick(tuple(self.families))}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        word = slots["word"]
        if word not in self.families:
            return None
        family = self.families[word]
        good = tuple(other for other in family if other != word)
        answer = good[len(prompt) % len(good)]
        rivals = tuple(other[0] for other in RHYMES if other is not family)
        return WorldTask(
            self.kind,
            prompt,
            answer,
            self.forms,
            "any",
            good,
            rivals,
            is_held_out("rhyme", word),
            (),
            (("word", word),),
        )


class Sum(FrameFamily):
    """Adding or taking away. Of additions, only those with the smaller number first are held out: the reverse is
    taught."""

    def __init__(self, kind: str, sign: str) -> None:
        self.kind, self.sign = kind, sign
        self.prompts = (
            f"What is {{left}} {sign} {{right}}?",
            f"How much is {{left}} {sign} {{right}}?",
            f"Tell me {{left}} {sign} {{right}}.",
            f"Work this out: {{left}} {sign} {{right}}.",
        )
        self.prose = (
            f"{{left}} {sign} {{right}} is {{answer}}.",
            f"{{left}} {sign} {{right}} makes {{answer}}.",
        )
        self.forms = (
            f"{{left}} {sign} {{right}} is {{answer}}.",
            f"{{left}} {sign} {{right}} makes {{answer}}.",
            "It is {answer}.",
        )

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        left, right = dice.between(1, 9), dice.between(1, 9)
        if self.sign == "minus":
            left = right + dice.between(0, 9)
        return {"left": NUMBERS[left], "right": NUMBERS[right]}

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        if slots["left"] not in NUMBERS or slots["right"] not in NUMBERS:
            return None
        left, right = NUMBERS.index(slots["left"]), NUMBERS.index(slots["right"])
        result = left + right if self.sign == "plus" else left - right
        if not 0 <= result <= 20:
            return None
        rivals = tuple(NUMBERS[near] for near in (result + 1, result - 1, result + 2) if 0 <= near <= 20)
        held_out = is_held_out(self.kind, str(left), str(right)) and (self.sign == "minus" or left < right)
        return WorldTask(
            self.kind,
            prompt,
            NUMBERS[result],
            self.forms,
            "value",
            number_keys(result),
            rivals,
            held_out,
            (),
            (("left", NUMBERS[left]), ("right", NUMBERS[right])),
        )


LIST_SKILLS: dict[str, ListSkill] = {
    skill.kind: skill for skill in (Count(), Sort(), Reverse(), PickEnd("first"), PickEnd("last"))
}
SKILLS: tuple[Family, ...] = (
    *LIST_SKILLS.values(),
    Plural(),
    Opposite(),
    Past(),
    Rhyme(),
    Sum("plus", "plus"),
    Sum("minus", "minus"),
)
