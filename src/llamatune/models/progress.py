"""What a trainer reports while it trains: metrics, throughput, memory, sample replies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llamatune.errors import DivergedError
from llamatune.models.collate import Collator
from llamatune.runs.display import Display
from llamatune.runs.run import Run


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Mirrors the trainer's log to metrics.jsonl and the display.

    `sample` is called with the step whenever sample replies are due (`every_steps`).
    """

    def __init__(
        self,
        run: Run,
        display: Display,
        collator: Collator,
        *,
        sample: Callable[[int], None] | None = None,
        sample_every: int | None = None,
    ) -> None:
        self.run = run
        self.display = display
        self.collator = collator
        self.sample = sample
        self.sample_every = sample_every
        self._mark = (0, 0.0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.display.start(state.max_steps)
        self._restart_clock()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.display.advance(state.global_step)
        if state.global_step == state.max_steps:
            control.should_log = True  # the last step's figures, whatever `logging.every_steps` says
        if self.sample and self.sample_every and state.global_step % self.sample_every == 0:
            self.sample(state.global_step)
            self._restart_clock()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._restart_clock()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        record = {
            name: value
            for name, value in (logs or {}).items()
            if name not in ("num_tokens", "eval_num_tokens")
        }
        if "loss" in record:
            _stop_if_diverged(state.global_step, record)
            record |= {"trained_tokens_per_second": self._throughput(), "memory_gib": peak_memory_gib()}
            self.display.update(state.global_step, record)
        elif "eval_loss" in record:
            self.display.say(f"step {state.global_step}: held-out loss {record['eval_loss']:.4f}")
        self.run.log({"step": state.global_step, **record})

    def _restart_clock(self) -> None:
        self._mark = (self.collator.trained_tokens, time.monotonic())

    def _throughput(self) -> float:
        """Trained tokens a second since the last log line, evaluation and sampling left out."""
        tokens, since = self._mark
        speed = (self.collator.trained_tokens - tokens) / max(time.monotonic() - since, 1e-9)
        self._restart_clock()
        return round(speed, 1)


def _stop_if_diverged(step: int, record: dict[str, float]) -> None:
    for name in ("loss", "grad_norm"):
        if not math.isfinite(record.get(name, 0.0)):
            raise DivergedError(
                "E602",
                f"{name} is {record[name]} at step {step}",
                why="every later step would train on it, and the result would be worthless",
                hint="lower `optimization.learning_rate`, raise `optimization.warmup`, or train in float32",
            )


def peak_memory_gib() -> float:
    """Peak memory of the GPU, or of this process where there is none."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)


def final_figures(log_history: list[dict[str, float]]) -> dict[str, float]:
    """The last training and held-out loss and the peak memory, for `result.json`."""
    figures = {}
    for name in ("loss", "eval_loss"):
        values = [record[name] for record in log_history if name in record]
        if values:
            figures[name] = values[-1]
    return figures | {"peak_memory_gib": peak_memory_gib()}
