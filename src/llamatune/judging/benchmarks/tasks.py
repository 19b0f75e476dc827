"""Open the tasks of benchmarks, ask them of a model, and make figures of its answers.

The harness says what is asked, which examples come first, how an answer is found in a reply and whether it is right.
What it leaves to its models, and what it does in silence, is done here: tokens, answers in shards, requests that do not
fit, and intervals by row.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llamatune.errors import DataError, Problem, RecipeError
from llamatune.judging.benchmarks.answers import BenchmarkRequest, joined
from llamatune.judging.benchmarks.code import check_confinement
from llamatune.judging.benchmarks.own import TASK_FIGURES, file_configs, hub_config, with_names
from llamatune.judging.benchmarks.suites import OWN, SUITES, SuiteTask
from llamatune.judging.evaluation.estimates import Estimate, Share, bootstrapped, mean_of
from llamatune.recipe.stages.evaluate import BenchmarkFile, Benchmarks
from llamatune.wording import counted

if TYPE_CHECKING:
    from llamatune.judging.benchmarks.harness import BenchmarkModel

GENERATED = ("toxigen", "bold")
"""Formats whose replies are judged by another model or lexicon: `generated.py`."""
_SEED = 1234
"""Of the harness, for examples that are drawn."""


@dataclass(frozen=True)
class Benchmark:
    """A task, or the tasks of a group: its name, its shots, the figure that others publish, and by which published
    number this path was verified."""

    name: str
    tasks: tuple[Any, ...]
    shots: int
    figure: str
    verified: str | None = None
    note: str = ""


@dataclass
class AskedTask:
    """A task's requests to one model. `left_out`: rows with a request that does not fit, and what the longest one
    needs."""

    benchmark: Benchmark
    task: Any
    instances: list[Any]
    requests: list[list[BenchmarkRequest]]
    """Of each instance."""
    rows: int
    left_out: int
    longest: int
    shown: str
    """The first request, as the model sees it, and the continuation that was asked about."""
    bos: int | None
    """How often BOS is in it; None where the tokenizer has none."""

    @property
    def called(self) -> str:
        """Of a group, the task."""
        return self.benchmark.name if len(self.benchmark.tasks) == 1 else str(self.task.task_name)


class Fitting(Protocol):
    """How many rows there are, how many of them have a request that does not fit, and what the longest needs."""

    @property
    def called(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def left_out(self) -> int: ...
    @property
    def longest(self) -> int: ...


@dataclass(frozen=True)
class TaskFigures:
    """What a model got: by metric and filter a value of each row, and the figures of all rows."""

    values: dict[str, list[float]] = field(default_factory=dict)
    estimates: dict[str, Estimate] = field(default_factory=dict)


def check_benchmarks(wanted: Benchmarks) -> None:
    """Whether what benchmarks need is there, before anything is spent.

    Raises:
        RecipeError: E029, a package; E028, a name that the suite does not have.
        ModelError: E241, code that cannot be shut in.
    """
    formats = {one.format for one in wanted.files}
    packages = {}
    if wanted.suite or formats - set(GENERATED):
        packages["lm_eval"] = "the tasks are those of lm-evaluation-harness"
    if "bold" in formats:
        packages["vaderSentiment"] = "the sentiment of BOLD is measured by it"
    problems = [
        Problem(
            "E029",
            f"the package `{name}` is not installed",
            "benchmarks",
            why=why,
            hint="pip install 'llamatune[eval]', or leave `benchmarks` out",
        )
        for name, why in packages.items()
        if find_spec(name) is None
    ]
    known = [one.name for one in SUITES[wanted.suite]] if wanted.suite else []
    for name in wanted.only:
        if name not in known:
            what = f"the suite `{wanted.suite}` has no task `{name}`"
            problems.append(Problem("E028", what, "benchmarks.only", hint=f"it has {', '.join(known)}"))
    chosen = [one for one in _of_suite(wanted) if one.name in ("humaneval", "mbpp")]
    if chosen and not wanted.run_code:
        names = " and ".join(one.name for one in chosen)
        problems.append(
            Problem(
                "E028",
                f"{names} of the suite `{wanted.suite}` run what the model has written",
                "benchmarks.run_code",
                why="nobody knows what it does",
                hint="`benchmarks.run_code=true` runs it shut in; `benchmarks.only` chooses other tasks",
            )
        )
    if problems:
        raise RecipeError.of(problems)
    if wanted.run_code:
        check_confinement()


def open_benchmarks(wanted: Benchmarks) -> list[Benchmark]:
    """The tasks with their rows; nothing is indexed that is not asked for.

    Raises:
        DataError: a file that is not what it is said to be (E162, E163), or rows that the hub does not give (E164).
    """
    suite, files = _of_suite(wanted), [one for one in files_of(wanted) if one.format not in GENERATED]
    if not suite and not files:
        return []  # the harness need not be installed
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask

    harness = Path(lm_eval.tasks.__file__).parent
    found = []
    with _quietly():
        for one in suite:
            found.append(_open_suite_task(one, wanted, harness))
        for file in files:
            configs = file_configs(file, chat=wanted.chat, harness=harness)
            tasks = tuple(ConfigurableTask(config=config) for config in configs)
            assert file.name is not None
            found.append(Benchmark(file.name, tasks, configs[0]["num_fewshot"], TASK_FIGURES[file.format]))
    return found


def files_of(wanted: Benchmarks) -> list[BenchmarkFile]:
    """The user's files, each with a name that no other and no task of the suite has."""
    return with_names(wanted.files, [one.name for one in _of_suite(wanted)])


def _of_suite(wanted: Benchmarks) -> list[SuiteTask]:
    suite = SUITES[wanted.suite] if wanted.suite else ()
    return [one for one in suite if not wanted.only or one.name in wanted.only]


def _open_suite_task(one: SuiteTask, wanted: Benchmarks, harness: Path) -> Benchmark:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    try:
        if one.folder == OWN:
            tasks = (ConfigurableTask(config=hub_config(one.task, chat=wanted.chat)),)
        else:
            manager = TaskManager(include_path=harness / one.folder, include_defaults=False)
            tasks = tuple(manager.load(one.task.split(","))["tasks"].values())
    # The harness and the hub's library raise a dozen kinds.
    except Exception as error:
        raise DataError(
            "E164",
            f"the rows of the benchmark `{one.name}` cannot be loaded: {str(error).splitlines()[0][:200]}",
            place=f"benchmarks.suite: {wanted.suite}",
            hint="its data set has to be on this machine, or the hub within reach; `benchmarks.files` reads your own "
            "files",
        ) from None
    for task in tasks:
        task.set_config(key="num_fewshot", value=one.shots)
    return Benchmark(one.name, tasks, one.shots, one.figure, one.verified, one.note)


@contextmanager
def _quietly() -> Iterator[None]:
    """The harness warns of what is meant here, and says every task's progress."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


# ---- what is asked ------------------------------------------------------------------------------------------------


def ask(
    benchmark: Benchmark, model: BenchmarkModel, wanted: Benchmarks, *, room: int | None, bos: int | None
) -> list[AskedTask]:
    """The requests of each of its tasks to a model, in that model's tokens.

    Args:
        room: most tokens that the model reads; None where it does not say.
        bos: the token that texts begin with.
    """
    return [_ask(benchmark, task, model, wanted, room, bos) for task in benchmark.tasks]


def _ask(
    benchmark: Benchmark,
    task: Any,
    model: BenchmarkModel,
    wanted: Benchmarks,
    room: int | None,
    bos: int | None,
) -> AskedTask:
    with _quietly():
        # Every model gets the same examples.
        task.set_fewshot_seed(seed=_SEED)
        task.build_all_requests(
            limit=wanted.max_rows,
            apply_chat_template=wanted.chat,
            fewshot_as_multiturn=wanted.multiturn,
            chat_template=model.apply_chat_template if wanted.chat else None,
            tokenizer_name=model.tokenizer_name,
        )
    asked = [(one, _repeated(_shortened(model.requests(one), wanted), one)) for one in task.instances]
    rows = {one.doc_id for one, _ in asked}
    tokens = {one.doc_id: 0 for one, _ in asked}
    for one, requests in asked:
        tokens[one.doc_id] = max([tokens[one.doc_id], *(request.tokens for request in requests)])
    too_long = {row for row, needed in tokens.items() if room is not None and needed > room}
    first, first_requests = asked[0]
    ids = list(first_requests[0].ids) if first_requests else []
    return AskedTask(
        benchmark,
        task,
        [one for one, _ in asked if one.doc_id not in too_long],
        [requests for one, requests in asked if one.doc_id not in too_long],
        len(rows),
        len(too_long),
        max(tokens.values()),
        _shown(model, first),
        None if bos is None else ids.count(bos),
    )


def _shortened(requests: list[BenchmarkRequest], wanted: Benchmarks) -> list[BenchmarkRequest]:
    most = wanted.max_new_tokens
    return [replace(one, max_new_tokens=most) if most and one.samples else one for one in requests]


def _repeated(requests: list[BenchmarkRequest], instance: Any) -> list[BenchmarkRequest]:
    return [replace(one, number=number) for number in range(instance.repeats or 1) for one in requests]


def row_text(task: Any, row: Any) -> str:
    """What would be in training data if a row were: its question and its answer, without examples."""
    question, answer = task.doc_to_text(row), task.doc_to_target(row)
    if task.config.doc_to_choice is not None:
        choices = task.doc_to_choice(row)
        answer = choices[answer] if isinstance(answer, int) and answer < len(choices) else ""
    parts = [
        question if isinstance(question, str) else "",
        *(answer if isinstance(answer, list) else [answer]),
    ]
    return " ".join(str(part) for part in parts if part != "")


def _shown(model: BenchmarkModel, instance: Any) -> str:
    if instance.request_type == "loglikelihood_rolling":
        return str(instance.args[0])
    text = model.prompts.shown(instance.args[0]) if instance.args[0] else ""
    return f"{text}⟦{instance.args[1]}⟧" if instance.request_type == "loglikelihood" else text


def check_fits(asked: Sequence[Fitting], wanted: Benchmarks, room: int | None, model: str) -> list[str]:
    """Lines on what does not fit, before anything is asked.

    Raises:
        DataError: E165, requests that do not fit, where the recipe does not leave them out; or none that does.
    """
    lines, problems = [], []
    for one in asked:
        if not one.left_out:
            continue
        said = (
            f"{one.called}: {one.left_out:,} of {counted(one.rows, 'row')} ({one.left_out / one.rows:.1%}) "
            f"{'does' if one.left_out == 1 else 'do'} not fit the {room:,} tokens of {model}; "
            f"the longest needs {one.longest:,}"
        )
        if wanted.too_long == "drop" and one.left_out < one.rows:
            lines.append(f"{said}: they are left out, and the figure is that of the others")
            continue
        problems.append(
            Problem(
                "E165",
                said,
                "benchmarks",
                why="cut, a question would lose its examples or its beginning in silence",
                hint="fewer `shots`, or `benchmarks.too_long=drop` leaves these rows out"
                if one.left_out < one.rows
                else "fewer `shots`, or another model: not one row fits",
            )
        )
    if problems:
        raise DataError.of(problems)
    return lines


# ---- what came of it ----------------------------------------------------------------------------------------------


def score_answers(
    asked: Sequence[AskedTask], answers: Sequence[Mapping[str, Any]], *, times: int, seed: int
) -> TaskFigures:
    """The figures of a benchmark: of all rows of all its tasks, each row with the same weight.

    Args:
        answers: to the requests of all of `asked`, in order.
    """
    given = iter(answers)
    values: dict[str, list[Any]] = {}
    aggregation: dict[str, Any] = {}
    for one in asked:
        for instance, requests in zip(one.instances, one.requests, strict=True):
            instance.resps = _responses(instance, list(islice(given, len(requests))))
        for name, value in _values(one):
            values.setdefault(name, []).append(value)
            aggregation.setdefault(name, one.task.aggregation().get(name.partition(",")[0]))
    estimates = {
        name: found
        for name, each in values.items()
        if (found := _estimate(each, aggregation[name], times, seed)) is not None
    }
    plain = {name: list(map(float, each)) for name, each in values.items() if _are_numbers(each)}
    return TaskFigures(plain, estimates)


def _responses(instance: Any, answers: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the harness would have been given, once for each repeat."""
    times = instance.repeats or 1
    size = len(answers) // times
    parts = [answers[at * size : (at + 1) * size] for at in range(times)]
    if instance.request_type == "generate_until":
        return [str(part[0]["text"]) for part in parts]
    pairs = list(map(joined, parts))
    return pairs if instance.request_type == "loglikelihood" else [logprob for logprob, _ in pairs]


def _values(one: AskedTask) -> Iterator[tuple[str, Any]]:
    """(metric and filter, value) of each row, in order."""
    if not one.instances:
        return
    task = one.task
    task._instances = one.instances
    task.apply_filters()
    rows: dict[int, list[Any]] = {}
    for instance in one.instances:
        rows.setdefault(instance.doc_id, []).append(instance)
    for filtered in one.instances[0].filtered_resps:
        for instances in rows.values():
            instances.sort(key=lambda instance: instance.idx)
            found = task.process_results(
                instances[0].doc, [instance.filtered_resps[filtered] for instance in instances]
            )
            for metric, value in found.items():
                yield metric if filtered == "none" else f"{metric},{filtered}", value


def _estimate(each: Sequence[Any], aggregate: Any, times: int, seed: int) -> Estimate | None:
    from lm_eval.api.metrics import mean

    if _are_numbers(each) and aggregate in (None, mean):
        if all(one in (0, 1) for one in each):
            return Share(int(sum(each)), len(each)).estimate()
        return mean_of(list(map(float, each)), times=times, seed=seed)
    if aggregate is None:
        return None
    return _aggregated(each, aggregate, times, seed)


def _aggregated(each: Sequence[Any], aggregate: Any, times: int, seed: int) -> Estimate:
    """Of figures that are no mean of rows, such as F1."""

    def drawn(block: np.ndarray) -> np.ndarray:
        counts = block.astype(int)
        return np.array(
            [
                float(aggregate([each[at] for at in np.repeat(np.arange(len(each)), row).tolist()]))
                for row in counts
            ]
        )

    low, high = bootstrapped(drawn, len(each), times=min(times, 200), seed=seed)
    return Estimate(float(aggregate(list(each))), low, high, len(each))


def _are_numbers(each: Sequence[Any]) -> bool:
    return all(isinstance(one, (int, float, np.number)) for one in each)
