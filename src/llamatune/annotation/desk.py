"""An annotator's desk: what they see now, and what becomes of a click.

What is here knows people and pairs, and nothing of browsers: `server` carries its mappings to the page. No mapping
names a model, a file or another annotator.

    desk = Desk(store, Rules("helpfulness", "grades"))
    shown = desk.state("ada")
    shown = desk.say("ada", shown["pair"], verdict=-2)
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llamatune.annotation.scales import SAFE, STEPS, Scale, Session
from llamatune.annotation.store import Judgement, ShownPair, Store
from llamatune.runs.report.words import visible

_LONGEST_NAME = 40
LONGEST_PROMPT = 20_000
"""Characters that an annotator may write at once."""


class Refused(Exception):
    """A click that cannot be taken as it is; says why, for the annotator."""


@dataclass(frozen=True)
class TwoReplies:
    """Two replies, each from a variant of its own, and what they were made with."""

    first: str
    second: str
    made_by: dict[str, Any]


class Answering(Protocol):
    """Two variants that answer what an annotator asks."""

    def answers(self, prompt: list[dict[str, str]], question: str) -> TwoReplies:
        """Two replies that differ; `question` identifies what was asked. Raises Refused."""
        ...


@dataclass(frozen=True)
class Rules:
    """How a session goes. `each`: how many people judge a pair, None for everybody."""

    session: Session
    scale: Scale
    each: int | None = None
    guidelines: str = ""

    @property
    def complete(self) -> tuple[str, ...]:
        """What has to be said of a pair."""
        return ("verdict", "first_safe", "second_safe") if self.session == "safety" else ("verdict",)


class Desk:
    """All annotators' desks.

    Args:
        answering: who answers what annotators write; None where nobody does.
        starts: whether annotators begin chats of their own.
        judged: called after each pair that has been judged.
        undone: called after each judgement that has been opened again.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        *,
        answering: Answering | None = None,
        starts: bool = False,
        judged: Callable[[], None] = lambda: None,
        undone: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.rules = rules
        self.answering = answering
        self.starts = starts
        self._judged = judged
        self._undone = undone

    def about(self) -> dict[str, Any]:
        """What does not change while the page is open."""
        return {
            "session": self.rules.session,
            "scale": self.rules.scale,
            "guidelines": visible(self.rules.guidelines),
            "starts": self.starts,
            "longest": LONGEST_PROMPT,
        }

    # ---- what is seen --------------------------------------------------------------------------------------

    def state(self, name: str) -> dict[str, Any]:
        """What an annotator has before them: a pair (`compare`), a question to write (`write`), replies that are being
        sampled (`wait`), or nothing more (`done`)."""
        annotator = annotator_name(name)
        done, waiting = self.store.progress(annotator, self.rules.each)
        last = self.store.last(annotator)
        shown: dict[str, Any] = {
            "annotator": annotator,
            "done": done,
            "of": done + waiting,
            "can_undo": last is not None,
        }
        if asked := self.store.unanswered(annotator):
            return {**shown, "phase": "wait", "pair": asked.id, "messages": _messages(asked.prompt)}
        open_chat = self._open_chat(last)
        if open_chat is not None:
            return {
                **shown,
                "phase": "write",
                "after": open_chat.id,
                "messages": _messages(self._with_choice(open_chat, last)),
            }
        judgement = self.store.next_for(annotator, self.rules.each)
        if judgement is None:
            phase = "write" if self.starts and self.answering else "done"
            return {**shown, "phase": phase, "after": None, "messages": []}
        pair = self.store.pair(judgement.pair)
        assert pair is not None and pair.first is not None and pair.second is not None
        left, right = (pair.first, pair.second) if judgement.first_left else (pair.second, pair.first)
        return {
            **shown,
            "phase": "compare",
            "pair": pair.id,
            "messages": _messages(pair.prompt),
            "left": visible(left),
            "right": visible(right),
            **_on_page(judgement),
        }

    def _open_chat(self, last: Judgement | None) -> ShownPair | None:
        """The pair after which an annotator may ask on, if any."""
        if self.answering is None or last is None or last.closed or last.chosen is None:
            return None
        if self.store.goes_on(last.pair, last.annotator):
            return None
        return self.store.pair(last.pair)

    @staticmethod
    def _with_choice(pair: ShownPair, judgement: Judgement | None) -> list[dict[str, str]]:
        """The chat with the reply that was chosen."""
        assert judgement is not None and judgement.chosen is not None
        reply = (pair.first, pair.second)[judgement.chosen]
        return [*pair.prompt, {"role": "assistant", "content": reply or ""}]

    # ---- clicks --------------------------------------------------------------------------------------------

    def say(
        self,
        name: str,
        pair: str,
        *,
        verdict: int | None = None,
        safe: str | None = None,
        skip: bool = False,
        seconds: float = 0.0,
    ) -> dict[str, Any]:
        """One click on a pair, in the page's terms: `verdict` below zero is for the left reply.

        Raises:
            Refused: what was said is none of what can be said, or the pair is not open any more.
        """
        annotator = annotator_name(name)
        found = self.store.next_for(annotator, self.rules.each)
        if found is None or found.pair != pair:
            raise Refused("this pair has been judged already, perhaps in another tab")
        said: dict[str, Any] = {}
        if verdict is not None:
            if verdict not in STEPS[self.rules.scale]:
                raise Refused("no such grade")
            said["verdict"] = verdict if found.first_left else -verdict
        if safe is not None:
            if self.rules.session != "safety" or safe not in SAFE:
                raise Refused("no such answer")
            sides = SAFE[safe] if found.first_left else SAFE[safe][::-1]
            said |= dict(zip(("first_safe", "second_safe"), sides, strict=True))
        if skip:
            said = {"skipped": True, "verdict": None, "first_safe": None, "second_safe": None}
        if not said:
            raise Refused("nothing was said")
        after = self.store.say(pair, annotator, complete=self.rules.complete, seconds=seconds, **said)
        if after is None:
            raise Refused("this pair has been judged already, perhaps in another tab")
        if after.ended is not None:
            self._judged()
        return self.state(annotator)

    def undo(self, name: str) -> dict[str, Any]:
        """Open the last judgement again. Raises Refused where there is none."""
        if not self.store.undo(annotator_name(name)):
            raise Refused("there is nothing to undo")
        self._undone()
        return self.state(name)

    def end_chat(self, name: str, after: str) -> dict[str, Any]:
        """Go on with the next pair, or with a new chat."""
        last = self.store.last(annotator_name(name))
        if last is not None and last.pair == after:
            self.store.close_chat(last.number)
        return self.state(name)

    def ask(self, name: str, text: str, after: str | None) -> dict[str, Any]:
        """Write the next prompt: `after` is the pair from whose chosen reply the chat goes on, None for a new chat.

        What was written is kept before anybody answers it; `answer` has it answered.

        Raises:
            Refused: nobody answers here, the text is empty, or the chat has gone on elsewhere.
        """
        annotator = annotator_name(name)
        if self.answering is None:
            raise Refused("nobody answers here")
        text = text.strip()
        if not text or len(text) > LONGEST_PROMPT:
            raise Refused("the text is empty, or too long")
        shown = self.state(annotator)
        if shown["phase"] != "write" or shown["after"] != after:
            raise Refused("this chat has gone on already, perhaps in another tab")
        before: list[dict[str, str]] = []
        if after is not None:
            pair, last = self.store.pair(after), self.store.last(annotator)
            assert pair is not None
            before = self._with_choice(pair, last)
        prompt = [*before, {"role": "user", "content": text}]
        said = json.dumps([annotator, self.store.asked_by(annotator), after, prompt])
        question = hashlib.sha256(said.encode()).hexdigest()[:24]
        self.store.add([ShownPair(question, prompt, None, None, {}, annotator, after)])
        return self.state(annotator)

    def answer(self, name: str) -> dict[str, Any]:
        """Have the annotator's open question answered, if there is one.

        Raises:
            Refused: it cannot be; it is withdrawn, and may be asked otherwise.
        """
        annotator = annotator_name(name)
        asked = self.store.unanswered(annotator)
        if asked is not None and self.answering is not None:
            try:
                found = self.answering.answers(asked.prompt, asked.id)
            except Refused:
                self.store.withdraw(asked.id)
                raise
            self.store.fill(asked.id, found.first, found.second, found.made_by)
        return self.state(annotator)


def annotator_name(name: str) -> str:
    """A name as it is kept. Raises Refused for one that cannot be shown in a line."""
    kept = " ".join(unicodedata.normalize("NFC", name).split())
    if not kept or len(kept) > _LONGEST_NAME or visible(kept) != kept:
        raise Refused(f"a name has 1 to {_LONGEST_NAME} characters")
    return kept


def _messages(prompt: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"role": one["role"], "content": visible(one["content"])} for one in prompt]


def _on_page(judgement: Judgement) -> Mapping[str, Any]:
    """What was already said of a pair, in the page's terms."""
    verdict = judgement.verdict
    sides: tuple[bool | None, bool | None] = (judgement.first_safe, judgement.second_safe)
    if not judgement.first_left:
        verdict = None if verdict is None else -verdict
        sides = sides[::-1]
    safe = next((name for name, known in SAFE.items() if known == sides), None)
    return {"verdict": verdict, "safe": safe, "seconds": judgement.seconds}
