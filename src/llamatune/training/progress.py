"""What a trainer reports while it trains: metrics, throughput, memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from llamatune.runs.display import Display
from llamatune.runs.run import Run
from llamatune.training.run_trainer import RunTrainer


class Progress:
    """Writes what the trainer logs to metrics.jsonl, speed and memory to speed.jsonl, and both to the display."""

    def __init__(self, trainer: RunTrainer, run: Run, display: Display) -> None:
        self.trainer = trainer
        self.run = run
        self.display = display
        self._mark: tuple[float, float] = (0, time.monotonic())

    def log(self, step: int, record: dict[str, float]) -> None:
        self.run.log(step, record)
        if "loss" in record:
            speed = {f"{self.trainer.unit}_per_second": self._throughput(), "memory_gib": peak_memory_gib()}
            self.run.log_speed(step, speed)
            self.display.update(step, record | speed)
        elif "eval_loss" in record:
            self.display.say(f"step {step}: held-out loss {record['eval_loss']:.4f}")

    def restart_clock(self) -> None:
        self._mark = (self.trainer.trained, time.monotonic())

    @contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Time inside does not count as training."""
        done, since = self._mark
        begun = time.monotonic()
        yield
        self._mark = (done, since + time.monotonic() - begun)

    def _throughput(self) -> float:
        """Items per second since the last log line, without evaluation, sampling and saving."""
        done, since = self._mark
        speed = (self.trainer.trained - done) / max(time.monotonic() - since, 1e-9)
        self.restart_clock()
        return round(speed, 1) if speed >= 10 else float(f"{speed:.3g}")


def peak_memory_gib() -> float:
    """Peak memory of the GPU, or of this process where there is none."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)


def final_figures(trainer: RunTrainer) -> dict[str, float]:
    """The last training and held-out loss and the peak memory, for `result.json`."""
    figures = {"loss": trainer.last_loss} if trainer.last_loss is not None else {}
    held_out = [record["eval_loss"] for record in trainer.state.log_history if "eval_loss" in record]
    if held_out:
        figures["eval_loss"] = held_out[-1]
    return figures | {"peak_memory_gib": peak_memory_gib()}
