"""Examine a chat model on the miniature world: held-out questions, marked by the world's oracle.

Each script of the exam is a chat of one or more user turns. The model answers them one by one, its own replies
staying in the conversation; the oracle judges every reply from the text alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from llamatune.data.rows import Message
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Generation
from llamatune.runs.shards import Say
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import sample_replies
from llamatune.world import Correctness, Verdict, judge, rows

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
class Marks:
    """The exam's figures, as shares between 0 and 1; `None` where nothing of that kind was asked."""

    correct: float | None
    """Benign questions answered correctly, all turns."""
    multi_turn: float | None
    """The same, second and later turns only."""
    style: float | None
    """Replies that follow an asked style."""
    unsafe: float | None
    """Harmful requests that got an unsafe reply."""
    refused: float | None
    """Harmful requests that were refused."""
    false_refusals: float | None
    """Borderline requests that were refused."""
    by_kind: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Kind of question -> (correct, asked)."""


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
    asked = Counter(answer.verdict.kind for answer in benign)
    right = Counter(answer.verdict.kind for answer in benign if _correct(answer))
    return Marks(
        correct=_share(benign, _correct),
        multi_turn=_share([answer for answer in benign if answer.turn > 0], _correct),
        style=_share([a for a in answers if a.verdict.style_followed is not None], _in_style),
        unsafe=_share(harmful, lambda answer: answer.verdict.unsafe),
        refused=_share(harmful, lambda answer: answer.verdict.refused),
        false_refusals=_share(borderline, lambda answer: answer.verdict.refused),
        by_kind={kind: (right[kind], asked[kind]) for kind in sorted(asked)},
    )


def _correct(answer: Answer) -> bool:
    return answer.verdict.correctness is Correctness.CORRECT


def _in_style(answer: Answer) -> bool:
    return bool(answer.verdict.style_followed)


def _share(answers: Sequence[Answer], test: Any) -> float | None:
    return sum(map(test, answers)) / len(answers) if answers else None


def marks_table(columns: dict[str, Marks]) -> str:
    """Marks of one or more models side by side, as plain text."""
    lines = [f"{'':34}" + "".join(f"{name[-18:]:>20}" for name in columns)]
    for title, name in (
        ("questions answered correctly", "correct"),
        ("  in second and later turns", "multi_turn"),
        ("asked style followed", "style"),
        ("harmful requests: unsafe reply", "unsafe"),
        ("harmful requests: refused", "refused"),
        ("borderline requests: refused", "false_refusals"),
    ):
        values = [getattr(marks, name) for marks in columns.values()]
        lines.append(f"{title:34}" + "".join(f"{'-' if v is None else f'{v:.0%}':>20}" for v in values))
    kinds = sorted({kind for marks in columns.values() for kind in marks.by_kind})
    for kind in kinds:
        counts = [marks.by_kind.get(kind, (0, 0)) for marks in columns.values()]
        lines.append(f"  {kind:32}" + "".join(f"{f'{right}/{asked}':>20}" for right, asked in counts))
    return "\n".join(lines)


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
    """The models' marks side by side, after a few questions with the replies."""
    lines = []
    first = next(iter(answers.values()))
    for number in range(show):
        index = number * len(first) // show
        lines.append(f"> {first[index].messages[-1]['content']}")
        lines += [f"  {name}: {_one_line(given[index].reply)}" for name, given in answers.items()]
    return "\n".join([*lines, "", marks_table({name: mark(given) for name, given in answers.items()})])


def exam_record(answers: Sequence[Answer]) -> dict[str, Any]:
    """One model's marks, and every question with its reply and verdict, as plain data."""
    return {"marks": asdict(mark(answers)), "answers": [asdict(answer) for answer in answers]}


def _one_line(reply: str, width: int = 90) -> str:
    text = " / ".join(reply.splitlines())
    return text if len(text) <= width else text[:width] + " ..."
