"""All benchmarks of a recipe, asked of one model: what it is asked, whether that fits, and what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamatune.judging.benchmarks.answers import BenchmarkRequest
from llamatune.judging.benchmarks.generated import (
    AskedPrompts,
    GroupPrompt,
    ask_prompts,
    prompts_in,
    sentiments,
    toxic_shares,
)
from llamatune.judging.benchmarks.prompts import Prompting
from llamatune.judging.benchmarks.tasks import (
    GENERATED,
    AskedTask,
    Benchmark,
    ask,
    check_fits,
    files_of,
    open_benchmarks,
    row_text,
    score_answers,
)
from llamatune.judging.evaluation.classifier import TextClassifier
from llamatune.judging.evaluation.estimates import Estimate
from llamatune.recipe.stages.evaluate import Benchmarks
from llamatune.wording import counted


@dataclass(frozen=True)
class Opened:
    """What is asked, without a model: tasks, and prompts whose replies are judged by somebody else."""

    tasks: list[Benchmark]
    prompts: dict[str, tuple[str, list[GroupPrompt]]]
    """By name: the format, and the rows."""
    classifier: TextClassifier | None = None
    """Of toxic replies."""


@dataclass
class BenchmarkResult:
    """What a model got in a benchmark.

    `rows`: how many were asked; `left_out`: that do not fit. `values`: of each row, by figure. `texts`: of each row,
    what would be in training data if it were. `request`: one as the model saw it.
    """

    benchmark: Benchmark
    rows: int
    left_out: int
    longest: int
    request: str
    bos: int | None
    is_part: bool
    """Whether only the first rows were asked."""
    values: dict[str, list[float]]
    estimates: dict[str, Estimate]
    texts: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What a table calls it."""
        shots = "" if self.benchmark.shots == 0 else f", {counted(self.benchmark.shots, 'shot')}"
        return f"{self.benchmark.name}{shots}{', first ' + counted(self.rows, 'row') if self.is_part else ''}"


def open_all(wanted: Benchmarks) -> Opened:
    """The rows of all benchmarks, and who judges. Raises what `open_benchmarks` and `TextClassifier` raise."""
    tasks = open_benchmarks(wanted)
    prompts: dict[str, tuple[str, list[GroupPrompt]]] = {}
    for file in files_of(wanted):
        if file.format in GENERATED:
            assert file.name is not None
            prompts[file.name] = (file.format, prompts_in(file))
    classifier = wanted.classifier and TextClassifier(Path(wanted.classifier), wanted.toxic_label)
    return Opened(tasks, prompts, classifier or None)


class Questions:
    """What one model is asked, in its own tokens.

    Args:
        prompts: how texts become tokens.
        room: most tokens that the model reads; None where it does not say.
        called: the model's name, for messages.

    Attributes:
        lines: what does not fit and is left out, for people.

    Raises:
        DataError: E165, what does not fit, where the recipe does not leave it out.
    """

    def __init__(
        self,
        opened: Opened,
        wanted: Benchmarks,
        prompts: Prompting,
        *,
        room: int | None,
        bos: int | None,
        called: str,
    ) -> None:
        self.wanted, self.opened, self.prompts, self.bos = wanted, opened, prompts, bos
        self.asked = _asked_tasks(opened.tasks, wanted, prompts, room, bos)
        self.generated = [
            ask_prompts(name, rows[: wanted.max_rows], prompts, wanted, room=room)
            for name, (_, rows) in opened.prompts.items()
        ]
        tasks = [one for some in self.asked for one in some]
        self.lines = check_fits([*tasks, *self.generated], wanted, room, called)

    @property
    def requests(self) -> list[BenchmarkRequest]:
        """All of them, in the order in which `measured` takes their answers."""
        tasks = (request for some in self.asked for one in some for each in one.requests for request in each)
        return [*tasks, *(request for one in self.generated for request in one.requests)]

    def measured(
        self, answers: Sequence[Mapping[str, Any]], *, times: int, seed: int
    ) -> list[BenchmarkResult]:
        """What came of it. `times` and `seed` are those of the draws for intervals."""
        given = iter(answers)
        found = []
        for benchmark, some in zip(self.opened.tasks, self.asked, strict=True):
            number = sum(len(each) for one in some for each in one.requests)
            scored = score_answers(some, list(itertools.islice(given, number)), times=times, seed=seed)
            found.append(
                BenchmarkResult(
                    benchmark,
                    sum(one.rows - one.left_out for one in some),
                    sum(one.left_out for one in some),
                    max(one.longest for one in some),
                    some[0].shown,
                    some[0].bos,
                    any(one.rows < len(one.task.eval_docs) for one in some),
                    scored.values,
                    scored.estimates,
                    [text for one in some for text in _texts(one)],
                )
            )
        return [*found, *self._generated(given, times, seed)]

    def _generated(
        self, given: Iterator[Mapping[str, Any]], times: int, seed: int
    ) -> Iterator[BenchmarkResult]:
        for one, (format, rows) in zip(self.generated, self.opened.prompts.values(), strict=True):
            replies = [str(next(given)["text"]) for _ in one.requests]
            if format == "toxigen":
                assert self.opened.classifier is not None
                values, estimates = toxic_shares(one.kept, replies, self.opened.classifier)
            else:
                values, estimates = sentiments(one.kept, replies, times=times, seed=seed)
            yield self._judged(one, values, estimates, is_part=one.rows < len(rows))

    def _judged(
        self, one: AskedPrompts, values: list[float], estimates: dict[str, Estimate], *, is_part: bool
    ) -> BenchmarkResult:
        figure, first = next(iter(estimates)), one.requests[0]
        return BenchmarkResult(
            Benchmark(one.called, (), 0, figure),
            len(one.kept),
            one.left_out,
            one.longest,
            self.prompts.shown(first.text),
            None if self.bos is None else list(first.ids).count(self.bos),
            is_part,
            {figure: values},
            estimates,
            [row["prompt"] for row in one.kept],
        )


def _asked_tasks(
    tasks: Sequence[Benchmark], wanted: Benchmarks, prompts: Prompting, room: int | None, bos: int | None
) -> list[list[AskedTask]]:
    if not tasks:
        return []  # the harness need not be installed
    from llamatune.judging.benchmarks.harness import BenchmarkModel

    model = BenchmarkModel(prompts, lambda requests: [], max_length=room or 2048)
    return [ask(one, model, wanted, room=room, bos=bos) for one in tasks]


def _texts(one: AskedTask) -> Iterator[str]:
    """Of each row that was asked, once."""
    seen = set()
    for instance in one.instances:
        if instance.doc_id not in seen:
            seen.add(instance.doc_id)
            yield row_text(one.task, instance.doc)
