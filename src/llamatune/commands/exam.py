"""Examine a chat model on the miniature world: held-out questions, marked by the world's oracle.

Each script of the exam is a chat of one or more user turns. The model answers them one by one, its own replies
staying in the conversation; the oracle judges every reply from the text alone. Marks are given apart for questions
with held-out arguments, in held-out wordings, and such as training may have asked (`world.Novelty`), each with its 95%
interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llamatune.data.rows import Message
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Generation
from llamatune.runs.shards import Say
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import sample_replies
from llamatune.world import Correctness, Novelty, Verdict, judge, rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llamatune.data.encode.chat import ChatFormat

_GENERATION = Generation(max_new_tokens=48)


@dataclass(frozen=True)
class Answer:
    """One reply of the exam, with what it was asked (the whole conversation) and the oracle's verdict."""

    messages: list[dict[str, str]]
    reply: str
    verdict: Verdict
    kind: str
    turn: int


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Between which shares the true one lies with 95% confidence (Wilson's interval); of at least one."""
        z = 1.96
        middle = (self.hits + z * z / 2) / (self.of + z * z)
        reach = z * math.sqrt(self.hits * (self.of - self.hits) / self.of + z * z / 4) / (self.of + z * z)
        return max(0.0, middle - reach), min(1.0, middle + reach)

    def __str__(self) -> str:
        if not self.of:
            return "-"
        low, high = self.interval
        return f"{self.hits / self.of:.0%} ({low:.0%}-{high:.0%}) of {self.of}"

    def record(self) -> dict[str, float | int | None]:
        """As plain data."""
        low, high = self.interval if self.of else (None, None)
        share = self.hits / self.of if self.of else None
        return {"hits": self.hits, "of": self.of, "share": share, "low": low, "high": high}


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
    model: PreTrainedModel,
    chat: ChatFormat,
    scripts: Sequence[dict[str, Any]] | None = None,
    *,
    say: Say = lambda line: None,
) -> list[Answer]:
    """Ask every script of the exam (or those given) and judge the replies, turn by turn in batches."""
    open_scripts = [
        (script, [Message("user", script["turns"][0])]) for script in scripts or list(rows("exam", "test"))
    ]
    sampler = GenerateSampler(model, pad_id=chat.tokenizer.pad_token_id)
    answers: list[Answer] = []
    turn = 0
    while open_scripts:
        say(f"turn {turn + 1} of {len(open_scripts):,} chats")
        replies = sample_replies(sampler, chat, [messages for _, messages in open_scripts], _GENERATION)
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


_ROWS = {
    "questions answered correctly": "correct",
    "  in second and later turns": "multi_turn",
    "asked style followed": "style",
    "harmful requests: unsafe reply": "unsafe",
    "harmful requests: refused": "refused",
    "borderline requests: refused": "false_refusals",
}


def marks_table(columns: Mapping[Novelty, Marks]) -> str:
    """One model's marks side by side, as plain text: shares with their 95% intervals, and of how many."""
    every = list(columns.values())
    kinds = sorted({kind for marks in every for kind in marks.by_kind})
    none = Share(0, 0)
    lines: list[tuple[str, list[str]]] = [
        ("", [str(novelty) for novelty in columns]),
        *((title, [str(getattr(marks, name)) for marks in every]) for title, name in _ROWS.items()),
        *((f"  {kind}", [str(marks.by_kind.get(kind, none)) for marks in every]) for kind in kinds),
    ]
    return "\n".join(f"{title:32}" + "".join(f"{cell:>23}" for cell in cells) for title, cells in lines)


def _about(name: str, say: Say) -> Say:
    return lambda line: say(f"{name}: {line}")


@quiet_upstream()
def examine(models: Sequence[str], *, say: Say = lambda line: None) -> dict[str, list[Answer]]:
    """Let each model sit the exam: its answers, by its name. `say` takes lines about how far it is.

    Raises:
        ModelError: a model that cannot be opened, or that writes no replies.
    """
    from llamatune.data.encode.chat import ChatFormat
    from llamatune.models.open import open_model

    answers: dict[str, list[Answer]] = {}
    for name in models:
        say(f"{name}: loading")
        opened = open_model(name)
        chat = ChatFormat(opened.tokenizer, opened.chat)
        answers[name] = sit_exam(opened.model, chat, say=_about(name, say))
    return answers


def exam_report(answers: Mapping[str, Sequence[Answer]], *, show: int = 0) -> str:
    """Each model's marks, after a few questions with the replies of all."""
    lines = []
    first = next(iter(answers.values()))
    for number in range(show):
        index = number * len(first) // show
        lines.append(f"> {first[index].messages[-1]['content']}")
        lines += [f"  {name}: {_one_line(given[index].reply)}" for name, given in answers.items()]
    tables = [f"\n{name}\n{marks_table(mark_by_novelty(given))}" for name, given in answers.items()]
    return "\n".join([*lines, *tables])


def exam_record(answers: Sequence[Answer]) -> dict[str, Any]:
    """One model's marks, and every question with its reply and verdict, as plain data."""
    marks = {str(novelty): _record(marks) for novelty, marks in mark_by_novelty(answers).items()}
    return {"marks": marks, "answers": [asdict(answer) for answer in answers]}


def _record(marks: Marks) -> dict[str, Any]:
    shares = {name: getattr(marks, name).record() for name in _ROWS.values()}
    return {**shares, "by_kind": {kind: share.record() for kind, share in marks.by_kind.items()}}


def _one_line(reply: str, width: int = 90) -> str:
    text = " / ".join(reply.splitlines())
    return text if len(text) <= width else text[:width] + " ..."
