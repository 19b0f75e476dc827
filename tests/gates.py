"""The gates of outside files, each with hostile files of its kind: for tests/test_gates.py and scripts/fuzz.py.

An execution is a gate, a seed and a number: it makes a hostile file in a folder and lets the gate read it. A gate gives
a result or a `LlamatuneError`; anything else is a fault, and the same three give it again.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from hostile import as_json, changed, clear, garbled, odd, put
from llamatune.errors import LlamatuneError
from support import ROOT

Use = Callable[[Random, Path], object]
LIGHT: dict[str, Use] = {}
"""Gates that need neither torch nor transformers: hundreds of executions a second."""
HEAVY: dict[str, Use] = {}


def light(use: Use) -> Use:
    LIGHT[use.__name__] = use
    return use


def heavy(use: Use) -> Use:
    HEAVY[use.__name__] = use
    return use


def execute(gate: str, seed: int, number: int, folder: Path) -> LlamatuneError | None:
    """One execution; the error that the gate gave, if any. Whatever else it raises passes through."""
    try:
        (LIGHT | HEAVY)[gate](Random(f"{gate} {seed} {number}"), folder)
    except LlamatuneError as error:
        str(error).encode("utf-8", "backslashreplace")
        assert all(problem.what for problem in error.problems)
        return error
    return None


# ---- what people write --------------------------------------------------------------------------------------


@cache
def recipes() -> list[bytes]:
    return [file.read_bytes() for file in sorted((ROOT / "recipes").rglob("*.yaml"))]


@cache
def parsed() -> list[Any]:
    return [yaml.safe_load(text) for text in recipes()]


@light
def recipe(random: Random, folder: Path) -> None:
    """A recipe's file, and its keys one by one."""
    from llamatune.recipe.load import load, loads

    if random.random() < 0.6:
        content = changed(random.choice(parsed()), random)
        loads(json.dumps(content))
    else:
        put(folder / "r.yaml", garbled(random.choice(recipes()), random), random)
        load(folder / "r.yaml")


@light
def override(random: Random, folder: Path) -> None:
    """Overrides of the command line."""
    from llamatune.recipe.load import loads

    keys = [
        "output",
        "data.train.0.path",
        "data.max_length",
        "model.lora.rank",
        "upstream.x",
        "a",
        "",
        "seed",
    ]
    value = odd(random)
    text = value if isinstance(value, str) else json.dumps(value)
    joined = random.choice(["=", "=", "=", "", "==", ".="])
    loads(random.choice(recipes()).decode(), [f"{random.choice(keys)}{joined}{text}"])


@cache
def card_texts() -> list[bytes]:
    return [file.read_bytes() for file in sorted((ROOT / "data_cards").glob("*.md"))]


@light
def card(random: Random, folder: Path) -> None:
    """A data card."""
    from llamatune.data.read.cards import update_card
    from llamatune.recipe.cards import read_card

    (folder / "data_cards").mkdir(exist_ok=True)
    text = random.choice(card_texts())
    if random.random() < 0.6:
        _, front, body = text.decode().split("---\n", 2)
        front = json.dumps(changed(yaml.safe_load(front), random), ensure_ascii=False)
        text = f"---\n{front}\n---\n{body}".encode("utf-8", "surrogatepass")
    else:
        text = garbled(text, random)
    put(folder / "data_cards/c.md", text, random)
    read_card(folder / "data_cards/c.md")
    update_card("c", folder)


@light
def name(random: Random, folder: Path) -> None:
    """A name where a file, a card, a model, a run or an output is expected."""
    from llamatune.commands.init.text import refuse_existing
    from llamatune.data.read.cards import draft_card
    from llamatune.data.read.readers import read_rows
    from llamatune.data.read.sources import find_files
    from llamatune.models.found import find
    from llamatune.recipe.blocks import Source
    from llamatune.recipe.cards import find_card_file
    from llamatune.recipe.load import load
    from llamatune.recipe.paths import check_output, missing_problem, outside_problem
    from llamatune.runs.handover import take
    from llamatune.runs.report.page import write_report

    text = random.choice(("", "./", "runs/", "/", "a/", "hub:", "../")) + str(odd(random))
    text += random.choice(("", ".jsonl", ".yaml", "/x", "\x00", ".gz", "/" + "n" * 256, ".parquet"))
    random.choice(
        [
            lambda: list(read_rows(Path(text))),
            lambda: find(text, download=False),
            lambda: find(f"./{text}"),
            lambda: find_card_file(text, folder),
            lambda: load(text),
            lambda: check_output(text),
            lambda: missing_problem(text),
            lambda: outside_problem(text),
            lambda: take(text, "adapter"),
            lambda: refuse_existing(Path(text)),
            lambda: draft_card(Path(text), folder / "drafts"),
            lambda: write_report(Path(text)),
            lambda: find_files(Source.model_construct(path=text), folder, kind="conversations"),
        ]
    )()


# ---- data ---------------------------------------------------------------------------------------------------

CHAT = [{"role": "user", "content": "Hi {{name}}"}, {"role": "assistant", "content": "Hello"}]
ROWS = [
    {"messages": CHAT},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {"instruction": "a", "input": "", "output": "b"},
    {"text": "one"},
    {"prompt": CHAT[:1], "completion": CHAT[1:], "label": True},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
]


def rows_of(file: Path) -> None:
    from llamatune.data.formats.canonical import canonical
    from llamatune.data.formats.recognise import recognise_rows
    from llamatune.data.read.readers import read_rows
    from llamatune.data.read.survey import survey_of
    from llamatune.data.rows import RowRejected

    seen = survey_of(read_rows(file, skip=lambda error: None)).rows
    found = recognise_rows(seen, place="f")
    for place, row in read_rows(file):
        with suppress(RowRejected):
            canonical(row, found, place)


@light
def text_rows(random: Random, folder: Path) -> None:
    """JSON lines, JSON, CSV and text, plain and compressed."""
    import gzip

    suffix = random.choice((".jsonl", ".json", ".csv", ".tsv", ".txt", ".ndjson"))
    rows = [changed(random.choice(ROWS), random) for _ in range(random.randint(1, 3))]
    if suffix in (".csv", ".tsv"):
        separator = "," if suffix == ".csv" else "\t"
        head = random.choice(("", "sep=;\n", 'sep="\n')) + separator.join(ROWS[1])
        cells = [separator.join(json.dumps(str(value)) for value in ROWS[1].values()) for _ in rows]
        data = garbled("\n".join([head, *cells]).encode(), random)
    elif suffix == ".json" and random.random() < 0.5:
        data = as_json(rows, random)
    else:
        data = b"\n".join(as_json(row, random) for row in rows)
    if random.random() < 0.2:
        suffix, data = f"{suffix}.gz", gzip.compress(data)
        data = garbled(data, random) if random.random() < 0.5 else data
    put(folder / f"a{suffix}", data, random)
    try:
        rows_of(folder / f"a{suffix}")
    finally:
        clear(folder / f"a{suffix}")


@cache
def tables() -> list[bytes]:
    """Parquet files with columns of many types, some of which Python cannot hold."""
    import io

    import pyarrow as pa
    from pyarrow import parquet

    not_utf8 = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\x00\x00\x00\x00\x02\x00\x00\x00"), pa.py_buffer(b"\xff\xfe")]
    )
    columns: list[dict[str, Any]] = [
        {"text": ["a", "b"]},
        {"text": not_utf8},
        {"messages": [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]]},
        {"text": ["a"], "when": pa.array([2**62], pa.timestamp("us"))},
        {"text": ["a"], "when": pa.array([2**50], pa.timestamp("ms"))},
        {"text": ["a"], "when": pa.array([2**30], pa.date32())},
        {"text": ["a"], "when": pa.array([2**62], pa.duration("s"))},
        {"text": ["a"], "when": pa.array([1], pa.timestamp("ns", tz="Nowhere/City"))},
        {"prompt": [b"a"], "chosen": [b"b"], "rejected": [b"\xff"]},
        {"text": pa.array([{"a": float("nan")}]), "n": pa.array([2**63], pa.uint64())},
        {"text": pa.array(["a"] * 2000).dictionary_encode()},
        {"": ["a"], "text": [None]},
    ]
    made = []
    for column in columns:
        buffer = io.BytesIO()
        parquet.write_table(pa.table(column), buffer)
        made.append(buffer.getvalue())
    return made


@light
def table_rows(random: Random, folder: Path) -> None:
    """Parquet files, as they are and with changed bytes."""
    data = random.choice(tables())
    file = folder / "a.parquet"
    put(file, garbled(data, random) if random.random() < 0.8 else data, random)
    rows_of(file)


# ---- models, without loading them -----------------------------------------------------------------------------

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "vocab_size": 32,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "quantization_config": None,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
}
LAYER = "model.layers.0.self_attn.q_proj"
TENSORS = {"model.embed_tokens.weight": [32, 8], f"{LAYER}.weight": [8, 8]}
ADAPTER = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "r": 2,
    "lora_alpha": 4,
    "lora_dropout": 0.0,
    "bias": "none",
    "target_modules": ["q_proj"],
    "exclude_modules": None,
    "modules_to_save": None,
    "rank_pattern": {"q_proj": 2},
    "alpha_pattern": {},
    "layers_to_transform": None,
    "layers_pattern": None,
    "layer_replication": None,
    "base_model_name_or_path": "pico",
    "use_dora": False,
}
NOTE = {
    "llamatune": "0.1.0",
    "stage": "sft",
    "base": {"name": "pico", "revision": None, "identity": {"weights": "a", "config": "b"}},
    "chat": {"template": "tokenizer", "system": "Be brief.", "loss_on": "assistant"},
}
PARTS = {f"base_model.model.{LAYER}.lora_A.weight": [2, 8], f"base_model.model.{LAYER}.lora_B.weight": [8, 2]}


def header(shapes: dict[str, Any]) -> dict[str, Any]:
    """What a safetensors file says of tensors of float32."""
    entries, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return entries


def tensors(shapes: dict[str, Any], random: Random | None = None) -> bytes:
    """A safetensors file of zeros; with random numbers, a hostile one."""
    entries = header(shapes)
    length = max(entry["data_offsets"][1] for entry in entries.values())
    text = json.dumps(entries).encode() if random is None else as_json(entries, random)
    data = len(text).to_bytes(8, "little") + text + bytes(length)
    return garbled(data, random) if random is not None and random.random() < 0.4 else data


@light
def base(random: Random, folder: Path) -> None:
    """The settings and headers of a base."""
    from llamatune.models.base import check_fits_context
    from llamatune.models.files.weights import linear_layers_of
    from llamatune.models.found import find

    files = {
        "config.json": CONFIG,
        "generation_config.json": {"eos_token_id": 2, "temperature": 0.7},
        "tokenizer_config.json": {"chat_template": [{"name": "default", "template": "{{ messages }}"}]},
        "model.safetensors.index.json": {"weight_map": dict.fromkeys(TENSORS, "model.safetensors")},
    }
    hostile = random.choice([*files, "config.json", "config.json", "model.safetensors"])
    for file, content in files.items():
        data = as_json(content, random) if file == hostile else json.dumps(content).encode()
        put(folder / file, data, random if file == hostile else Random(9))
    data = tensors(TENSORS, random if hostile == "model.safetensors" else None)
    put(folder / "model.safetensors", data, random if hostile == "model.safetensors" else Random(9))
    found = find(str(folder))
    check_fits_context(found.base, 10)
    assert isinstance(found.facts(), dict) and isinstance(found.base.address, str)
    linear_layers_of(folder)


@light
def adapter(random: Random, folder: Path) -> None:
    """The settings, the note and the header of an adapter."""
    from llamatune.hub.export import vllm_line
    from llamatune.models.found import find

    files = {"adapter_config.json": ADAPTER, "llamatune.json": NOTE}
    hostile = random.choice([*files, "adapter_model.safetensors"])
    for file, content in files.items():
        data = as_json(content, random) if file == hostile else json.dumps(content).encode()
        put(folder / file, data, random if file == hostile else Random(9))
    data = tensors(PARTS, random if hostile == "adapter_model.safetensors" else None)
    put(folder / "adapter_model.safetensors", data, random if "model" in hostile else Random(9))
    found = find(str(folder), download=False)
    assert isinstance(found.facts(), dict) and found.chat is not None
    assert "--max-lora-rank" in vllm_line(str(folder), base="pico")


# ---- chat templates -------------------------------------------------------------------------------------------


@cache
def templates() -> list[bytes]:
    folder = ROOT / "src/llamatune/data/encode/templates"
    own = [
        b"{{ 1/0 }}",
        b"{% break %}",
        b"{{ '\\ud83d' }}",
        b"{% for i in range(1e7) %}{% endfor %}",
        b"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        b"{{ 'A' * 3000000000 }}",
    ]
    return [file.read_bytes() for file in sorted(folder.glob("*.jinja"))] + own


@light
def template(random: Random, folder: Path) -> None:
    """A chat template, read from a file and rendered."""
    from llamatune.data.encode.named_templates import template_in
    from llamatune.data.encode.rendering import RenderingError, render

    text = random.choice(templates())
    put(folder / "t.jinja", garbled(text, random) if random.random() < 0.9 else text, random)
    try:
        read = template_in(folder / "t.jinja")
        messages = [*CHAT, {"role": "user", "content": str(odd(random))}]
        render(read, messages, [(1, True), (2, False), (3, True)], {"bos_token": "<s>", "eos_token": "</s>"})
    except RenderingError:
        pass


# ---- what people and other tools say about models ---------------------------------------------------------------

FIGURE = {"set": "a", "model": "b", "figure": "c", "unit": "share", "better": "higher", "value": 0.5}
EVALUATION = {
    "figures": [FIGURE | {"low": 0.4, "high": 0.6, "of": 9}, FIGURE | {"low": 0, "high": 1, "of": 1}]
}
LABEL = {"id": "a", "better": "first", "rating": "slightly better", "first_safe": True, "second_safe": None}


@light
def labels(random: Random, folder: Path) -> None:
    """People's labels, and what they compare."""
    from llamatune.annotation.sources import find_compared, labels_in
    from llamatune.judging.pairs.people import read_labels

    compared = {"id": "a", "prompt": CHAT[:1], "first": "Hello", "second": "Bye"}
    line = json.dumps(LABEL).encode()
    put(folder / "labels.jsonl", b"\n".join([line, as_json(LABEL, random)]), random)
    put(
        folder / "pairs.jsonl", b"\n".join([json.dumps(compared).encode(), as_json(compared, random)]), random
    )
    random.choice(
        [
            lambda: read_labels(folder / "labels.jsonl"),
            lambda: labels_in(folder / "labels.jsonl"),
            lambda: find_compared(str(folder / "pairs.jsonl")),
        ]
    )()


@light
def endpoint(random: Random, folder: Path) -> None:
    """What an endpoint that judges answers."""
    from llamatune.judging.pairs.endpoint import _choice, _retry_after, read_answer

    verdict = as_json({"better": "A", "how_much": "better", "a_is_safe": True, "b_is_safe": None}, random)
    text = verdict.decode("utf-8", "replace")
    read_answer(random.choice((text, '{"better": ' + "[" * 100_000 + "}")), refused=random.random() < 0.1)
    assert 0 <= _retry_after(str(odd(random))) <= 60
    choice = _choice(as_json({"choices": [{"message": {"content": text}}]}, random), "http://localhost")
    (choice.get("message") or {}).get("content")


@light
def evaluation(random: Random, folder: Path) -> None:
    """The figures of an earlier evaluation."""
    from llamatune.judging.evaluation.baseline import changes, changes_table, read_evaluation

    put(folder / "evaluation.json", as_json(EVALUATION, random), random)
    found = changes(read_evaluation(folder / "evaluation.json"), EVALUATION)
    assert changes_table(found) and all(one.record() for one in found.every)


BENCHMARKS: dict[str, Any] = {
    "gsm8k": [{"question": "a", "answer": "b"}],
    "bbh": {"examples": [{"input": "a", "target": "b"}]},
    "humaneval": [{"prompt": "a", "test": "b", "entry_point": "c"}],
    "mbpp": [{"text": "a", "code": "b", "test_list": ["c"]}],
}
GROUPS: dict[str, Any] = {"toxigen": [{"prompt": "a", "group": "b"}], "bold": {"a": {"b": ["c"]}}}


def benchmark_file(kind: str, content: Any, random: Random, folder: Path) -> Any:
    from llamatune.recipe.stages.evaluate import BenchmarkFile

    lines = isinstance(content, list)
    path = folder / ("b.jsonl" if lines else "b.json")
    put(path, as_json(content[0] if lines else content, random), random)
    return BenchmarkFile(format=kind, path=str(path), shots=0, name="b")  # type: ignore[arg-type]


CLASSIFIER = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "fine", "1": "toxic"},
}


@light
def benchmark(random: Random, folder: Path) -> None:
    """The files of a benchmark, the descriptors of an analysis, the labels of a classifier."""
    from llamatune.analysis.terms import TermFinder, read_terms
    from llamatune.analysis.toxicity import DocumentToxicity
    from llamatune.judging.benchmarks.own import file_configs
    from llamatune.recipe.stages.evaluate import BenchmarkFile

    kind = random.choice([*BENCHMARKS, "mmlu", "terms", "classifier"])
    if kind == "terms":
        put(
            folder / "t.json", as_json({"a": ["b", {"descriptor": "c"}], "d": {"e": ["f g"]}}, random), random
        )
        TermFinder(read_terms(folder / "t.json")).find(["f", "g"])
    elif kind == "classifier":
        put(folder / "config.json", as_json(CLASSIFIER, random), random)
        DocumentToxicity(folder, label=random.choice((None, "toxic")))
    elif kind == "mmlu":
        put(folder / "b.csv", garbled(b'"a, b",c,d,e,f,A\n"g\n",h,i,j,k,B\n', random), random)
        file_configs(
            BenchmarkFile(format="mmlu", path=str(folder / "b.csv"), shots=0, name="b"),
            chat=True,
            harness=folder,
        )
    else:
        file_configs(benchmark_file(kind, BENCHMARKS[kind], random, folder), chat=False, harness=folder)


# ---- runs and the cache ---------------------------------------------------------------------------------------

ATTEMPT = {"started": 1e9, "pid": 1, "host": "h", "from_step": 0, "last_step": 3, "reason": "killed"}
STATUS = {"state": "running", "step": 3, "total_steps": 9, "heartbeat": 1e9, "attempts": [ATTEMPT]}
RESULT = {
    "stage": "sft",
    "artefact": "adapter",
    "base": "pico",
    "steps": 3,
    "seconds": 1.5,
    "figures": {"loss": 1.0},
    "files": {"adapter": {"path": "adapter", "sha256": "0" * 64}},
    "finished": 1e9,
}
MANIFEST = {
    "format": 1,
    "recipe": {"seed": 0, "stage": "sft"},
    "facts": {"data": {"train": [{"sha256": ["a"]}]}, "base": {"weights": "b"}},
    "versions": {"torch": "2"},
}


@light
def run_files(random: Random, folder: Path) -> None:
    """run.json, result.json, manifest.json, run.lock and a pipeline's pipeline.json."""
    from llamatune.runs.handover import Result, take
    from llamatune.runs.lock import RunLock
    from llamatune.runs.manifest import check_same, differences, flatten, of_blocks, read_manifest
    from llamatune.runs.pipelines import PipelineRecord
    from llamatune.runs.status import Status

    which = random.randrange(5)
    if which == 0:
        put(folder / "run.json", as_json(STATUS, random), random)
        Status.read(folder).previous_end()
    elif which == 1:
        put(folder / "result.json", as_json(RESULT, random), random)
        (folder / "resolved.yaml").write_text("stage: sft\n")
        found = Result.read(folder)
        assert found is None or found.describe()
        take(str(folder), "adapter")
    elif which == 2:
        put(folder / "manifest.json", as_json(MANIFEST, random), random)
        read = read_manifest(folder)
        if read is not None:
            now = {"data": {"train": []}}
            differences(of_blocks(read["facts"], now), flatten(now))
            check_same(flatten(read["facts"]), {"a": 1}, forced=["data"], run="x")
    elif which == 3:
        starts = [{"started": 1e9, "steps": {"a": {"did": "ran", "why": "new", "seconds": 1.5}}}]
        put(folder / "pipeline.json", as_json({"begun": ["a"], "starts": starts}, random), random)
        PipelineRecord.read(folder).write()
    else:
        put(folder / "run.lock", as_json({"pid": 1, "host": "h", "since": 1e9, "born": "1"}, random), random)
        RunLock.take(folder).release()


@light
def checkpoint(random: Random, folder: Path) -> None:
    """A checkpoint's manifest, with the hash that fits it more often than not."""
    from llamatune.runs import checkpoints
    from llamatune.runs.run import sizes_at

    inner = folder / "checkpoint-2"
    if not inner.exists():
        inner.mkdir()
        (inner / "weights").write_text("1")
        about = {"sizes": {"metrics.jsonl": 3}, "state": {"losses": [1.0], "trained": 2}}
        checkpoints.commit(inner, step=2, about=about)
        (folder / "manifest").write_bytes((inner / "manifest.json").read_bytes())
    content = json.loads((folder / "manifest").read_text())
    if random.random() < 0.8:
        content = changed({key: value for key, value in content.items() if key != "sha256"}, random)
        if isinstance(content, dict):
            content["sha256"] = checkpoints._digest(content)
        put(inner / "manifest.json", json.dumps(content).encode(), random)
    else:
        put(inner / "manifest.json", as_json(content, random), random)
    sizes_at(checkpoints.verify(inner))


@light
def shard(random: Random, folder: Path) -> None:
    """A part of the work of a stage that samples, as an earlier process left it."""
    from llamatune.runs.shards import Part, Shards

    part, shards = Part("00000", 2), Shards(folder, {"seed": 1})
    shards.folder.mkdir(exist_ok=True)
    clear(shards._path(part))
    shards._write(part, [{"text": "a"}, {"text": "b"}])
    put(shards._path(part), garbled(shards._path(part).read_bytes(), random), random)
    assert shards.find(part) in (None, [{"text": "a"}, {"text": "b"}])
    shards.join([part], folder / "joined.jsonl")


REPORTED: dict[str, Any] = {
    "run.json": STATUS,
    "result.json": RESULT,
    "manifest.json": MANIFEST | {"base": "pico", "python": "3", "machine": "m", "cards": {"a": "b"}},
    "data.json": {
        "sources": [{"name": "a", "role": "train", "rows": 3, "kept": 3, "dropped": {}, "card": None}]
    },
    "preview.json": [{"place": "a:1", "tokens": [["Hi", False], ["Hello", True]]}],
    "evaluation.json": {
        "held_out": [{"step": 1, "reward": 0.5}],
        "disagreement": [{"step": 1, "replies": 2, "overrated": [{"reply": "Hi", "reward": 0.5}]}],
    },
    "metrics.jsonl": {"time": 1e9, "step": 1, "loss": 2.0, "learning_rate": 1e-3},
    "speed.jsonl": {"time": 1e9, "step": 1, "rows_per_second": 2.0},
    "events.jsonl": {"time": 1e9, "step": 1, "kind": "warning", "text": "beware"},
    "replies.jsonl": {"step": 0, "prompt": "Hi", "reply": "Hello", "ended": True},
}


@light
def report(random: Random, folder: Path) -> None:
    """The page about a run, from any of its files."""
    from llamatune.runs.report.page import write_report

    hostile = random.choice([*REPORTED, "resolved.yaml"])
    for file, content in REPORTED.items():
        data = as_json(content, random) if file == hostile else json.dumps(content).encode()
        put(folder / file, data + b"\n", random if file == hostile else Random(9))
    text = random.choice(recipes())
    put(folder / "resolved.yaml", garbled(text, random) if hostile == "resolved.yaml" else text, Random(9))
    write_report(folder)


@light
def trained_on(random: Random, folder: Path) -> None:
    """What a run says of the files that it was trained on, and of the runs behind it."""
    from llamatune.data.contamination.training import trained_on as files_of

    source = {"name": "a", "role": "train", "files": ["a.jsonl"], "sha256": ["0"]}
    recipe = {"data.train[0].run": "earlier", "model.adapter": "other"}
    hostile = random.choice(["data.json", "manifest.json"])
    for file, content in (
        ("data.json", {"sources": [source]}),
        ("manifest.json", MANIFEST | {"recipe": recipe}),
    ):
        data = as_json(content, random) if file == hostile else json.dumps(content).encode()
        put(folder / file, data, random if file == hostile else Random(9))
    (folder / "resolved.yaml").write_text("stage: sft\n")
    list(files_of([folder]).texts())


@light
def cache_entry(random: Random, folder: Path) -> None:
    """An entry of the cache, with the hash that fits it more often than not, and the note of a file's hash."""
    import os

    from llamatune.data import cache
    from llamatune.recipe import hashing

    os.environ["XDG_CACHE_HOME"] = str(folder)
    entry = folder / "llamatune/things/key"
    entry.mkdir(parents=True, exist_ok=True)
    content = changed({"files": {}, "info": {"count": 3}}, random)
    if random.random() < 0.8 and isinstance(content, dict):
        content["sha256"] = cache._digest(content)
    text = json.dumps(content).encode()
    put(entry / cache.INFO, text if random.random() < 0.8 else garbled(text, random), random)
    _, info = cache.stored("things", "key", lambda inside: {"count": 3})
    assert isinstance(info, dict)
    file = folder / "file"
    file.write_bytes(b"1")
    os.utime(file, (1e9, 1e9))
    stamp = hashing._stamp(file)
    digest = hashing.file_sha256(file, fresh=True)
    note = changed([stamp, digest, hashing._check(stamp, digest)], random)
    hashing._note(file).parent.mkdir(exist_ok=True)
    put(hashing._note(file), json.dumps(note).encode(), random)
    assert hashing.file_sha256(file) == digest


# ---- what torch and transformers read -------------------------------------------------------------------------


@heavy
def model_card(random: Random, folder: Path) -> None:
    """The card of a model that is pushed, from any file of its run."""
    from llamatune.hub.artefact import finished_artefact
    from llamatune.hub.card import Pushed, data_cards, write_model_card
    from llamatune.hub.staging import stage_facts
    from llamatune.runs.handover import digest

    (folder / "adapter").mkdir(exist_ok=True)
    (folder / "adapter/llamatune.json").write_text(json.dumps(NOTE))
    written = RESULT | {"files": {"adapter": {"path": "adapter", "sha256": digest(folder / "adapter")}}}
    hostile = random.choice([*(name for name in REPORTED if name != "result.json"), "resolved.yaml"])
    for file, content in (REPORTED | {"result.json": written}).items():
        data = as_json(content, random) if file == hostile else json.dumps(content).encode()
        put(folder / file, data + b"\n", random if file == hostile else Random(9))
    text = random.choice(recipes())
    put(folder / "resolved.yaml", garbled(text, random) if hostile == "resolved.yaml" else text, Random(9))
    run = finished_artefact(str(folder))
    staged = folder / "staged"
    staged.mkdir(exist_ok=True)
    stage_facts(run, run.origin, staged)
    cards = data_cards(run)
    write_model_card(
        Pushed("a/b", run, run.origin, "adapter", False, "generate", True, "print()", None, None, cards),
        staged,
    )


@heavy
def tokenizer(random: Random, folder: Path) -> None:
    """The files of a tokenizer."""
    from llamatune.models.base import BUILTIN, Base
    from llamatune.models.tokenizer import load_tokenizer

    files = {"tokenizer.json": "tokenizer.json", "tokenizer_config.json": "tokenizer_config.json"}
    hostile = random.choice(list(files))
    for file in (*files, "config.json"):
        content = (BUILTIN / "pico" / file).read_bytes()
        if file == hostile:
            tampered = random.random() < 0.3
            content = garbled(content, random) if tampered else as_json(json.loads(content), random)
        put(folder / file, content, random if file == hostile else Random(9))
    found = load_tokenizer(Base("x", folder))
    found.encode("Hello there")


@heavy
def groups(random: Random, folder: Path) -> None:
    """The files of benchmarks that a model goes on from."""
    from llamatune.judging.benchmarks.generated import prompts_in

    kind = random.choice(list(GROUPS))
    prompts_in(benchmark_file(kind, GROUPS[kind], random, folder))


@heavy
def model(random: Random, folder: Path) -> None:
    """A base's config.json, to load weights by or to draw new ones."""
    from llamatune.models.base import BUILTIN
    from llamatune.models.found import find
    from llamatune.models.load import load_base_model, random_model
    from llamatune.models.placement import place
    from llamatune.recipe.blocks import Hardware, Lora, Model

    weights = folder / "model.safetensors"
    if not weights.exists():
        weights.symlink_to(BUILTIN / "pico/model.safetensors")
    content = changed(json.loads((BUILTIN / "pico/config.json").read_text()), random)
    (folder / "config.json").write_bytes(json.dumps(content).encode("utf-8", "surrogatepass"))
    found = find(str(folder))
    placement = place(Model(base="x", lora=Lora()), Hardware())
    (load_base_model if random.random() < 0.5 else random_model)(found.base, placement)
