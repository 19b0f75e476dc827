"""What each switch brings on a GPU: speed, share of the card's arithmetic, memory; each added to the ones before.

Models have random weights in the shapes of Llama 3.2 1B and Llama 2 7B. The first line of a table is plain
`trl.SFTTrainer`; from the second on it is llamatune with one switch more a line, ending where memory is least.

    python benchmarks/gpu.py                                  # all jobs: an hour or more, 17 GB of disk
    python benchmarks/gpu.py --jobs 1b-full-4096 7b-qlora-512
    python benchmarks/gpu.py --device cpu --tiny              # tries the code; its figures mean nothing
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from reporting import ROOT, Report, Table
from safetensors.torch import save_file
from sft import plain_config
from shapes import copy_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from trl import SFTTrainer

from llamatune.data.rows import IGNORED
from llamatune.errors import OutOfMemoryError
from llamatune.forward.collate import trained_tokens
from llamatune.models.load import Start, find_start, load_for_training
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.load import loads
from llamatune.recipe.stages.sft import SftRecipe
from llamatune.runs.display import Display
from llamatune.runs.opening import open_run
from llamatune.runs.run import Run
from llamatune.training.batches import GlobalBatchSampler
from llamatune.training.batching import choose_batching
from llamatune.training.fit import fit
from llamatune.training.sft import SftTrainer
from llamatune.training.upstream import sft_config

SHAPES: dict[str, dict[str, Any]] = {
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "tie_word_embeddings": True,
    },
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32_000,
        "tie_word_embeddings": False,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 2048,
        "tie_word_embeddings": False,
    },
}
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": {"rank": 16}},
    "lora8": {"lora": {"rank": 8}},
    "qlora": {"lora": {"rank": 16}, "quantization": "nf4"},
}


@dataclass(frozen=True)
class Job:
    """A table: one model, trained in one way on one set of rows.

    `length`: tokens of the longest row. `chats`: rows of many lengths, as conversations have; otherwise all are
    `length` long. `batch_size`: rows a step. `plain_rows`: rows in a forward pass of plain trl.
    """

    shape: str
    method: str
    length: int = 4096
    chats: bool = True
    batch_size: int = 32
    plain_rows: int = 4


JOBS = {
    "1b-full": Job("1b", "full"),
    "1b-full-4096": Job("1b", "full", chats=False, batch_size=8),
    "1b-lora": Job("1b", "lora"),
    "7b-full": Job("7b", "full"),
    "7b-lora": Job("7b", "lora"),
    "7b-qlora": Job("7b", "qlora"),
    "7b-qlora-512": Job("7b", "qlora", length=512, chats=False, batch_size=1, plain_rows=1),
}
_TINY_LENGTH, _TINY_BATCH = 64, 4


@dataclass(frozen=True)
class Switch:
    """A line: what is added to the lines above, as recipe keys. Without any, it is plain trl."""

    name: str
    changes: Mapping[str, Any]
    needs_gpu: bool = False


SWITCHES = (
    Switch("plain trl.SFTTrainer, padded", {}),
    Switch("padding-free batches", {"hardware.batching": "padding_free", "hardware.loss": "logits"}),
    Switch("fused loss", {"hardware.loss": "fused"}),
    Switch("activation checkpointing", {"hardware.activation_checkpointing": True}),
    Switch("activation offloading", {"hardware.activation_offloading": True}, needs_gpu=True),
    Switch("8-bit optimizer", {"optimization.optimizer": "adamw_8bit"}),
    Switch("paged 8-bit optimizer", {"optimization.optimizer": "paged_adamw_8bit"}, needs_gpu=True),
)

PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense bfloat16 operations a second with float32 accumulation, from the makers' data sheets; the first name that
is in the card's name counts."""


@dataclass(frozen=True)
class Line:
    """What a line of a table measured; `failure` says why it did not."""

    switch: str
    tokens_per_second: float = math.nan
    operations_per_second: float = math.nan
    loading_gib: float = math.nan
    training_gib: float = math.nan
    forward_tokens: int = 0
    """Most tokens in a forward pass at the end: less than at the beginning if memory ran out."""
    failure: str = ""


def main() -> None:
    options = parse()
    report, failed = run_jobs(options)
    print(report.text())
    if options.save:
        report.save(options.save)
    if failed:
        sys.exit(f"error: {failed} lines failed")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--jobs", nargs="+", choices=JOBS, default=list(JOBS), metavar="JOB", help=", ".join(JOBS))
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--tiny", action="store_true", help="a tiny model, tiny rows, two steps: tries the code")
    add("--steps", type=int, default=6, help="steps that are timed, after two to warm up")
    add("--peak-tflops", type=float, help="the card's peak, if the table in this file does not know it")
    add("--folder", type=Path, help="where the models are written; a temporary folder if left out")
    add("--save", metavar="NAME", help="write benchmarks/results/NAME.json and .md")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; `--device cpu --tiny` tries the code")
    return options


def run_jobs(options: argparse.Namespace) -> tuple[Report, int]:
    """Every line of every chosen job, and how many failed."""
    lines: dict[str, list[Line]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for name in options.jobs:
            job = job_of(name, options)
            base = folder / job.shape
            if not base.exists():
                write_base(base, job.shape, options.device)
            lines[name] = []
            for number, switch in enumerate(SWITCHES):
                print(f"{name}: {switch.name}", file=sys.stderr, flush=True)
                lines[name].append(_line(options, job, base, number))
    failed = sum(
        bool(line.failure) and line.failure != _SKIPPED for found in lines.values() for line in found
    )
    return describe(options, lines), failed


_SKIPPED = "skipped: needs a GPU"


def job_of(name: str, options: argparse.Namespace) -> Job:
    job = JOBS[name]
    if not options.tiny:
        return job
    return Job("tiny", job.method, _TINY_LENGTH, job.chats, min(job.batch_size, _TINY_BATCH), 1)


def _line(options: argparse.Namespace, job: Job, base: Path, number: int) -> Line:
    """One line, on a GPU in a process of its own: nothing of the line before is left in its memory."""
    if SWITCHES[number].needs_gpu and options.device == "cpu":
        return Line(SWITCHES[number].name, failure=_SKIPPED)
    arguments = (job, number, base, options.device, 2 if options.tiny else options.steps)
    if options.device == "cpu":
        return measure(*arguments)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


# ---- a random model on disk -------------------------------------------------------------------------------


def write_base(folder: Path, shape: str, device: str) -> None:
    """A model folder with random bfloat16 weights, drawn on the device, one layer in memory at a time (1B: 2.5 GB, 7B:
    13.5 GB)."""
    folder.mkdir(parents=True)
    config = model_config(shape)
    config.save_pretrained(folder)
    copy_tokenizer(folder)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in LlamaForCausalLM(config).named_parameters()}
    generator = torch.Generator(device).manual_seed(0)
    index: dict[str, str] = {}
    for number, names in enumerate(_by_layer(list(shapes))):
        file = f"model-{number:03}.safetensors"
        save_file(
            {name: _random(name, shapes[name], generator) for name in names},
            folder / file,
            metadata={"format": "pt"},
        )
        index |= dict.fromkeys(names, file)
    content = {"metadata": {}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content), "utf-8")


def model_config(shape: str) -> LlamaConfig:
    return LlamaConfig(
        **SHAPES[shape],
        architectures=["LlamaForCausalLM"],
        max_position_embeddings=4096,
        dtype="bfloat16",
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def _by_layer(names: Sequence[str]) -> list[list[str]]:
    """`model.layers.7.mlp.up_proj.weight` belongs to `model.layers.7`, other weights to themselves."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        groups.setdefault(".".join(parts[:3]) if parts[1] == "layers" else name, []).append(name)
    return list(groups.values())


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    if name.endswith("norm.weight"):
        return torch.ones(shape, dtype=torch.bfloat16)
    drawn = torch.empty(shape, dtype=torch.bfloat16, device=generator.device)
    return drawn.normal_(0, 0.02, generator=generator).cpu()


# ---- one line ---------------------------------------------------------------------------------------------

_WARM_UP = 2


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each step ended, with the GPU's work done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())


@quiet_upstream()
def measure(job: Job, number: int, base: Path, device: str, steps: int) -> Line:
    """Train with the switches up to this line; a failure is part of the result."""
    switch = SWITCHES[number]
    with tempfile.TemporaryDirectory() as output:
        recipe = make_recipe(job, number, base, device, steps + _WARM_UP, Path(output) / "run")
        rows = make_rows(job, model_config(job.shape).vocab_size, (steps + _WARM_UP) * job.batch_size)
        clock = Clock()
        try:
            loading, forward = train(job, recipe, rows, clock, plain=number == 0)
        except (RuntimeError, ValueError, OutOfMemoryError) as error:
            full = isinstance(error, (OutOfMemoryError, torch.OutOfMemoryError))
            text = "out of memory" if full else f"{type(error).__name__}: {error}".splitlines()[0]
            return Line(switch.name, failure=text)
    seconds = clock.times[-1] - clock.times[_WARM_UP - 1]
    order = list(GlobalBatchSampler(len(rows), job.batch_size, recipe.seed))
    timed = [rows[number] for batch in order[_WARM_UP:] for number in batch]
    return Line(
        switch.name,
        tokens_per_second=sum(len(row["input_ids"]) for row in timed) / seconds,
        operations_per_second=needed_operations(job, timed) / seconds,
        loading_gib=loading,
        training_gib=_peak_gib(),
        forward_tokens=forward,
    )


def make_recipe(job: Job, number: int, base: Path, device: str, steps: int, output: Path) -> SftRecipe:
    """A recipe with all switches up to this one."""
    recipe: dict[str, Any] = {
        "stage": "sft",
        "output": str(output),
        "model": {"base": str(base), **METHODS[job.method]},
        "data": {"train": [{"path": "rows are made here"}], "max_length": job.length},
        "optimization": {"max_steps": steps, "batch_size": job.batch_size, "warmup": 0},
        "hardware": {"device": "auto" if device == "cuda" else "cpu"},
        "logging": {"every_steps": 1},
        "checkpoint": {"every_minutes": 10_000},
    }
    for switch in SWITCHES[: number + 1]:
        if device == "cuda" or not switch.needs_gpu:
            for path, value in switch.changes.items():
                block, name = path.split(".")
                recipe[block][name] = value
    loaded = loads(json.dumps(recipe))
    assert isinstance(loaded, SftRecipe)
    return loaded


def make_rows(job: Job, vocabulary: int, count: int) -> Dataset:
    """Random tokens, the first 40% of each row a prompt. Lengths of chats are log-normal around 400 tokens."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.full((count,), job.length)
    if job.chats:
        spread = torch.randn(count, generator=generator).mul(0.9).exp().mul(400)
        lengths = spread.long().clamp(min(16, job.length), job.length)
    rows = [torch.randint(3, vocabulary, (int(length),), generator=generator).tolist() for length in lengths]
    labels = [[IGNORED] * (len(row) * 2 // 5) + row[len(row) * 2 // 5 :] for row in rows]
    numbers = list(range(count))
    places = [f"row {number}" for number in numbers]
    return Dataset.from_dict({"input_ids": rows, "labels": labels, "row": numbers, "place": places})


def train(job: Job, recipe: SftRecipe, rows: Dataset, clock: Clock, *, plain: bool) -> tuple[float, int]:
    """Peak memory of loading, and the most tokens in a forward pass."""
    start = find_start(recipe.model, recipe.hardware, max_length=recipe.data.max_length)
    model = load_for_training(start, recipe.model, seed=recipe.seed, report=_silent)
    loading = _peak_gib()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if plain:
        _train_plainly(job, recipe, start, model, rows, clock)
        return loading, job.plain_rows * max(map(len, rows["input_ids"]))
    return loading, _train_with_llamatune(recipe, start, model, rows, clock)


def _train_plainly(
    job: Job, recipe: SftRecipe, start: Start, model: Any, rows: Dataset, clock: Clock
) -> None:
    trainer = SFTTrainer(
        model=model,
        args=plain_config(recipe, start, Path(recipe.output), job.plain_rows),
        train_dataset=rows,
        processing_class=start.tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _train_with_llamatune(recipe: SftRecipe, start: Start, model: Any, rows: Dataset, clock: Clock) -> int:
    """What the stage does between preparing the rows and saving, through a run directory."""
    with open_run(recipe, recipe_dir=ROOT) as run, Display("sft") as display:
        batching = choose_batching(model, recipe, start, max_length=recipe.data.max_length)
        trainer = SftTrainer(
            model=model,
            args=sft_config(recipe, start.placement, run.checkpoints),
            train_dataset=rows,
            processing_class=start.tokenizer,
            batching=batching,
            run=run,
            guards=recipe.guards,
            say=display.say,
        )
        trainer.add_callback(clock)
        with patch.object(Run, "need_space"):  # for checkpoints, which are not written here
            fit(trainer, recipe, run, display, sample=lambda step: None)
    return batching.budget


def _silent(line: str) -> None:
    pass


def _peak_gib() -> float:
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else math.nan


def needed_operations(job: Job, rows: Sequence[Mapping[str, Any]]) -> float:
    """Additions and multiplications that the mathematics needs, however it is computed.

    For each weight of a matrix and each token two forward, two for the gradient of the input and, where the weight is
    trained, two for its own; the output layer only at trained positions; attention among the tokens that see
    each other. Padding, recomputed activations and the adapters' own small matrices do not count.
    """
    config = model_config(job.shape)
    hidden, layers = config.hidden_size, config.num_hidden_layers
    keys = config.num_key_value_heads * (hidden // config.num_attention_heads)
    matrices = layers * (2 * hidden**2 + 2 * hidden * keys + 3 * hidden * config.intermediate_size)
    for_each = 6 if job.method == "full" else 4
    lengths = [len(row["input_ids"]) for row in rows]
    head = config.vocab_size * hidden * sum(map(trained_tokens, rows))
    attention = 6 * layers * hidden * sum(length**2 for length in lengths)
    return float(for_each * (matrices * sum(lengths) + head) + attention)


# ---- what to say ------------------------------------------------------------------------------------------


def describe(options: argparse.Namespace, lines: Mapping[str, Sequence[Line]]) -> Report:
    peak = options.peak_tflops * 1e12 if options.peak_tflops else known_peak()
    jobs = {name: job_of(name, options) for name in lines}
    tables = [_table(name, jobs[name], found, peak) for name, found in lines.items()]
    notes = [_method_note(peak)]
    if options.tiny or options.device == "cpu":
        notes.append("THESE FIGURES MEAN NOTHING: a tiny model or a CPU only shows that the code runs.")
    figures = {
        "peak_operations_per_second": peak,
        "jobs": {
            name: {"job": jobs[name], "lines": [asdict(line) for line in found]}
            for name, found in lines.items()
        },
    }
    return Report("Switch by switch on a GPU", figures, tables, notes)


def _table(name: str, job: Job, lines: Sequence[Line], peak: float) -> Table:
    rows = f"rows of {'up to ' if job.chats else ''}{job.length:,} tokens"
    title = f"{name}: {job.shape} shape, {job.method}, {rows}, {job.batch_size} a step"
    columns = ["", "tokens/s", "of plain", "of the peak", "memory", "while loading", "tokens a pass"]
    return Table(title, columns, [_cells(line, lines[0].tokens_per_second, peak) for line in lines])


def _cells(line: Line, plain: float, peak: float) -> list[str]:
    if line.failure:
        return [line.switch, line.failure, "", "", "", "", ""]
    return [
        line.switch,
        _cell(line.tokens_per_second, "{:,.0f}"),
        _cell(line.tokens_per_second / plain, "{:.2f}x"),
        _cell(line.operations_per_second / peak, "{:.1%}"),
        _cell(line.training_gib, "{:.2f} GiB"),
        _cell(line.loading_gib, "{:.2f} GiB"),
        f"{line.forward_tokens:,}",
    ]


def _cell(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else "-"


def known_peak() -> float:
    """The card's; NaN where this file does not know it."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((peak for name, peak in PEAKS.items() if re.search(rf"\b{name}\b", card)), math.nan)


def _method_note(peak: float) -> str:
    return (
        "Each line has the switches of the lines above it too. tokens/s: tokens of the rows, padding not counted. "
        "Share of the peak: operations that the mathematics needs (6 a weight and token in full training, 4 where "
        "the weight is frozen, attention added, padding and recomputation not counted) over the card's dense "
        f"bfloat16 peak, {_cell(peak / 1e12, '{:,.0f} TFLOP/s')}. Memory: most that torch had allocated on the "
        "card. Tokens a pass: most in a forward pass, padding included."
    )


if __name__ == "__main__":
    main()
