"""What is compared: plain `trl.SFTTrainer`, llamatune's stage, and a bare PyTorch loop over sorted, padded rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from reporting import ROOT
from round_robin import StepDone
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from llamatune.data.chat import ChatFormat
from llamatune.data.prepare import prepare
from llamatune.data.rows import IGNORED
from llamatune.models.base import BUILTIN
from llamatune.models.load import Start, find_start, load_for_training
from llamatune.pipeline import run as run_stage
from llamatune.recipe.recipes import SftRecipe
from llamatune.stages import sft
from llamatune.training.batches import GlobalBatchSampler
from llamatune.training.collate import trained_tokens
from llamatune.training.trainer import SftTrainer
from llamatune.training.upstream import sft_arguments

Row = Mapping[str, Any]

_PICO = json.loads((BUILTIN / "pico/config.json").read_text("utf-8")) | {
    "dtype": "float32",
    "max_position_embeddings": 2048,
}
SHAPES: dict[str, dict[str, Any]] = {
    "pico": _PICO,
    "5m": _PICO
    | {
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
    },
}
"""Architectures, all with the vocabulary of pico's tokenizer."""


def random_base(folder: Path, shape: str) -> Path:
    """A model folder with random weights in one of the shapes, and pico's tokenizer."""
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPES[shape])).save_pretrained(folder)
    copy_tokenizer(folder)
    return folder


def copy_tokenizer(folder: Path) -> None:
    """Put pico's tokenizer beside a model."""
    for file in (BUILTIN / "pico").glob("*"):
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, folder)


@dataclass
class Job:
    """What every contender is given: the same recipe, and with it the same weights and rows."""

    recipe: SftRecipe
    micro_batch: int
    """Rows of a forward pass of the plain trainer."""

    def start(self) -> Start:
        return find_start(self.recipe.model, self.recipe.hardware, max_length=self.recipe.data.max_length)

    def rows(self) -> Dataset:
        """The training rows; encoded once, then read from the cache."""
        data = self.recipe.data
        chat = ChatFormat(
            self.start().tokenizer, self.recipe.chat, max_length=data.max_length, too_long=data.too_long
        )
        prepared = prepare(
            data, chat, kind="conversations", seed=self.recipe.seed, recipe_dir=ROOT, report=_silent
        )
        return prepared.train

    def model(self) -> PreTrainedModel:
        return load_for_training(self.start(), self.recipe.model, seed=self.recipe.seed, report=_silent)

    def global_batches(self) -> list[list[Row]]:
        """The rows of each step, as llamatune's sampler draws them."""
        rows, settings = self.rows(), self.recipe.optimization
        assert settings.max_steps is not None
        sampler = GlobalBatchSampler(len(rows), settings.batch_size, self.recipe.seed)
        return [list(rows.select(batch)) for batch in _batches(sampler, settings.max_steps)]


def _silent(line: str) -> None:
    pass


def _batches(sampler: GlobalBatchSampler, steps: int) -> Iterator[list[int]]:
    for step in range(steps):
        epoch, number = divmod(step, len(sampler))
        sampler.set_epoch(epoch)
        yield list(sampler)[number]


@dataclass
class Trace:
    """What a contender did: its rows in the order of forward passes, and its figures."""

    micro_batches: list[list[list[int]]] = field(default_factory=list)
    """Token ids of the rows in each forward pass."""
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    """Norm of each step's gradient, before clipping."""
    first_gradient: Any = None
    """Gradient of the first step, after clipping: a numpy array."""

    def steps(self, sizes: Sequence[int]) -> list[list[list[int]]]:
        """The rows of each step, sorted: what contenders have in common, however they cut a global batch."""
        rows = (row for batch in self.micro_batches for row in batch)
        return [sorted(next(rows) for _ in range(size)) for size in sizes]


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Fills a trace, and ends a turn."""

    def __init__(self, trace: Trace, step_done: StepDone) -> None:
        self.trace = trace
        self.step_done = step_done

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: torch.nn.Module, **_: Any
    ) -> None:
        if state.global_step == 0:
            self.trace.first_gradient = _gradient(model)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" in logs:
            self.trace.losses.append(logs["loss"])
            self.trace.norms.append(logs["grad_norm"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.step_done()


class _Watched:
    """A collator that remembers its rows."""

    def __init__(self, collate: Any, trace: Trace) -> None:
        self.collate = collate
        self.padded = getattr(collate, "padded", True)
        self.trace = trace

    def tokens(self, row: Row) -> int:
        return len(row["input_ids"])

    def __call__(self, rows: Sequence[Row]) -> Any:
        self.trace.micro_batches.append([row["input_ids"] for row in rows])
        return self.collate(rows)


def _gradient(model: torch.nn.Module) -> Any:
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return torch.cat(gradients).numpy()


# ---- plain trl --------------------------------------------------------------------------------------------


def plain_config(recipe: SftRecipe, start: Start, output: Path, micro_batch: int) -> SFTConfig:
    """llamatune's own settings of optimizer, schedule, precision, seeds and logging; trl's way with batches."""
    batches = {
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": recipe.optimization.batch_size // micro_batch,
        "remove_unused_columns": True,
    }
    return SFTConfig(**(sft_arguments(recipe, start.placement, output) | batches))


def plain_trl(job: Job, step_done: StepDone) -> Trace:
    """`trl.SFTTrainer` with its own collator, as its users call it."""
    trace, start = Trace(), job.start()
    trainer = SFTTrainer(
        model=job.model(),
        args=plain_config(job.recipe, start, Path(job.recipe.output).with_name("plain"), job.micro_batch),
        train_dataset=job.rows(),
        processing_class=start.tokenizer,
        data_collator=_Watched(DataCollatorForLanguageModeling(start.tokenizer.pad_token_id), trace),
        callbacks=[_Watch(trace, step_done)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trace


# ---- llamatune --------------------------------------------------------------------------------------------


def llamatune(job: Job, step_done: StepDone) -> Trace:
    """The whole stage with all that it guards and writes; its trainer gets one callback more."""
    trace = Trace()

    class Watched(SftTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.batching.collate = _Watched(self.batching.collate, trace)
            self.add_callback(_Watch(trace, step_done))

    with patch.object(sft, "SftTrainer", Watched):
        run_stage(job.recipe, recipe_dir=ROOT)
    return trace


# ---- the bare loop ----------------------------------------------------------------------------------------

_PIECES = 8
"""Micro-batches of a global batch in the bare loop."""


def bare_loop(job: Job, step_done: StepDone) -> Trace:
    """The least that training with padding takes: sorted rows, logits of trained positions only, no trainer."""
    trace, settings = Trace(), job.recipe.optimization
    model, pad_id = job.model(), job.start().tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
    )
    model.train()
    for rows in job.global_batches():
        items = sum(map(trained_tokens, rows))
        loss = 0.0
        for batch in _pieces(rows):
            trace.micro_batches.append([row["input_ids"] for row in batch])
            part = _summed_loss(model, batch, pad_id) / items
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        if trace.first_gradient is None:
            trace.first_gradient = _gradient(model)
        optimizer.step()
        optimizer.zero_grad()
        trace.losses.append(loss)
        trace.norms.append(norm.item())
        step_done()
    return trace


def _pieces(rows: Sequence[Row]) -> list[list[Row]]:
    ordered = sorted(rows, key=lambda row: -len(row["input_ids"]))
    size = -(-len(ordered) // _PIECES)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _summed_loss(model: Any, rows: Sequence[Row], pad_id: int) -> torch.Tensor:
    """Padding stands on the right, where a causal model's earlier positions never see it: no mask is needed."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([[*row["input_ids"], *[pad_id] * (width - len(row["input_ids"]))] for row in rows])
    labels = torch.tensor(
        [[*row["labels"][1:], *[IGNORED] * (width + 1 - len(row["labels"]))] for row in rows]
    )
    trained = labels != IGNORED
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[trained])
    return torch.nn.functional.cross_entropy(logits, labels[trained], reduction="sum")


def _parameter_groups(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Matrices decay and norms do not, as the trainers have it."""
    weights = list(model.parameters())
    return [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.ndim == 1], "weight_decay": 0.0},
    ]
