"""`RunTrainer` in front of a plain transformers trainer is all that `fit` needs."""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import Trainer, TrainingArguments

from llamatune.errors import CheckpointError, DiskError, StoppedError
from llamatune.models.placement import Placement
from llamatune.recipe.load import loads
from llamatune.runs import checkpoints
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


class Stopping(Ours):
    """Is asked to stop in its third step."""

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step == 2:
            self.run.stop.signal = signal.SIGTERM
        return super().training_step(*args, **kwargs)


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


# ---- saving is tried before the first step ----------------------------------------------------------------


class NotSavable(Ours):
    """Says what it did; its checkpoints cannot be written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.steps = 0

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.steps += 1
        return super().training_step(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        raise ValueError("these settings cannot be saved")


def test_what_cannot_be_saved_is_not_trained(recipe: Any) -> None:
    with pytest.raises(ValueError, match="cannot be saved"), trainer_of(recipe, NotSavable) as parts:
        trainer, run, display = parts
        fit(trainer, recipe, run, display)
    assert trainer.steps == 0


def test_an_artefact_that_cannot_be_saved_is_not_trained(recipe: Any) -> None:
    def rehearse() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskError), trainer_of(recipe) as (trainer, run, display):
        fit(trainer, recipe, run, display, rehearse=rehearse)
    assert trainer.trained == 0


def test_a_rehearsal_leaves_nothing_and_is_no_checkpoint(recipe: Any) -> None:
    rehearsed = []
    with trainer_of(recipe) as (trainer, run, display):
        seen: list[list[str]] = []
        plain = run.rehearse

        def rehearse(folder: Path, state: Mapping[str, Any]) -> None:
            seen.append(sorted(file.name for file in folder.iterdir()))
            plain(folder, state)
            seen.append([folder.name for folder in run.checkpoints.iterdir()])

        run.rehearse = rehearse
        fit(trainer, recipe, run, display, rehearse=lambda: rehearsed.append(trainer.trained))
        assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} < set(seen[0])
        assert seen[1] == [] and rehearsed == [0] and run.checkpoint is not None
        # Killed between the two halves of a rehearsal.
        run.checkpoint.folder.rename(run.checkpoints / "checkpoint-0")
    with trainer_of(recipe) as (trainer, run, display):
        assert run.checkpoint is None, "nobody goes on from a rehearsal"


# ---- a resume --------------------------------------------------------------------------------------------


def stopped_at_3(recipe: Any) -> Path:
    """The checkpoint of a run that was stopped."""
    with pytest.raises(StoppedError), trainer_of(recipe, Stopping) as (trainer, run, display):
        fit(trainer, recipe, run, display)
    return Path(recipe.output) / "checkpoints/checkpoint-3"


@pytest.mark.parametrize("lacks", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"])
def test_a_checkpoint_that_was_made_without_a_state_is_refused(recipe: Any, lacks: str) -> None:
    """Its manifest is right: somebody or `save_only_model` made it like this."""
    folder = stopped_at_3(recipe)
    about = checkpoints.verify(folder).about
    for name in (lacks, "manifest.json"):
        (folder / name).unlink()
    checkpoints.commit(folder, step=3, about=about)
    said = pytest.raises(CheckpointError, match=f"E406.*holds no {lacks.partition('.')[0]}")
    with said, trainer_of(recipe) as (trainer, run, display):
        fit(trainer, recipe, run, display)
    assert trainer.trained == 0


def test_another_distance_of_log_lines_is_heeded(recipe: Any) -> None:
    stopped_at_3(recipe)
    logging = recipe.logging.model_copy(update={"every_steps": 1})
    often = recipe.model_copy(update={"logging": logging})
    with trainer_of(often) as (trainer, run, display):
        fit(trainer, often, run, display)
    assert [line["step"] for line in lines(often, "metrics.jsonl")] == [1, 4, 5, 6]
