"""Dialogues of several turns, in which a model answers each question with the chat so far.

Of a prompt row, the user's messages are the questions; what somebody answered to the earlier ones is left out.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.sampling.prompts import PromptRow, messages_of
from llamatune.sampling.sampler import seed_of
from llamatune.sampling.samples import Sample, prompt_id


@dataclass(frozen=True)
class Dialogue:
    """What a user asks, turn by turn. `source`: the data set of the first question."""

    questions: tuple[str, ...]
    system: str | None = None
    source: str = ""
    is_safety: bool = False

    @property
    def id(self) -> str:
        """The SHA-256 of what is asked."""
        return hashlib.sha256(json.dumps([self.system, *self.questions]).encode()).hexdigest()


def dialogues_of(
    rows: Sequence[PromptRow], turns: tuple[int, int] | None, *, least: int = 1, seed: int = 0
) -> list[Dialogue]:
    """The dialogues of prompt rows, none twice.

    Args:
        turns: draw the number of questions of each between these two: a row that has more is cut, one that has fewer
            goes on with the questions of the next rows with the same system message. None: as they are.
        least: dialogues with fewer questions are left out.
    """
    found: dict[str, Dialogue] = {}
    for one in _as_they_are(rows) if turns is None else _joined(_as_they_are(rows), turns, seed):
        if len(one.questions) >= least:
            found.setdefault(one.id, one)
    return list(found.values())


def _as_they_are(rows: Sequence[PromptRow]) -> Iterator[Dialogue]:
    for row in rows:
        said: dict[str, list[str]] = {"system": [], "user": [], "assistant": []}
        for message in row["prompt"]:
            said[message["role"]].append(message["content"])
        system = said["system"][0] if said["system"] else None
        yield Dialogue(tuple(said["user"]), system, str(row["source"]), bool(row["is_safety"]))


def _joined(dialogues: Iterator[Dialogue], turns: tuple[int, int], seed: int) -> Iterator[Dialogue]:
    by_system: dict[str | None, list[Dialogue]] = {}
    for one in dialogues:
        by_system.setdefault(one.system, []).append(one)
    for some in by_system.values():
        yield from _joined_of_one_system(iter(some), turns, seed)


def _joined_of_one_system(
    dialogues: Iterator[Dialogue], turns: tuple[int, int], seed: int
) -> Iterator[Dialogue]:
    draw = random.Random(seed_of(seed, "turns"))
    for first in dialogues:
        wanted = draw.randint(*turns)
        questions = list(first.questions)
        while len(questions) < wanted:
            following = next(dialogues, None)
            if following is None:
                break
            questions += following.questions
        yield Dialogue(tuple(questions[:wanted]), first.system, first.source, first.is_safety)


class End(StrEnum):
    """Why a chat is shorter than its dialogue."""

    CUT_OFF = "a reply was cut off"
    EMPTY = "a reply was empty"
    NO_ROOM = "the next question would not fit"
    NO_CHOICE = "no reply was chosen"
    NO_QUESTION = "nothing new was asked"
    CUT_OFF_QUESTION = "a question was cut off"


@dataclass
class Talk:
    """A dialogue as far as it went: the replies to the first questions, each whole. `end`: why it went no further, None
    if every question was answered. `ask_on` gives it another dialogue, with one more question."""

    dialogue: Dialogue
    replies: list[Sample] = field(default_factory=list)
    end: End | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is another question to answer."""
        return self.end is None and len(self.replies) < len(self.dialogue.questions)

    def messages(self, questions: Sequence[str]) -> list[dict[str, str]]:
        """The chat with these questions in place of the dialogue's, up to the last of them."""
        system = self.dialogue.system
        found = [] if system is None else [{"role": "system", "content": system}]
        for number, question in enumerate(questions):
            found.append({"role": "user", "content": question})
            if number + 1 < len(questions):
                found.append({"role": "assistant", "content": self.replies[number].text})
        return found


Wording = Callable[[Dialogue, int, str], str]
"""(dialogue, number of the turn from 0, question) -> what the model reads in its place."""


def prompt_row(chat: ChatFormat, messages: Sequence[Mapping[str, str]], **about: Any) -> PromptRow:
    """A prompt as `samples` and judges take it."""
    return {
        "prompt_id": prompt_id(messages),
        "prompt": list(messages),
        "input_ids": chat.prompt_ids(messages_of(messages)),
        **about,
    }


def talk(
    dialogues: Sequence[Dialogue],
    chat: ChatFormat,
    answers: Callable[[Sequence[PromptRow], int], Mapping[str, Sample]],
    *,
    wording: Wording,
    room: int,
) -> list[Talk]:
    """Ask all questions of all dialogues, turn by turn.

    Args:
        answers: (prompts, none twice; number of the turn) -> a sample by prompt id; the chat ends where there is none.
        room: most tokens of a prompt. A chat ends before a question that does not fit, and before a reply that is
            empty or was cut off.
    """
    talks = [Talk(one) for one in dialogues]
    for turn in range(max((len(one.questions) for one in dialogues), default=0)):
        answer_turn(talks, turn, chat, answers, wording=wording, room=room)
    return talks


def answer_turn(
    talks: Sequence[Talk],
    turn: int,
    chat: ChatFormat,
    answers: Callable[[Sequence[PromptRow], int], Mapping[str, Sample]],
    *,
    wording: Wording,
    room: int,
) -> None:
    """Ask the question of one turn, from 0, in all talks that are open. Arguments are those of `talk`."""
    asked: list[tuple[Talk, PromptRow]] = []
    for one in talks:
        if one.is_open:
            questions = one.dialogue.questions[: turn + 1]
            worded = [wording(one.dialogue, number, text) for number, text in enumerate(questions)]
            about = {"source": one.dialogue.source, "is_safety": one.dialogue.is_safety}
            row = prompt_row(chat, one.messages(worded), **about)
            if len(row["input_ids"]) > room:
                one.end = End.NO_ROOM
            else:
                asked.append((one, row))
    found = answers(list({row["prompt_id"]: row for _, row in asked}.values()), turn) if asked else {}
    for one, row in asked:
        reply = found.get(row["prompt_id"])
        if reply is None:
            one.end = End.NO_CHOICE
        elif not reply.text.strip():
            one.end = End.EMPTY
        elif not reply.ended:
            one.end = End.CUT_OFF
        else:
            one.replies.append(reply)


def ask_on(
    talks: Sequence[Talk],
    chat: ChatFormat,
    questions: Callable[[Sequence[PromptRow]], Mapping[str, Sample]],
    *,
    before: Callable[[Dialogue], list[dict[str, str]]],
    room: int,
) -> None:
    """Let the model ask the next question of every talk that has been answered so far: it reads the talk with the sides
    changed over, as if the questions were its own replies.

    Args:
        questions: (prompts, none twice) -> a sample by prompt id.
        before: what it reads before the first question.
        room: most tokens of a prompt; a talk ends where that does not hold it.
    """
    asked: list[tuple[Talk, PromptRow]] = []
    for one in talks:
        if one.end is None:
            said = [
                {"role": role, "content": text}
                for question, reply in zip(one.dialogue.questions, one.replies, strict=True)
                for role, text in (("assistant", question), ("user", reply.text))
            ]
            row = prompt_row(
                chat, [*before(one.dialogue), *said], source=one.dialogue.source, is_safety=False
            )
            if len(row["input_ids"]) > room:
                one.end = End.NO_ROOM
            else:
                asked.append((one, row))
    found = questions(list({row["prompt_id"]: row for _, row in asked}.values())) if asked else {}
    for one, row in asked:
        question, before_it = found[row["prompt_id"]], one.dialogue.questions
        text = question.text.strip()
        if not question.ended:
            one.end = End.CUT_OFF_QUESTION
        elif not text or text in before_it:
            one.end = End.NO_QUESTION
        else:
            one.dialogue = replace(one.dialogue, questions=(*before_it, text))
