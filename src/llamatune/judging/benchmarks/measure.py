"""All benchmarks of a recipe, asked of one model: what it is asked, whether that fits, and what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.judging.benchmarks.answers import BenchmarkRequest
from llamatune.judging.benchmarks.generated import (
    Classifier,
    GroupPrompt,
    prompts_in,
    requests_for,
    sentiments,
    toxic_shares,
)
from llamatune.judging.benchmarks.tasks import (
    GENERATED,
    AskedTask,
    Benchmark,
    ask,
    check_fits,
    open_benchmarks,
    row_text,
    score_answers,
)
from llamatune.judging.evaluation.estimates import Estimate
from llamatune.recipe.stages.evaluate import Benchmarks

if TYPE_CHECKING:
    from llamatune.judging.benchmarks.harness import BenchmarkModel


@dataclass(frozen=True)
class Opened:
    """What is asked, without a model: tasks, and prompts whose replies are judged by somebody else."""

    tasks: list[Benchmark]
    prompts: dict[str, tuple[str, list[GroupPrompt]]]
    """By name: the format, and the rows."""


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
        shots = "" if self.benchmark.shots == 0 else f", {self.benchmark.shots} shots"
        return f"{self.benchmark.name}{shots}{f', first {self.rows:,} rows' if self.is_part else ''}"


def open_all(wanted: Benchmarks) -> Opened:
    """The rows of all benchmarks. Raises what `open_benchmarks` raises."""
    tasks = open_benchmarks(wanted)
    prompts: dict[str, tuple[str, list[GroupPrompt]]] = {}
    for file in wanted.files:
        if file.format in GENERATED:
            name = file.name or Path(file.path).name.partition(".")[0]
            prompts[name] = (file.format, prompts_in(file)[: wanted.max_rows])
    return Opened(tasks, prompts)


class Questions:
    """What one model is asked, in its own tokens.

    Args:
        model: how the harness's texts become tokens.
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
        model: BenchmarkModel,
        *,
        room: int | None,
        bos: int | None,
        called: str,
    ) -> None:
        self.wanted, self.opened, self.prompts = wanted, opened, model.prompts
        self.asked = [ask(one, model, wanted, room=room, bos=bos) for one in opened.tasks]
        self.lines = check_fits([one for some in self.asked for one in some], wanted, room, called)
        self.generated = {
            name: requests_for(rows, model.prompts, wanted) for name, (_, rows) in opened.prompts.items()
        }
        self.bos = bos

    @property
    def requests(self) -> list[BenchmarkRequest]:
        """All of them, in the order in which `measured` takes their answers."""
        tasks = (request for some in self.asked for one in some for each in one.requests for request in each)
        return [*tasks, *itertools.chain.from_iterable(self.generated.values())]

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
        for name, (format, rows) in self.opened.prompts.items():
            requests = self.generated[name]
            replies = [str(next(given)["text"]) for _ in requests]
            if format == "toxigen":
                assert self.wanted.classifier is not None
                classifier = Classifier(self.wanted.classifier, self.wanted.toxic_label)
                values, estimates = toxic_shares(rows, replies, classifier)
            else:
                values, estimates = sentiments(rows, replies, times=times, seed=seed)
            figure = next(iter(estimates))
            yield BenchmarkResult(
                Benchmark(name, (), 0, figure),
                len(rows),
                0,
                max(one.tokens for one in requests),
                self.prompts.shown(requests[0].text),
                None if self.bos is None else list(requests[0].ids).count(self.bos),
                self.wanted.max_rows is not None and len(rows) == self.wanted.max_rows,
                {figure: values},
                estimates,
                [row["prompt"] for row in rows],
            )


def _texts(one: AskedTask) -> Iterator[str]:
    """Of each row that was asked, once."""
    seen = set()
    for instance in one.instances:
        if instance.doc_id not in seen:
            seen.add(instance.doc_id)
            yield row_text(one.task, instance.doc)
