"""Reading: a prompt has a short note and one question about it."""

from __future__ import annotations

from dataclasses import replace

from .dice import Dice
from .frames import read_frame
from .lexicon import COLOURS, NUMBERS, SMALL, THINGS, USERS
from .task import EMPTY, FrameFamily, Memory, WorldTask, is_held_out


class NoteQuestion(FrameFamily):
    """A note of two to four lines, each linking a thing with a value, and a question about one thing."""

    kind = "lookup"

    def __init__(
        self,
        values: tuple[str, ...],
        line: str,
        questions: tuple[str, ...],
        forms: tuple[str, ...],
        follow: str,
    ) -> None:
        self.values, self.line, self.forms, self.follow = values, line, forms, follow
        self.prompts = tuple(
            frame
            for question in questions
            for frame in (
                "Note: {note}. " + question,
                "Read this note: {note}. " + question,
                "{note}. " + question,
            )
        )
        self.prose = ("{note}. So " + forms[0][0].lower() + forms[0][1:],)

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str]:
        size = dice.between(2, 4)
        things = dice.sample(THINGS, size)
        values = dice.sample(self.values, size)
        lines = [
            self.line.format(thing=thing, value=value) for thing, value in zip(things, values, strict=True)
        ]
        note = ", ".join(lines[:-1]) + " and " + lines[-1]
        return {"note": note[0].upper() + note[1:], "thing": dice.pick(things)}

    def links(self, note: str) -> dict[str, str]:
        """Thing to value, as the note says; empty when it is not a note of this family."""
        found: dict[str, str] = {}
        spelled = {value.lower(): value for value in self.values}
        for line in note.lower().replace(" and ", ", ").split(", "):
            slots = read_frame(self.line, line)
            if slots is None or slots["value"] not in spelled:
                return {}
            found[slots["thing"]] = spelled[slots["value"]]
        return found

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        links = self.links(slots["note"])
        value = links.get(slots["thing"])
        if value is None:
            return None
        keys = (value.lower(), str(NUMBERS.index(value))) if value in NUMBERS else (value.lower(),)
        rivals = tuple(dict.fromkeys(other for other in links.values() if other != value))
        return WorldTask(
            self.kind,
            prompt,
            value,
            self.forms,
            "value",
            keys,
            rivals + tuple(other for other in self.values if other != value and other not in rivals),
            is_held_out("lookup", slots["note"].lower(), slots["thing"]),
            (("note", slots["note"].lower()),),
            (("thing", slots["thing"]), ("note", slots["note"])),
        )


class NoteFollowUp(FrameFamily):
    """One more question about the note of an earlier turn."""

    kind = "lookup-again"

    def __init__(self, base: NoteQuestion) -> None:
        self.base, self.prompts = base, (base.follow,)

    def arguments(self, dice: Dice, memory: Memory = EMPTY) -> dict[str, str] | None:
        links = self.base.links(memory.get("note", ""))
        return {"thing": dice.pick(list(links))} if links else None

    def solve(self, prompt: str, slots: dict[str, str], memory: Memory = EMPTY) -> WorldTask | None:
        if "note" not in memory:
            return None
        task = self.base.solve(prompt, {**slots, "note": memory["note"]})
        return None if task is None else replace(task, kind=self.kind)


NOTE_QUESTIONS = (
    NoteQuestion(
        COLOURS,
        "the {thing} is in the {value} box",
        ("Where is the {thing}?", "In which box is the {thing}?"),
        ("The {thing} is in the {answer} box.", "You can find the {thing} in the {answer} box."),
        "And where is the {thing}?",
    ),
    NoteQuestion(
        USERS,
        "{value} has the {thing}",
        ("Who has the {thing}?", "Tell me who has the {thing}."),
        ("The {thing} is with {answer}.", "{answer} has the {thing}."),
        "And who has the {thing}?",
    ),
    NoteQuestion(
        SMALL,
        "the {thing} costs {value} coins",
        ("How many coins does the {thing} cost?", "What does the {thing} cost?"),
        ("The {thing} costs {answer} coins.", "You pay {answer} coins for the {thing}."),
        "And what does the {thing} cost?",
    ),
)
NOTE_FOLLOW_UPS: tuple[FrameFamily, ...] = tuple(NoteFollowUp(base) for base in NOTE_QUESTIONS)
