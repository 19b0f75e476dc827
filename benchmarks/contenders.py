"""What is compared: plain trl, llamatune's stage, and a bare PyTorch loop over sorted, padded rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from datasets import Dataset
from reporting import ROOT
from round_robin import StepDone
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback

from llamatune.data.encode.encoders import encoder_for
from llamatune.data.prepare import Prepared, prepare
from llamatune.models.found import Task
from llamatune.models.load import Start, find_start, load_for_training
from llamatune.pipeline import run as run_stage
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import SftRecipe
from llamatune.training.batches import GlobalBatchSampler
from llamatune.training.global_batch import GlobalBatchTrainer

Row = Mapping[str, Any]
Sequences = list[list[int]]
"""Token ids that the model reads for a row: one list of them, or one for each reply of a pair."""


@dataclass(frozen=True)
class Job(ABC):
    """What every contender is given: the same recipe, and with it the same weights and rows.

    `micro_batch`: rows of a forward pass of the plain trainer. `title`: what is trained; `plain`: the name of the
    plain trainer; `rows_are`, `unit`: what a row is called, and what the loss is divided by and speed counted in;
    `stage`, `trainer`: where llamatune's stage gets its trainer from.
    """

    recipe: SftRecipe | RewardRecipe
    micro_batch: int
    title: ClassVar[str]
    plain: ClassVar[str]
    rows_are: ClassVar[str]
    unit: ClassVar[str]
    stage: ClassVar[ModuleType]
    trainer: ClassVar[type[GlobalBatchTrainer]]

    @abstractmethod
    def sequences(self, row: Row) -> Sequences:
        """What the model reads for a row, ours or the plain trainer's."""

    @abstractmethod
    def items(self, row: Row) -> int:
        """What a row adds to the number that the loss is divided by."""

    @abstractmethod
    def plain_trainer(self, start: Start, output: Path) -> Trainer:
        """trl's own trainer with its own collator, as its users call it."""

    @abstractmethod
    def summed_loss(self, model: Any, rows: Sequence[Row], pad_id: int) -> torch.Tensor:
        """The loss of a padded forward pass without any trainer, summed over its items."""

    @abstractmethod
    def about_rows(self) -> str:
        """Lengths of the rows, and which were left out, in words."""

    def start(self) -> Start:
        return find_start(self.recipe.model, self.recipe.hardware, max_length=self.recipe.data.max_length)

    def prepared(self) -> Prepared:
        """Encoded once, then read from the cache."""
        kind, encoder = encoder_for(self.recipe, self.start().tokenizer)
        return prepare(
            self.recipe.data, encoder, kind=kind, seed=self.recipe.seed, recipe_dir=ROOT, report=_silent
        )

    def rows(self) -> Dataset:
        """The training rows."""
        return self.prepared().train

    def model(self) -> PreTrainedModel:
        task: Task = "score" if isinstance(self.recipe, RewardRecipe) else "generate"
        return load_for_training(
            self.start(), self.recipe.model, seed=self.recipe.seed, report=_silent, task=task
        )

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

    micro_batches: list[list[Sequences]] = field(default_factory=list)
    """The rows of each forward pass."""
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    """Norm of each step's gradient, before clipping."""
    first_gradient: Any = None
    """Gradient of the first step, after clipping: a numpy array."""

    def steps(self, sizes: Sequence[int]) -> list[list[Sequences]]:
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

    def __init__(self, collate: Any, sequences: Callable[[Row], Sequences], trace: Trace) -> None:
        self.collate = collate
        self.padded = getattr(collate, "padded", True)
        self.sequences = sequences
        self.trace = trace

    def tokens(self, row: Row) -> int:
        return len(row["input_ids"])

    def __call__(self, rows: Sequence[Row]) -> Any:
        self.trace.micro_batches.append([self.sequences(row) for row in rows])
        return self.collate(rows)


def _gradient(model: torch.nn.Module) -> Any:
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return torch.cat(gradients).numpy()


# ---- plain trl --------------------------------------------------------------------------------------------


def plain_batches(recipe: SftRecipe | RewardRecipe, micro_batch: int) -> dict[str, Any]:
    """trl's way with batches; all other arguments are llamatune's own: optimizer, schedule, precision, seeds."""
    return {
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": recipe.optimization.batch_size // micro_batch,
        "remove_unused_columns": True,
    }


def plain_trl(job: Job, step_done: StepDone) -> Trace:
    trace = Trace()
    trainer = job.plain_trainer(job.start(), Path(job.recipe.output).with_name("plain"))
    trainer.data_collator = _Watched(trainer.data_collator, job.sequences, trace)
    trainer.add_callback(_Watch(trace, step_done))
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trace


# ---- llamatune --------------------------------------------------------------------------------------------


def llamatune(job: Job, step_done: StepDone) -> Trace:
    """The whole stage with all that it guards and writes; its trainer gets one callback more."""
    trace = Trace()

    def watched(*args: Any, **kwargs: Any) -> GlobalBatchTrainer:
        trainer = job.trainer(*args, **kwargs)
        trainer.batching.collate = _Watched(trainer.batching.collate, job.sequences, trace)
        trainer.add_callback(_Watch(trace, step_done))
        return trainer

    with patch.object(job.stage, job.trainer.__name__, watched):
        run_stage(job.recipe, recipe_dir=ROOT)
    return trace


# ---- the bare loop ----------------------------------------------------------------------------------------

_PIECES = 8
"""Micro-batches of a global batch in the bare loop."""


def bare_loop(job: Job, step_done: StepDone) -> Trace:
    """The least that training with padding takes: sorted rows, outputs only where a loss needs them, no trainer."""
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
        items = sum(map(job.items, rows))
        loss = 0.0
        for batch in _pieces(job, rows):
            trace.micro_batches.append([job.sequences(row) for row in batch])
            part = job.summed_loss(model, batch, pad_id) / items
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


def _pieces(job: Job, rows: Sequence[Row]) -> list[list[Row]]:
    ordered = sorted(rows, key=lambda row: -max(map(len, job.sequences(row))))
    size = -(-len(ordered) // _PIECES)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def padded(sequences: Sequence[Sequence[int]], filling: int) -> torch.Tensor:
    """Padding is on the right, where a causal model's earlier positions never see it: no mask is needed."""
    width = max(map(len, sequences))
    return torch.tensor([[*tokens, *[filling] * (width - len(tokens))] for tokens in sequences])


def _parameter_groups(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Matrices decay and norms do not, as the trainers have it."""
    weights = list(model.parameters())
    return [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.ndim == 1], "weight_decay": 0.0},
    ]
