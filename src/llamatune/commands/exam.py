"""Examine a chat model on the miniature world: held-out questions, marked by the world's oracle.

The quick way to what `stage: evaluate` does with `exam: true` (`judging.evaluation.exam`), for models by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llamatune.data.rows import Message
from llamatune.judging.evaluation.estimates import Share
from llamatune.judging.evaluation.exam import (
    EXAM_TOKENS,
    MARKS,
    Answer,
    Ask,
    Marks,
    mark_by_novelty,
    sit_exam,
)
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Generation
from llamatune.runs.shards import Say
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import sample_replies
from llamatune.world import Novelty

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llamatune.data.encode.chat import ChatFormat

_WIDTH = 90
"""Most characters of a reply that is shown."""


def asker(model: PreTrainedModel, chat: ChatFormat) -> Ask:
    """A loaded model, which answers in batches and greedily."""
    sampler = GenerateSampler(model, pad_id=chat.tokenizer.pad_token_id)
    generation = Generation(max_new_tokens=EXAM_TOKENS)

    def ask(conversations: Sequence[Sequence[Message]], turn: int) -> list[str]:
        return sample_replies(sampler, chat, conversations, generation)

    return ask


def marks_table(columns: Mapping[Novelty, Marks]) -> str:
    """One model's marks side by side, as plain text: shares with their 95% intervals, and of how many."""
    every = list(columns.values())
    kinds = sorted({kind for marks in every for kind in marks.by_kind})
    none = Share(0, 0)
    lines: list[tuple[str, list[str]]] = [
        ("", [str(novelty) for novelty in columns]),
        *((title, [str(getattr(marks, name)) for marks in every]) for name, title in MARKS.items()),
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
        answers[name] = sit_exam(asker(opened.model, chat), say=_about(name, say))
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


def _one_line(reply: str) -> str:
    text = " / ".join(reply.splitlines())
    return text if len(text) <= _WIDTH else text[:_WIDTH] + " ..."
