"""Benchmarks by lm-evaluation-harness: our requests and figures against a scorer that is written out here, against the
harness's own model, and against the harness's own loop."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed: pip install 'llamatune[eval]'")

from transformers import AutoModelForCausalLM, AutoTokenizer

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import DataError, LlamatuneError
from llamatune.judging.benchmarks import tasks
from llamatune.judging.benchmarks.answers import BenchmarkRequest, sampled_replies, scores
from llamatune.judging.benchmarks.harness import BenchmarkModel
from llamatune.judging.benchmarks.prompts import ChatPrompts, PlainPrompts
from llamatune.judging.benchmarks.suites import OWN, SUITES
from llamatune.recipe.blocks import Chat
from llamatune.recipe.stages.evaluate import BenchmarkFile, Benchmarks
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.policy import Policy
from support import ROOT

REAL = Path(os.environ.get("LLAMATUNE_REAL_MODEL", "/nowhere"))
"""A real chat model of the Llama family that fits this machine, such as SmolLM2-135M-Instruct."""
DATA = ROOT.parent / "shared/data"
ROWS = int(os.environ.get("LLAMATUNE_ROWS", "2"))


class Model:
    """A model with both kinds of prompts, loaded plainly."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.chat = ChatFormat(self.tokenizer, Chat())
        sampler = GenerateSampler(self.model, pad_id=self.tokenizer.pad_token_id or 0)
        self.policy = Policy(sampler, self.chat, "plain")

    def lm(self, *, chat: bool) -> BenchmarkModel:
        prompts = ChatPrompts(self.chat) if chat else PlainPrompts(self.tokenizer)

        def answer(requests: Sequence[BenchmarkRequest]) -> list[Mapping[str, Any]]:
            found: dict[int, Mapping[str, Any]] = {}
            for samples in (True, False):
                some = [at for at, one in enumerate(requests) if one.samples is samples]
                asked = [requests[at] for at in some]
                said = (
                    sampled_replies(self.policy, prompts, asked, seed=0)
                    if samples
                    else scores(self.model, asked)
                )
                found |= dict(zip(some, said, strict=True))
            return [found[at] for at in range(len(requests))]

        return BenchmarkModel(prompts, answer, max_length=256)

    @torch.no_grad()
    def logprob(self, ids: Sequence[int], answer: Sequence[int]) -> float:
        """One row, no padding, no sharing."""
        logits = self.model(input_ids=torch.tensor([[*ids, *answer]])).logits[0]
        logprobs = logits[len(ids) - 1 : -1].double().log_softmax(-1)
        return float(sum(logprobs[at, token] for at, token in enumerate(answer)))

    @torch.no_grad()
    def says(self, ids: Sequence[int], most: int, until: Sequence[str]) -> str:
        """Greedily, one row, token by token."""
        given, said = torch.tensor([list(ids)]), ""
        new: list[int] = []
        cache = None
        for _ in range(most):
            output = self.model(input_ids=given, past_key_values=cache, use_cache=True)
            cache, token = output.past_key_values, int(output.logits[0, -1].argmax())
            if token in self.chat.stop_ids:
                break
            new.append(token)
            said = self.tokenizer.decode(new, skip_special_tokens=True)
            if any(end in said for end in until):
                break
            given = torch.tensor([[token]])
        return said[: min((said.find(end) for end in until if end in said), default=len(said))]


@pytest.fixture(scope="module")
def pico() -> Model:
    return Model(ROOT / "src/llamatune/builtin/pico")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rows in each format, of pico's world or none."""
    folder = tmp_path_factory.mktemp("benchmarks")
    sums = [(2, 3), (4, 1), (5, 2), (1, 1), (3, 4), (6, 1), (2, 2), (7, 1), (3, 3), (1, 8)]
    rows = [
        {"question": f"What is {a} plus {b}?", "answer": f"It is {a + b}.\n#### {a + b}"} for a, b in sums
    ]
    (folder / "gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:4]))
    (folder / "gsm8k_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[4:]))
    bbh = [{"input": f"{a} plus {b}", "target": str(a + b)} for a, b in sums]
    (folder / "bbh_sums.json").write_text(json.dumps({"canary": "x", "examples": bbh[:4]}))
    (folder / "bbh_shots.json").write_text(json.dumps({"examples": bbh[4:]}))
    (folder / "test").mkdir()
    (folder / "dev").mkdir()
    for part, some in (("test", sums[:4]), ("dev", sums[4:])):
        with (folder / part / f"small_sums_{part}.csv").open("w", newline="") as file:
            for a, b in some:
                csv.writer(file).writerow([f"{a} plus {b}", a + b, a + b + 1, 0, 9, "A"])
    program = {
        "prompt": 'def add(a, b):\n    """The sum."""\n',
        "entry_point": "add",
        "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
    }
    with gzip.open(folder / "humaneval.jsonl.gz", "wt") as file:
        file.write(json.dumps(program) + "\n")
    return folder


def wanted_of(folder: Path, **changes: Any) -> Benchmarks:
    one = [
        {"format": "gsm8k", "path": "gsm8k.jsonl", "shots_from": "gsm8k_train.jsonl", "shots": 2},
        {"format": "bbh", "path": "bbh_sums.json", "shots_from": "bbh_shots.json"},
        {"format": "mmlu", "path": "test", "shots_from": "dev", "name": "mmlu"},
    ]
    paths = [{key: str(folder / value) if key in ("path", "shots_from") else value for key, value in file.items()}
             for file in one]  # fmt: skip
    return Benchmarks.model_validate({"files": paths, "max_new_tokens": 8, **changes})


def figures_of(model: BenchmarkModel, wanted: Benchmarks, room: int | None = None) -> dict[str, float]:
    found = {}
    for benchmark in tasks.open_benchmarks(wanted):
        asked = tasks.ask(benchmark, model, wanted, room=room, bos=None)
        answers = model.answer([one for some in asked for each in some.requests for one in each])
        for name, estimate in tasks.score_answers(asked, answers, times=100, seed=0).estimates.items():
            found[f"{benchmark.name}: {name}"] = estimate.value
    return found


# ---- a scorer that is written out -----------------------------------------------------------------------------------

Turn = tuple[str, str]


def ids_of(model: Model, shots: Sequence[Turn], question: str, *, chat: bool, system: str = "") -> list[int]:
    """The prompt's tokens, by the tokenizer's own template; plain text after BOS."""
    if not chat:
        text = system + "".join(f"{asked} {said}\n\n" for asked, said in shots) + question
        return [model.tokenizer.bos_token_id, *model.tokenizer.encode(text, add_special_tokens=False)]
    messages = [{"role": "system", "content": system}] if system else []
    for asked, said in shots:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    messages.append({"role": "user", "content": question})
    given = model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return list(given["input_ids"])


def numbers_right(said: str, answer: str) -> bool:
    found = re.search(r"#### (-?[0-9.,]+)", said)
    wanted = answer.split("#### ")[1].replace(",", "")
    return found is not None and found.group(1).replace(",", "").removesuffix(".") == wanted


def plainly(
    model: Model,
    rows: Sequence[Mapping[str, Any]],
    shots: Sequence[Mapping[str, Any]],
    asks: Callable[[Mapping[str, Any]], Turn],
    right: Callable[[str, Mapping[str, Any]], bool],
    *,
    chat: bool,
    until: Sequence[str],
    most: int,
    system: str = "",
) -> tuple[float, list[list[int]]]:
    """The share of right replies, and the tokens of the prompts."""
    given, hits = [], 0
    for row in rows:
        ids = ids_of(model, [asks(one) for one in shots], asks(row)[0], chat=chat, system=system)
        given.append(ids)
        hits += right(model.says(ids, most, until), row)
    return hits / len(rows), given


def asks_gsm8k(row: Mapping[str, Any]) -> Turn:
    return f"Question: {row['question']}\nAnswer:", row["answer"]


def asks_bbh(row: Mapping[str, Any]) -> Turn:
    return f"Q: {row['input']}\nA:", row["target"]


def lines_of(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("chat", [True, False])
def test_figures_and_tokens_are_those_of_a_plain_scorer(pico: Model, files: Path, chat: bool) -> None:
    wanted, model = wanted_of(files, chat=chat), pico.lm(chat=chat)
    figures = figures_of(model, wanted)
    rows, shots = lines_of(files / "gsm8k.jsonl"), lines_of(files / "gsm8k_train.jsonl")[:2]
    right, given = plainly(pico, rows, shots, asks_gsm8k, lambda said, row: numbers_right(said, row["answer"]),
                           chat=chat, until=["\nQuestion:"], most=8)  # fmt: skip
    assert figures["gsm8k: exact_match,strict-match"] == right
    [benchmark, *_] = tasks.open_benchmarks(wanted)
    [asked] = tasks.ask(benchmark, model, wanted, room=None, bos=pico.tokenizer.bos_token_id)
    assert [list(one.ids) for [one] in asked.requests] == given
    bbh = json.loads((files / "bbh_sums.json").read_text())["examples"]
    examples = json.loads((files / "bbh_shots.json").read_text())["examples"][:3]
    right, _ = plainly(pico, bbh, examples, asks_bbh, lambda said, row: said.strip() == row["target"],
                       chat=chat, until=["\nQ:", "\n\n"], most=8)  # fmt: skip
    assert figures["bbh_sums: exact_match"] == right
    # the letters of a multiple choice, row by row, letter by letter
    system = "The following are multiple choice questions (with answers) about small sums.\n\n"
    tables = [list(csv.reader((files / part / f"small_sums_{part}.csv").open())) for part in ("test", "dev")]

    def asks(row: list[str]) -> Turn:
        choices = "".join(f"\n{letter}. {text}" for letter, text in zip("ABCD", row[1:5], strict=True))
        return f"{row[0]}{choices}\nAnswer:", row[5]

    hits, blank = 0, "" if chat and not _blank(pico) else " "
    for row in tables[0]:
        ids = ids_of(pico, [asks(one) for one in tables[1][:5]], asks(row)[0], chat=chat, system=system)
        letters = {}
        for letter in "ABCD":
            answer = pico.tokenizer.encode(f"{blank}{letter}", add_special_tokens=False)
            letters[letter] = pico.logprob(ids, answer)
        hits += max(letters, key=letters.__getitem__) == row[5]
    assert figures["mmlu: acc"] == hits / 4


def _blank(model: Model) -> bool:
    """Whether the template puts a blank before a reply."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "reply"}]
    return " reply" in model.tokenizer.apply_chat_template(messages, tokenize=False)


def test_in_plain_text_the_figures_are_those_of_the_harness_own_model(pico: Model, files: Path) -> None:
    """Where BOS agrees: pico's tokenizer adds none by itself, and is told to."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers.processors import TemplateProcessing

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "src/llamatune/builtin/pico")
    bos = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos[0]} $A", special_tokens=[bos]
    )
    theirs = HFLM(pretrained=pico.model, tokenizer=tokenizer, batch_size=2, add_bos_token=True)
    ours = pico.lm(chat=False)
    wanted = wanted_of(files, chat=False)
    found = []
    for benchmark in tasks.open_benchmarks(wanted):
        for model in (ours, theirs):
            for task in benchmark.tasks:
                task.set_fewshot_seed(seed=1234)
                task.config.generation_kwargs and task.config.generation_kwargs.update(max_gen_toks=8)
                task.build_all_requests()
                kind = task.instances[0].request_type
                found.append([kind, getattr(model, kind)(task.instances)])
    for (kind, mine), (_, others) in zip(found[::2], found[1::2], strict=True):
        if kind == "generate_until":
            assert mine == others
        else:
            assert [one for _, one in mine] == [one for _, one in others]
            assert [one for one, _ in mine] == pytest.approx([one for one, _ in others], abs=1e-3)


@pytest.mark.parametrize("chat", [True, False])
def test_the_harness_own_loop_gives_the_same_figures(pico: Model, files: Path, chat: bool) -> None:
    import lm_eval

    wanted = wanted_of(files, chat=chat)
    model = pico.lm(chat=chat)
    ours = figures_of(model, wanted)
    opened = {one.name: one.tasks[0] for one in tasks.open_benchmarks(wanted)}
    for task in opened.values():
        task.config.generation_kwargs and task.config.generation_kwargs.update(max_gen_toks=8)
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=list(opened.values()),
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        task_manager=lm_eval.tasks.TaskManager(include_defaults=False),
        bootstrap_iters=0,
    )
    for name, task in opened.items():
        theirs = found["results"][task.task_name]
        for figure, value in ours.items():
            called, _, metric = figure.partition(": ")
            if called == name:
                assert theirs[metric if "," in metric else f"{metric},none"] == pytest.approx(value)


# ---- what must not happen in silence --------------------------------------------------------------------------------


def test_what_does_not_fit_is_said_before_anything_is_asked(pico: Model, files: Path) -> None:
    wanted, model = wanted_of(files), pico.lm(chat=True)
    asked = [one for benchmark in tasks.open_benchmarks(wanted)
             for one in tasks.ask(benchmark, model, wanted, room=60, bos=None)]  # fmt: skip
    with pytest.raises(DataError) as error:
        tasks.check_fits(asked, wanted, 60, "pico")
    assert any("4 of 4 rows (100.0%) do not fit the 60 tokens" in one.what for one in error.value.problems)
    longest = max(one.longest for one in asked)
    enough = [one for benchmark in tasks.open_benchmarks(wanted)
              for one in tasks.ask(benchmark, model, wanted, room=longest, bos=None)]  # fmt: skip
    assert tasks.check_fits(enough, wanted, longest, "pico") == []


def test_rows_that_do_not_fit_are_left_out_of_the_figure(pico: Model, files: Path, tmp_path: Path) -> None:
    rows = lines_of(files / "gsm8k.jsonl")
    rows[1]["question"] = "What is " + "two plus " * 40 + "two?"
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = BenchmarkFile(format="gsm8k", path=str(tmp_path / "long.jsonl"), shots=0)
    wanted = Benchmarks(files=[one], too_long="drop", max_new_tokens=8)
    [benchmark] = tasks.open_benchmarks(wanted)
    model = pico.lm(chat=True)
    asked = tasks.ask(benchmark, model, wanted, room=64, bos=None)
    [line] = tasks.check_fits(asked, wanted, 64, "pico")
    assert line.startswith("long: 1 of 4 rows (25.0%)")
    answers = model.answer([one for some in asked for each in some.requests for one in each])
    assert (
        tasks.score_answers(asked, answers, times=100, seed=0).estimates["exact_match,strict-match"].of == 3
    )


@pytest.mark.parametrize(
    ("format", "content", "says"),
    [
        ("gsm8k", '{"question": "a"}\n', "row 1 has no answer"),
        ("bbh", '{"rows": []}', "no list of `examples`"),
        ("bbh", "{", "this is not a file"),
        ("mmlu", "a,b,c,d,e,F\n", "line 1 is not a question"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, format: Any, content: str, says: str) -> None:
    file = tmp_path / f"file.{'jsonl' if format == 'gsm8k' else 'csv' if format == 'mmlu' else 'json'}"
    file.write_text(content)
    with pytest.raises(LlamatuneError, match=re.escape(says)):
        tasks.open_benchmarks(Benchmarks(files=[BenchmarkFile(format=format, path=str(file), shots=0)]))


def test_examples_are_never_taken_from_the_questions(files: Path) -> None:
    one = BenchmarkFile(format="gsm8k", path=str(files / "gsm8k.jsonl"))
    with pytest.raises(DataError, match="8 examples are wanted, and there are 0"):
        tasks.open_benchmarks(Benchmarks(files=[one]))


def test_every_task_of_a_suite_is_in_the_harness() -> None:
    """Its folder, and its YAML; none is loaded, since their rows are on the hub."""
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    harness = Path(lm_eval.tasks.__file__).parent
    for suite in SUITES.values():
        for one in suite:
            if one.folder != OWN:
                manager = TaskManager(include_path=harness / one.folder, include_defaults=False)
                assert set(one.task.split(",")) <= set(manager.all_tasks), one


def test_a_completed_function_is_run(files: Path) -> None:
    one = BenchmarkFile(format="humaneval", path=str(files / "humaneval.jsonl.gz"))
    wanted = Benchmarks(files=[one], run_code=True)
    tasks.check_benchmarks(wanted)
    [benchmark] = tasks.open_benchmarks(wanted)
    [task] = benchmark.tasks
    row = task.eval_docs[0]
    for said, right in {
        "    return a + b\n": 1.0,
        "    return a - b\n": 0.0,
        "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\n": 1.0,
        "": 0.0,
    }.items():
        assert task.process_results(row, [said]) == {"pass@1": right}, said


# ---- a real model on real rows ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Model:
    if not (REAL / "model.safetensors").is_file() or not DATA.is_dir():
        pytest.skip("LLAMATUNE_REAL_MODEL names no model, or ../shared/data is not here")
    return Model(REAL)


@pytest.mark.slow
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("name", ["gsm8k_test_200", "bbh_boolean_expressions", "bbh_causal_judgement",
                                  "bbh_word_sorting", "HumanEval"])  # fmt: skip
def test_a_real_model_on_real_rows(real: Model, name: str, chat: bool) -> None:
    """As many rows as LLAMATUNE_ROWS says."""
    from lm_eval.tasks._yaml_loader import load_yaml

    from llamatune.judging.benchmarks.code import passes

    most, system = 48, ""
    if name.startswith("gsm8k"):
        one = BenchmarkFile(format="gsm8k", path=str(DATA / f"{name}.jsonl"), shots=1,
                            shots_from=str(DATA / "gsm8k_train_1500.jsonl"))  # fmt: skip
        rows, shots = lines_of(DATA / f"{name}.jsonl"), lines_of(DATA / "gsm8k_train_1500.jsonl")[:1]
        asks, until, most = asks_gsm8k, ["\nQuestion:"], 160

        def right(said: str, row: Mapping[str, Any]) -> bool:
            return numbers_right(said, row["answer"])
    elif name.startswith("bbh"):
        import lm_eval.tasks

        one = BenchmarkFile(format="bbh", path=str(DATA / f"{name}.json"))
        rows = json.loads((DATA / f"{name}.json").read_text())["examples"]
        known = Path(lm_eval.tasks.__file__).parent / "bbh/fewshot" / f"{name.removeprefix('bbh_')}.yaml"
        said = load_yaml(known, recursive=False)
        shots, system = said["fewshot_config"]["samples"], said["description"]
        asks, until = asks_bbh, ["\nQ:", "\n\n"]

        def right(said: str, row: Mapping[str, Any]) -> bool:
            return said.strip() == row["target"]
    else:
        one = BenchmarkFile(format="humaneval", path=str(DATA / "HumanEval.jsonl.gz"))
        rows, shots, most = lines_of(DATA / "HumanEval.jsonl.gz"), [], 96
        until = [] if chat else ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]

        def asks(row: Mapping[str, Any]) -> Turn:
            text = "Complete this Python function. Reply with the whole function in a block of code.\n\n```python\n"
            return (f"{text}{row['prompt']}```" if chat else row["prompt"]), ""

        def right(said: str, row: Mapping[str, Any]) -> bool:
            defines = f"def {row['entry_point']}("
            blocks = ["".join(one.splitlines(keepends=True)[1:]) for one in said.split("```")[1::2]]
            code = next((one for one in [*blocks, said] if defines in one), None)
            if code is not None:
                before = row["prompt"][: row["prompt"].index(f"\n{defines}") + 1]
            else:
                # A completion: four blanks are what a chat's reply has lost.
                before = row["prompt"]
                code = blocks[0] if blocks else f"    {said.strip()}" if chat else said
            return passes(f"{before}\n{code}\n\n{row['test']}\n\ncheck({row['entry_point']})\n")

    wanted = Benchmarks(files=[one], chat=chat, max_rows=ROWS, max_new_tokens=most, run_code=True)
    model = real.lm(chat=chat)
    [benchmark] = tasks.open_benchmarks(wanted)
    [asked] = tasks.ask(benchmark, model, wanted, room=8192, bos=real.tokenizer.bos_token_id)
    answers = model.answer([request for each in asked.requests for request in each])
    ours = tasks.score_answers([asked], answers, times=100, seed=0).estimates[benchmark.figure]
    share, given = plainly(
        real, rows[:ROWS], shots, asks, right, chat=chat, until=until, most=most, system=system
    )
    assert [list(one.ids) for [one] in asked.requests] == given
    assert ours.value == share and ours.of == ROWS
    print(f"{name}, {'chat' if chat else 'plain'}: {ours.value:.3f} of {ROWS}")
