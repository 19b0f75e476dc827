"""What happens at the end of each step: log, evaluate, sample, save, stop.

One place decides, so that the order is always the same, and a run that was stopped and resumed does the same things at
the same steps: the step's figures are logged, then held-out rows are evaluated, then the checkpoint is written
with everything before it included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llamatune.launch.meeting import all_here
from llamatune.recipe.stages.common import TrainingRecipe
from llamatune.runs.display import Display
from llamatune.runs.run import Run
from llamatune.training.progress import Progress
from llamatune.training.run_trainer import RunTrainer


class Flow(TrainerCallback):  # type: ignore[misc]
    """Decides after each step, and writes down what the trainer logs."""

    def __init__(
        self,
        trainer: RunTrainer,
        recipe: TrainingRecipe,
        run: Run,
        display: Display,
        sample: Callable[[int], None],
        sample_every: int | None,
    ) -> None:
        self.trainer = trainer
        self.recipe = recipe
        self.run = run
        self.display = display
        self.sample = sample
        self.sample_every = sample_every
        self.progress = Progress(trainer, run, display)
        self.steps_per_epoch = len(trainer.get_train_dataloader())
        self.stopping = False
        self.going_on = False
        """Whether a step has begun, so that all of a checkpoint has been read."""
        self._saved_at = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.run.checkpoint is not None:
            assert state.global_step == self.run.checkpoint.step, "trainer_state.json is of another step"
            self.trainer.restore(self.run.checkpoint.about["state"])
            # The recipe may have changed since; upstream goes by what the checkpoint says.
            state.logging_steps = args.logging_steps
        else:
            self._rehearse(args)
            if self.trainer.sharded:
                self.sample(0)
        self.display.start(state.max_steps, done=state.global_step, afterwards=self._steps_of_an_evaluation())
        self.progress.restart_clock()
        self._saved_at = time.monotonic()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.going_on, self.run.evaluating = True, False
        doing = "before its first pass" if self.trainer.tells_where else ""
        self.run.position.begin(state.global_step + 1, doing)

    def _rehearse(self, args: TrainingArguments) -> None:
        """Save a checkpoint of step 0 to the real disk: what cannot be saved must not be trained first."""
        self.trainer._save_checkpoint(self.trainer.model, trial=None)
        all_here()
        self.run.rehearse(Path(args.output_dir) / "checkpoint-0", self.trainer.state_to_save())

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        step, last = state.global_step, state.global_step >= state.max_steps
        self.run.position.leave()
        self.run.beat(step, state.max_steps)
        self.display.advance(step)
        if self.sample_every and step % self.sample_every == 0 and not last:
            with self.progress.clock_stopped():
                self.sample(step)
        control.should_log = control.should_log or last
        control.should_evaluate = self.trainer.eval_dataset is not None and (
            last or self._evaluation_due(step)
        )
        self.run.evaluating = control.should_evaluate
        if not last:  # at the last step the artefact is written instead
            self._save_or_stop(control, due=self._checkpoint_due(step))

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.progress.restart_clock()
        if state.global_step < state.max_steps and not self.stopping:
            # Somebody may have lost patience in the meantime.
            self._save_or_stop(control, due=control.should_save)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        all_here()
        self.run.commit(folder, state.global_step, self.trainer.state_to_save())
        self._saved_at = time.monotonic()
        self.progress.restart_clock()
        (stop,) = self._agreed(self.run.stop.signal is not None)
        if stop:  # asked to while saving: it is saved
            self.stopping = control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        hidden = self.trainer.hidden
        record = {name: value for name, value in (logs or {}).items() if not name.endswith(hidden)}
        self.progress.log(state.global_step, record)

    def _steps_of_an_evaluation(self) -> float:
        """How many steps a held-out loss takes as long as, about: a forward pass is a third of a step's work."""
        held_out = self.trainer.eval_dataset
        if held_out is None:
            return 0.0
        rows = sum(map(len, held_out.values() if isinstance(held_out, dict) else [held_out]))
        rows_a_step = len(self.trainer.train_dataset) / self.steps_per_epoch
        return rows / rows_a_step / 3

    def _evaluation_due(self, step: int) -> bool:
        every = self.recipe.logging.eval_every_steps
        return step % (every or self.steps_per_epoch) == 0

    def _checkpoint_due(self, step: int) -> bool:
        settings = self.recipe.checkpoint
        if settings.every_steps is not None:
            return step % settings.every_steps == 0
        return time.monotonic() - self._saved_at >= settings.every_minutes * 60

    def _save_or_stop(self, control: TrainerControl, *, due: bool) -> None:
        """All processes save and stop at the same step, whichever of them was asked to."""
        stop, due = self._agreed(self.run.stop.signal is not None, due)
        # There is nothing to go back to in a spike.
        control.should_save = stop or (due and not self.trainer.loss_spike.high)
        if control.should_save:
            self.run.check_there()
        if stop:
            self.stopping = control.should_training_stop = True

    def _agreed(self, *wishes: bool) -> list[bool]:
        accelerator = self.trainer.accelerator
        if accelerator.num_processes == 1:
            return list(wishes)
        wanted = torch.tensor(wishes, dtype=torch.float32, device=accelerator.device)
        return [bool(count) for count in accelerator.reduce(wanted, "sum").tolist()]
