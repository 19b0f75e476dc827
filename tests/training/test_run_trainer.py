"""`RunTrainer` in front of a plain transformers trainer is all that `fit` needs."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import Trainer, TrainingArguments

from llamatune.errors import DiskError, StoppedError
from llamatune.models.placement import Placement
from llamatune.recipe.load import loads
from llamatune.runs.display import Display
from llamatune.runs.opening import open_run
from llamatune.runs.run import Run
from llamatune.training.fit import fit, in_main_process
from llamatune.training.global_batch import GlobalBatchTrainer
from llamatune.training.progress import final_figures
from llamatune.training.run_trainer import RunTrainer
from llamatune.training.upstream import config_of, optimization_arguments, run_arguments

CPU = Placement("cpu", "float32", None, "sdpa", 1)
STEPS = 6


class Line(torch.nn.Module):
    """y = w x, learnt from y = 2 x."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": torch.square(self.w * x - 2 * x).mean()}


class Plain(Trainer):
    """Stands in for the trainer of a stage that is not one of global batches."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.model.state_dict(), folder / "model.safetensors")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs | {"entropy": 1.5}, start_time)


class Ours(RunTrainer, Plain):
    unit = "answers"

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self.losses.append(float(loss))
        self.trained += 2
        return loss


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    content = {
        "stage": "ppo",
        "output": str(tmp_path / "run"),
        "data": {"train": [{"path": "x.jsonl"}]},
        "reward": {"helpfulness": "runs/reward"},
        "optimization": {"learning_rate": 0.1, "batch_size": 2},
        "ppo": {"mini_batch_size": 2},
        "logging": {"every_steps": 4},
        "checkpoint": {"every_steps": 3},
    }
    return loads(json.dumps(content))


@contextmanager
def trainer_of(recipe: Any, kind: type[Ours] = Ours) -> Iterator[tuple[Ours, Run, Display]]:
    with (
        open_run(recipe, recipe_dir=Path()) as run,
        Display("ppo", quiet=True) as display,
    ):
        arguments = run_arguments(recipe, CPU, run.checkpoints) | optimization_arguments(recipe.optimization)
        args = config_of(TrainingArguments, arguments | {"max_steps": STEPS}, recipe, CPU)
        data = Dataset.from_dict({"x": [[float(number)] for number in range(1, 9)]}).with_format("torch")
        run.made_from({})
        yield kind(model=Line(), args=args, train_dataset=data, run=run, say=display.say), run, display


def lines(recipe: Any, name: str) -> list[dict[str, Any]]:
    text = (Path(recipe.output) / name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_fit_needs_no_more(recipe: Any) -> None:
    with trainer_of(recipe) as (trainer, run, display):
        fit(trainer, recipe, run, display)
        assert in_main_process(trainer, lambda: "written") == "written"
        figures = final_figures(trainer)
        losses = [line["loss"] for line in lines(recipe, "metrics.jsonl") if "loss" in line]
        assert len(losses) == 3 and losses[0] > losses[-1] == figures["loss"] == trainer.last_loss
        assert [line["step"] for line in lines(recipe, "metrics.jsonl")] == [1, 4, 6]
        assert set(lines(recipe, "speed.jsonl")[0]) > {"answers_per_second", "memory_gib"}
        assert run.checkpoint is not None and run.checkpoint.step == 3
        assert run.checkpoint.about["state"]["trained"] == 6 and trainer.trained == 12


def test_a_stopped_run_logs_the_same(recipe: Any, tmp_path: Path) -> None:
    """The losses between the last log line and the stop are not lost."""

    class Stopping(Ours):
        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            if self.state.global_step == 2:
                self.run.stop.signal = signal.SIGTERM
            return super().training_step(*args, **kwargs)

    with trainer_of(recipe) as (trainer, run, display):
        fit(trainer, recipe, run, display)
    whole = [{**line, "time": 0} for line in lines(recipe, "metrics.jsonl")]
    again = recipe.model_copy(update={"output": str(tmp_path / "again")})
    with pytest.raises(StoppedError), trainer_of(again, Stopping) as (trainer, run, display):
        fit(trainer, again, run, display)
    with trainer_of(again) as (trainer, run, display):
        fit(trainer, again, run, display)
    assert [{**line, "time": 0} for line in lines(again, "metrics.jsonl")] == whole


def test_which_figures_are_written_down(recipe: Any) -> None:
    """`entropy` is trl's own in global batches, and PPO's here."""
    with trainer_of(recipe) as (trainer, run, display):
        fit(trainer, recipe, run, display)
    assert all(line["entropy"] == 1.5 for line in lines(recipe, "metrics.jsonl"))
    assert not any("total_flos" in line for line in lines(recipe, "metrics.jsonl"))
    assert {"total_flos", "entropy", "num_tokens", "mean_token_accuracy"} == set(GlobalBatchTrainer.hidden)


def test_without_losses_upstreams_mean_is_logged(recipe: Any) -> None:
    class Quiet(Ours):
        training_step = Plain.training_step

    with trainer_of(recipe, Quiet) as (trainer, run, display):
        fit(trainer, recipe, run, display)
        logged = [line["loss"] for line in lines(recipe, "metrics.jsonl") if "loss" in line]
        assert len(logged) == 3 and trainer.last_loss == logged[-1]


def test_no_guard_where_a_loss_says_nothing(recipe: Any) -> None:
    with trainer_of(recipe) as (trainer, _, _):
        assert not any(trainer.loss_spike.see(step, 10.0**step) for step in range(100))
        assert trainer.loss_spike.high == 0


def test_a_full_disk_has_its_own_error(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Plain, "_save_checkpoint", full)
    with pytest.raises(DiskError), trainer_of(recipe) as (trainer, run, display):
        fit(trainer, recipe, run, display)
