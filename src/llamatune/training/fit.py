"""From a loaded model and prepared rows to trained weights: the part that is the same in every stage."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback

from llamatune.errors import CheckpointError, LlamatuneError, reason_of
from llamatune.launch.meeting import all_here
from llamatune.models.adapters import keep_float32
from llamatune.recipe.stages.common import TrainingRecipe
from llamatune.runs.display import Display
from llamatune.runs.files import disk_errors
from llamatune.runs.run import Run
from llamatune.training.flow import Flow
from llamatune.training.run_trainer import RunTrainer
from llamatune.training.trackers import trackers

_Result = TypeVar("_Result")


def fit(
    trainer: RunTrainer,
    recipe: TrainingRecipe,
    run: Run,
    display: Display,
    *,
    rehearse: Callable[[], None] = lambda: None,
    sample: Callable[[int], None] = lambda step: None,
    sample_every: int | None = None,
) -> None:
    """Train from the start or from the run's checkpoint, to the end or to a request to stop.

    Args:
        rehearse: saves all of the artefact that can be saved before anything is trained, and removes it again.
        sample: shows sample replies of the model as it is; called with the step. A reward model has none.
        sample_every: steps between two calls; without it, `sample` is called before and after training only.

    Raises:
        StoppedError: a signal asked for it; everything is saved.
        DiskError: a checkpoint could not be written; the one before it is intact.
        DivergedError, OutOfMemoryError: see the trainer's `training_step`.
    """

    def warn(text: str) -> None:
        run.event("tracker", text)
        display.say(f"warning: {text}")

    keep_float32(trainer.model)
    trainer.remove_callback(PrinterCallback)  # it would print every log line as a dictionary
    flow = Flow(trainer, recipe, run, display, sample, sample_every)
    trainer.add_callback(flow)
    for tracker in trackers(recipe.logging.report_to, run.directory, warn):
        trainer.add_callback(tracker)
    if trainer.accelerator.num_processes > 1:
        all_here()  # reading weights takes longer on one machine than on another
        (run.checkpoint,) = broadcast_object_list([run.checkpoint])
    run.need_space(*_space(trainer.model, recipe))

    if run.checkpoint is None:
        if run.is_main:
            with disk_errors(run.directory):
                rehearse()
        if not trainer.sharded:  # a sharded model is not on its devices yet: see `Flow.on_train_begin`
            sample(0)
    run.stop.can_wait = True
    _train(trainer, run, flow)
    if flow.stopping:
        saved = f"; {run.last_checkpoint} is saved" if run.is_main else ""
        raise run.stopped(f"at step {trainer.state.global_step}{saved}")
    sample(trainer.state.global_step)


def _train(trainer: RunTrainer, run: Run, flow: Flow) -> None:
    """The trainer's loop; what ends it is said in a user's words, and no half-written checkpoint is left."""
    start = str(run.checkpoint.folder) if run.checkpoint else None
    if run.checkpoint is not None:
        _check_whole(run.checkpoint.folder)
    try:
        trainer.train(resume_from_checkpoint=start)
    except pickle.UnpicklingError as error:  # torch's own text advises to load it all the same
        raise CheckpointError(
            "E403",
            "a state file holds more than tensors and numbers, and was not loaded",
            place=start,
            why="such a file can run any code that was hidden in it; no checkpoint of llamatune holds one",
            hint="find out who wrote it; start again with --resume none",
        ) from error
    except Exception as error:
        if start is not None and not flow.going_on and not isinstance(error, (LlamatuneError, MemoryError)):
            raise _unreadable(start, error) from error
        run.drop_unfinished()
        if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
            raise LlamatuneError(
                "E902",
                f"a data worker process died: {str(error).splitlines()[0]}",
                why="something killed it, often the kernel when memory ran out",
                hint=f"the same command goes on from {run.last_checkpoint}; fewer workers take less memory",
            ) from None
        raise


def _unreadable(checkpoint: str, error: Exception) -> CheckpointError:
    """Its files are as they were written, and one of them holds something else than upstream expects."""
    return CheckpointError(
        "E405",
        f"the checkpoint cannot be loaded: {reason_of(error)}",
        place=checkpoint,
        why="nothing was trained yet; its files have their recorded hashes, so they were written like this, by another "
        "version of a library or by somebody else",
        hint="go on with the versions of requirements.lock, restore the checkpoint from a copy, or start again with "
        "--resume none",
    )


def in_main_process(trainer: RunTrainer, write: Callable[[], _Result]) -> _Result:
    """What `write` returns in the first process, returned in all of them; the others wait for it."""
    trainer.run.check_there()
    try:
        with disk_errors(trainer.run.directory):
            results = [write() if trainer.accelerator.is_main_process else None]
    finally:
        # Nobody else has taken away what was written into a directory that is gone.
        if not trainer.run.is_ours:
            trainer.run.drop_unfinished()
    if trainer.accelerator.num_processes > 1:
        all_here()
        results = broadcast_object_list(results)
    assert results[0] is not None
    return results[0]


def _check_whole(checkpoint: Path) -> None:
    """Upstream goes on without the state of optimizer, schedule and generators where it finds none."""
    there = {path.name.partition(".")[0].rstrip("_0123456789") for path in checkpoint.iterdir()}
    if missing := sorted({"optimizer", "scheduler", "rng_state", "trainer_state"} - there):
        raise CheckpointError(
            "E406",
            f"the checkpoint holds no {', '.join(missing)}",
            place=str(checkpoint),
            why="training would go on with fresh state: as another training than the one that was stopped",
            hint="no checkpoint of llamatune is like this: remove it to go on from an older one, or start again with "
            "--resume none",
        )


def _space(model: torch.nn.Module, recipe: TrainingRecipe) -> tuple[int, int]:
    """Bytes of a checkpoint (weights, and two moments for each trained one) and of the artefact."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    artefact = sum(weight.numel() * weight.element_size() for weight in weights)
    moment = 1 if "8bit" in recipe.optimization.optimizer else 4
    moments = sum(2 * moment * weight.numel() for weight in weights)
    return artefact + moments, artefact
