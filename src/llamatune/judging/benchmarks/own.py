"""Tasks of llamatune's own: the user's files, and code that runs shut in. Each is a configuration that
lm-evaluation-harness reads like one of its YAML files.

What a question looks like is what the papers of these benchmarks and the harness have; what ends a reply is not always:
the harness ends one at any `Q` (bbh) or `Question:` (gsm8k), with which a chat model may well begin.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from llamatune.data.read.readers import read_rows
from llamatune.errors import DataError, reason_of
from llamatune.judging.benchmarks.code import passes
from llamatune.outside import is_folder, read_any_json, read_whole
from llamatune.recipe.stages.evaluate import BenchmarkFile
from llamatune.wording import counted

TaskConfiguration = dict[str, Any]
_Row = Mapping[str, Any]

SHOTS = {"mmlu": 5, "gsm8k": 8, "bbh": 3, "humaneval": 0, "mbpp": 3}
"""Of the paper."""
TASK_FIGURES = {
    "mmlu": "acc",
    "gsm8k": "exact_match,strict-match",
    "bbh": "exact_match",
    "humaneval": "pass@1",
    "mbpp": "pass@1",
}
_HUB: dict[str, TaskConfiguration] = {
    "humaneval": {"dataset_path": "openai/openai_humaneval", "test_split": "test"},
    "mbpp": {
        "dataset_path": "google-research-datasets/mbpp",
        "dataset_name": "full",
        "test_split": "test",
        "fewshot_split": "prompt",
        "fewshot_config": {"sampler": "first_n"},
    },
}
_NEEDED = {
    "gsm8k": ("question", "answer"),
    "bbh": ("input", "target"),
    "humaneval": ("prompt", "test", "entry_point"),
    "mbpp": ("text", "code", "test_list"),
}


def own_config(format: str, *, chat: bool) -> TaskConfiguration:
    """The configuration of a task without its rows."""
    config = _CONFIGS[format](chat)
    return {"task": format, "target_delimiter": " ", "num_fewshot": SHOTS[format], "repeats": 1, **config}


def hub_config(format: str, *, chat: bool) -> TaskConfiguration:
    """With its rows from the hub."""
    return {**own_config(format, chat=chat), **_HUB[format]}


def file_configs(file: BenchmarkFile, *, chat: bool, harness: Path) -> list[TaskConfiguration]:
    """With its rows from the user's files; one task for each subject of mmlu.

    Args:
        file: with a name.
        harness: the folder of the harness's tasks, in which bbh's examples are.

    Raises:
        DataError: a file that is not there, cannot be read, or is another one (E162); no examples where some are wanted
            (E163).
    """
    config = own_config(file.format, chat=chat)
    shots = config["num_fewshot"] if file.shots is None else file.shots
    config |= {"num_fewshot": shots, "test_split": "test"}
    found = []
    for name, rows, examples, extra in _READERS[file.format](file, harness):
        if shots > len(examples):
            raise DataError(
                "E163",
                f"{counted(shots, 'example is', 'examples are')} wanted, and there "
                f"{'is' if len(examples) == 1 else 'are'} {len(examples)}",
                place=file.path,
                why="examples from among the questions themselves would give their answers away",
                hint="name the file that they are from as `shots_from`, or say `shots: 0`",
            )
        found.append({**config, **extra, "task": name, **_with_rows(rows, examples)})
    return found


def _with_rows(rows: Sequence[_Row], examples: Sequence[_Row]) -> TaskConfiguration:
    def dataset(**_: Any) -> Any:
        from datasets import Dataset

        return {"test": Dataset.from_list(list(map(dict, rows)))}

    return {
        "custom_dataset": dataset,
        "fewshot_config": {"sampler": "first_n", "samples": list(map(dict, examples))},
    }


# ---- what is asked ------------------------------------------------------------------------------------------------


def _mmlu(chat: bool) -> TaskConfiguration:
    letters = "".join(f"\n{letter}. {{{{choices[{at}]}}}}" for at, letter in enumerate("ABCD"))
    return {
        "output_type": "multiple_choice",
        "doc_to_text": f"{{{{question.strip()}}}}{letters}\nAnswer:",
        "doc_to_choice": list("ABCD"),
        "doc_to_target": "answer",
        "metric_list": [_mean("acc")],
    }


def _gsm8k(chat: bool) -> TaskConfiguration:
    number = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"
    ignored = {"ignore_case": True, "regexes_to_ignore": [",", r"\$", r"(?s).*#### ", r"\.$"]}
    return {
        "output_type": "generate_until",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\nQuestion:"], "do_sample": False, "max_gen_toks": 256},
        "metric_list": [{**_mean("exact_match"), **ignored}],
        "filter_list": [
            _filter("strict-match", {"function": "regex", "regex_pattern": r"#### (\-?[0-9\.\,]+)"}),
            _filter("flexible-extract", {"function": "regex", "group_select": -1, "regex_pattern": number}),
        ],
    }


def _bbh(chat: bool) -> TaskConfiguration:
    return {
        "output_type": "generate_until",
        "doc_to_text": "Q: {{input}}\nA:",
        "doc_to_target": "{{target}}",
        "generation_kwargs": {"until": ["\nQ:", "\n\n"], "do_sample": False, "max_gen_toks": 64},
        "metric_list": [_mean("exact_match")],
        "filter_list": [_filter("none", {"function": "remove_whitespace"})],
    }


def _humaneval(chat: bool) -> TaskConfiguration:
    text = "{{prompt}}"
    if chat:
        text = (
            "Complete this Python function. Reply with the whole function in a block of code.\n\n"
            "```python\n{{prompt}}```"
        )
    return {
        "output_type": "generate_until",
        "doc_to_text": text,
        "doc_to_target": "{{test}}\ncheck({{entry_point}})",
        "process_results": partial(_completes, chat=chat),
        "generation_kwargs": {
            "until": [] if chat else ["\nclass", "\ndef", "\n#", "\nif", "\nprint"],
            "do_sample": False,
            "max_gen_toks": 512,
        },
        "metric_list": [_mean("pass@1")],
    }


def _completes(row: _Row, said: Sequence[str], *, chat: bool) -> dict[str, float]:
    """Whether a function passes its tests: one that a reply has whole, or the rest of the prompt's."""
    prompt = row["prompt"]
    asked = re.compile(rf"^def {re.escape(row['entry_point'])}\b", re.MULTILINE)
    blocks = _blocks_in(said[0])
    whole = next(filter(asked.search, blocks or said), None)
    if whole is not None:
        # What the prompt has before the function is there in any case: imports, and functions that it calls.
        begins = asked.search(prompt)
        written = f"{prompt[: begins.start()] if begins else ''}\n{whole}"
    else:
        # Of a chat's reply the blanks before its first line are gone (`ChatPrompts.reply`).
        lost = "    " if chat and not blocks and not said[0].startswith((" ", "\t")) else ""
        written = prompt + lost + in_block(said[0])
    return {"pass@1": float(passes(f"{written}\n\n{row['test']}\n\ncheck({row['entry_point']})\n"))}


def in_block(said: str) -> str:
    """The first block of code in a reply; all of it where there is none."""
    return next(iter(_blocks_in(said)), said)


def _blocks_in(said: str) -> list[str]:
    return re.findall(r"```[^\n`]*\n(.*?)(?:```|\Z)", said, re.DOTALL)


def _mbpp(chat: bool) -> TaskConfiguration:
    return {
        "output_type": "generate_until",
        "doc_to_text": "You are an expert Python programmer, and here is your task: {{text}} Your code should pass "
        "these tests:\n\n{{test_list | join('\n')}}\n[BEGIN]",
        "target_delimiter": "\n",
        "doc_to_target": "{{code}}\n[DONE]",
        "process_results": _solves,
        "generation_kwargs": {"until": ["[DONE]"], "do_sample": False, "max_gen_toks": 512},
        "metric_list": [_mean("pass@1")],
    }


def _solves(row: _Row, said: Sequence[str]) -> dict[str, float]:
    """Whether a program passes its tests."""
    before = row.get("test_setup_code") or ""
    program = "\n".join([before, in_block(said[0]), *row["test_list"]])
    return {"pass@1": float(passes(program))}


def _mean(metric: str) -> TaskConfiguration:
    return {"metric": metric, "aggregation": "mean", "higher_is_better": True}


def _filter(name: str, *steps: TaskConfiguration) -> TaskConfiguration:
    return {"name": name, "filter": [*steps, {"function": "take_first"}]}


_CONFIGS: dict[str, Callable[[bool], TaskConfiguration]] = {
    "mmlu": _mmlu,
    "gsm8k": _gsm8k,
    "bbh": _bbh,
    "humaneval": _humaneval,
    "mbpp": _mbpp,
}


# ---- the user's files ---------------------------------------------------------------------------------------------

_Found = Iterator[tuple[str, list[_Row], list[_Row], TaskConfiguration]]
"""Of each task: its name, its rows, its examples, and what else its configuration says."""


def _read_rows(file: BenchmarkFile, harness: Path) -> _Found:
    examples = _checked(file.format, Path(file.shots_from)) if file.shots_from else []
    yield _name(file), _checked(file.format, Path(file.path)), examples, {}


def _read_bbh(file: BenchmarkFile, harness: Path) -> _Found:
    """The rows of a task; its examples are those of the harness, where it knows the task."""
    rows = _checked("bbh", Path(file.path))
    extra: TaskConfiguration = {}
    if file.shots_from:
        examples = _checked("bbh", Path(file.shots_from))
    else:
        examples = []
        known = harness / "bbh/fewshot" / f"{Path(file.path).stem.removeprefix('bbh_')}.yaml"
        if known.is_file():
            from lm_eval.tasks._yaml_loader import load_yaml

            said = load_yaml(known, recursive=False)
            examples, extra = said["fewshot_config"]["samples"], {"description": said["description"]}
    yield _name(file), rows, examples, extra


def _read_mmlu(file: BenchmarkFile, harness: Path) -> _Found:
    """Hendrycks' CSV files without a head: question, four choices, letter."""
    path = Path(file.path)
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise another_file(path, "it holds no CSV file")
    for one in files:
        subject = one.stem.removesuffix("_test")
        examples: list[_Row] = []
        if file.shots_from:
            there = Path(file.shots_from)
            examples = _mmlu_rows(there / f"{subject}_dev.csv" if there.is_dir() else there)
        about = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
        name = _name(file) if len(files) == 1 else f"{_name(file)}_{subject}"
        yield name, _mmlu_rows(one), examples, {"description": about}


def _mmlu_rows(path: Path) -> list[_Row]:
    try:
        rows = list(csv.reader(io.StringIO(read_whole(path).decode("utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise another_file(path, reason_of(error)) from None
    found: list[_Row] = []
    for number, row in enumerate(rows, 1):
        if len(row) != 6 or row[5] not in tuple("ABCD"):
            raise another_file(
                path, f"line {number} is not a question, four choices and one of A, B, C and D"
            )
        found.append({"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5])})
    if not found:
        raise another_file(path, "it is empty")
    return found


def _checked(format: str, path: Path) -> list[_Row]:
    """The rows of a file, each with the columns of its format."""
    rows = _bbh_rows(path) if format == "bbh" else [row for _, row in read_rows(path)]
    for number, row in enumerate(rows, 1):
        missing = [key for key in _NEEDED[format] if not _is_given(row.get(key))]
        if missing:
            raise another_file(path, f"row {number} has no {' and no '.join(missing)}")
    # All rows with the same columns, those that are used.
    return [{key: row.get(key) for key in (*_NEEDED[format], *_ALSO.get(format, ()))} for row in rows]


def _is_given(value: Any) -> bool:
    """Whether this is a text, or texts."""
    texts = value if isinstance(value, list) else [value]
    return all(isinstance(one, str) for one in texts)


_ALSO = {"mbpp": ("test_setup_code",)}


def _bbh_rows(path: Path) -> list[_Row]:
    try:
        content = read_any_json(path)
    except (OSError, ValueError) as error:
        raise another_file(path, reason_of(error)) from None
    rows = content.get("examples") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise another_file(path, "it has no list of `examples`")
    return rows


def with_names(files: Sequence[BenchmarkFile], taken: Iterable[str]) -> list[BenchmarkFile]:
    """The user's files, each with a name of its own: two folders may hold a `test.jsonl`, and figures are kept by name.

    Args:
        taken: names that others have.
    """
    used, found = set(taken), []
    for file in files:
        name = file.name or Path(file.path).name.partition(".")[0]
        numbered = (f"{name}-{number}" for number in count(2))
        own = name if name not in used else next(new for new in numbered if new not in used)
        used.add(own)
        found.append(file.model_copy(update={"name": own}))
    return found


_SAID = {
    "humaneval": ("prompt", "canonical_solution"),
    "mbpp": ("text", "code"),
    "gsm8k": ("question", "answer"),
}


def benchmark_texts(path: Path) -> list[str] | None:
    """All that is said in each row of a benchmark's file, or of mmlu's folder: question, choices, solution; None where
    it is none that llamatune knows by its form."""
    if is_folder(path) or path.suffix == ".csv":
        with suppress(DataError):
            files = sorted(path.glob("*.csv")) if is_folder(path) else [path]
            every = [row for one in files for row in _mmlu_rows(one)]
            return ["\n".join([row["question"], *row["choices"]]) for row in every] or None
        return None
    if path.suffix == ".json":
        with suppress(DataError):
            return [f"{row['input']}\n{row['target']}" for row in _checked("bbh", path)]
    with suppress(DataError):
        _, first = next(iter(read_rows(path)), ("", {}))
        for format, said in _SAID.items():
            if {*_NEEDED[format], *said} <= set(first):
                rows = (row for _, row in read_rows(path))
                return [
                    "\n".join(text for key in said if isinstance(text := row.get(key), str)) for row in rows
                ]
    return None


def _name(file: BenchmarkFile) -> str:
    assert file.name is not None, "`with_names` comes first"
    return file.name


def another_file(place: Path | str, what: str) -> DataError:
    """The error for a file, or a row of one, that is none of the benchmark's."""
    return DataError(
        "E162",
        f"this is not a file of the benchmark: {what}",
        place=str(place),
        hint="docs/lm_benchmarks.md says which file each `format` is",
    )


_READERS: dict[str, Callable[[BenchmarkFile, Path], _Found]] = {
    "mmlu": _read_mmlu,
    "gsm8k": _read_rows,
    "bbh": _read_bbh,
    "humaneval": _read_rows,
    "mbpp": _read_rows,
}
