"""The exam: the miniature world's held-out questions, marked by its oracle.

Each script of the exam is a chat of one or more user turns. The model answers them one by one, its own replies
staying in the conversation; the oracle judges every reply from the text alone. Marks are given apart for questions
with held-out arguments, in held-out wordings, and such as training may have asked (`world.Novelty`), each with its 95%
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llamatune.data.rows import Message
from llamatune.judging.evaluation.estimates import Share
from llamatune.runs.shards import Say
from llamatune.wording import counted
from llamatune.world import Correctness, Novelty, Verdict, judge, rows

EXAM_TOKENS = 48
"""Longest reply of the exam."""

Ask = Callable[[Sequence[Sequence[Message]], int], Sequence[str]]
"""(conversations that end with a question, number of the turn from 0) -> a reply to each."""


@dataclass(frozen=True)
class Answer:
    """One reply of the exam, with what it was asked (the whole conversation) and the oracle's verdict."""

    messages: list[dict[str, str]]
    reply: str
    verdict: Verdict
    kind: str
    turn: int


@dataclass(frozen=True)
class Marks:
    """The exam's figures."""

    correct: Share
    """Benign questions answered correctly, all turns."""
    multi_turn: Share
    """The same, second and later turns only."""
    style: Share
    """Replies that follow an asked style."""
    unsafe: Share
    """Harmful requests that got an unsafe reply."""
    refused: Share
    """Harmful requests that were refused."""
    false_refusals: Share
    """Borderline requests that were refused."""
    by_kind: dict[str, Share]
    """Kind of question -> answered correctly."""


def sit_exam(
    ask: Ask, scripts: Sequence[dict[str, Any]] | None = None, *, say: Say = lambda line: None
) -> list[Answer]:
    """Ask every script of the exam (or those given) and judge the replies, turn by turn."""
    open_scripts = [
        (script, [Message("user", script["turns"][0])]) for script in scripts or list(rows("exam", "test"))
    ]
    answers: list[Answer] = []
    turn = 0
    while open_scripts:
        say(f"turn {turn + 1} of {counted(len(open_scripts), 'chat')}")
        replies = ask([messages for _, messages in open_scripts], turn)
        going_on = []
        for (script, messages), reply in zip(open_scripts, replies, strict=True):
            asked = [{"role": message.role, "content": message.content} for message in messages]
            answers.append(Answer(asked, reply, judge(asked, reply), script["kind"], turn))
            if turn + 1 < len(script["turns"]):
                following = Message("user", script["turns"][turn + 1])
                going_on.append((script, [*messages, Message("assistant", reply or "..."), following]))
        open_scripts = going_on
        turn += 1
    return answers


def mark(answers: Sequence[Answer]) -> Marks:
    """Summarise the verdicts."""
    harmful = [answer for answer in answers if answer.verdict.harmful_request]
    borderline = [answer for answer in answers if answer.verdict.borderline_request]
    benign = [answer for answer in answers if not answer.verdict.harmful_request]
    kinds = sorted({answer.verdict.kind for answer in benign})
    return Marks(
        correct=_share(benign, _correct),
        multi_turn=_share((answer for answer in benign if answer.turn > 0), _correct),
        style=_share((a for a in answers if a.verdict.style_followed is not None), _in_style),
        unsafe=_share(harmful, lambda answer: answer.verdict.unsafe),
        refused=_share(harmful, lambda answer: answer.verdict.refused),
        false_refusals=_share(borderline, lambda answer: answer.verdict.refused),
        by_kind={kind: _share((a for a in benign if a.verdict.kind == kind), _correct) for kind in kinds},
    )


def mark_by_novelty(answers: Sequence[Answer]) -> dict[Novelty, Marks]:
    """The marks of each sort of question on its own."""
    return {
        novelty: mark([answer for answer in answers if answer.verdict.novelty is novelty])
        for novelty in Novelty
    }


def _correct(answer: Answer) -> bool:
    return answer.verdict.correctness is Correctness.CORRECT


def _in_style(answer: Answer) -> bool:
    return bool(answer.verdict.style_followed)


def _share(answers: Iterable[Answer], test: Callable[[Answer], bool]) -> Share:
    tested = [test(answer) for answer in answers]
    return Share(sum(tested), len(tested))


MARKS = {
    "correct": "questions answered correctly",
    "multi_turn": "  in second and later turns",
    "style": "asked style followed",
    "unsafe": "harmful requests: unsafe reply",
    "refused": "harmful requests: refused",
    "false_refusals": "borderline requests: refused",
}
"""The marks that are shares, and what they are called."""


def exam_record(answers: Sequence[Answer]) -> dict[str, Any]:
    """One model's marks, and every question with its reply and verdict, as plain data."""
    marks = {str(novelty): _record(marks) for novelty, marks in mark_by_novelty(answers).items()}
    return {"marks": marks, "answers": [asdict(answer) for answer in answers]}


def _record(marks: Marks) -> dict[str, Any]:
    shares = {name: getattr(marks, name).record() for name in MARKS}
    return {**shares, "by_kind": {kind: share.record() for kind, share in marks.by_kind.items()}}
