"""What every stage's trainer shares with its run: logging, checkpoints, and the state that both need.

`RunTrainer` is mixed into a transformers trainer, in front of it. It overrides only what transformers documents for
overriding, and the one place where checkpoints are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import Trainer, TrainerControl

from llamatune.errors import ModelError
from llamatune.forward import sharded_state
from llamatune.outside import checked_number
from llamatune.recipe.stages.common import EpochGuards
from llamatune.runs.files import disk_errors
from llamatune.runs.run import Run
from llamatune.training.guards import LossSpike


class RunTrainer(Trainer):  # type: ignore[misc]
    """A trainer that belongs to a run.

    Args:
        run: the open run directory.
        say: prints a line for the user.
        guards: the recipe's block; None where a loss that goes up means nothing.

    The training step of a derived class adds to `trained` the items that it computed gradients for (`unit` says what an
    item is) and appends its loss to `losses`, those of the steps since the last log line; where it leaves them empty,
    upstream's mean is logged, which begins anew at a resume. `save_model` is the derived class's, too: upstream's also
    writes a pickle, and a checkpoint that holds one is not trusted.
    """

    unit: str = "rows"
    tells_where: bool = False
    """Whether the training step says at every moment where it is (`run.position`), so that a standstill can be told
    from work; others say so of pieces of it (`busy`)."""
    sharded: bool = False
    """Whether `hardware.sharding` spreads the model's weights over the processes."""
    hidden: ClassVar[tuple[str, ...]] = ("total_flos",)
    """Figures whose names end like this are logged by upstream and not written down."""

    def __init__(
        self,
        *args: Any,
        run: Run,
        say: Callable[[str], None],
        guards: EpochGuards | None = None,
        **kwargs: Any,
    ) -> None:
        with disk_errors(run.checkpoints):
            run.checkpoints.mkdir(exist_ok=True)
        super().__init__(*args, **kwargs)
        self.control: TrainerControl
        self.sharded = self.is_fsdp_enabled
        self.run = run
        self.say = say
        self.loss_spike = LossSpike(guards.loss_spike if guards else None)
        self.trained: float = 0
        self.losses: list[float] = []
        self.last_loss: float | None = None

    def create_accelerator_and_postprocess(self) -> None:
        """Raises ModelError (E220): the weights were to be sharded, and would not be."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and not self.is_fsdp_enabled:
            raise ModelError(
                "E220",
                "sharding is for GPUs: on this device accelerate would train without it, and not say so",
                place="hardware.sharding",
                hint="set `hardware.sharding=none`",
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The logged loss is the mean of the steps since the last line, also across a resume."""
        if "loss" in logs:
            if self.losses:
                logs["loss"] = sum(self.losses) / len(self.losses)
            self.last_loss = logs["loss"]
            self.losses.clear()
        if "train_runtime" not in logs:  # upstream's summary counts from the last resume only
            super().log(logs, start_time)

    def state_to_save(self) -> dict[str, Any]:
        """What the checkpoint must hold in addition to upstream's files, so that logs and guards go on as they were."""
        return {
            "losses": self.losses,
            "last_loss": self.last_loss,
            "trained": self.trained,
            "loss_spike": self.loss_spike.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_to_save` gave."""
        self.losses = [checked_number(loss) for loss in state["losses"]]
        self.last_loss = None if state["last_loss"] is None else checked_number(state["last_loss"])
        self.trained = checked_number(state["trained"])
        self.loss_spike.restore(state["loss_spike"])

    # ---- sharded state: by `sharded_state`, in the place of what upstream keeps private -----------------------

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        folder = Path(output_dir)
        sharded_state.save_own_optimizer(
            self.model, self.optimizer.optimizer, folder, self.args.process_index
        )
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), folder / "scheduler.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.sharded or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        sharded_state.load_own_optimizer(
            self.model, self.optimizer.optimizer, folder, self.args.process_index
        )
        self.lr_scheduler.load_state_dict(torch.load(folder / "scheduler.pt", weights_only=True))
        # The schedule sets it at the end of a step, and upstream restores it with the optimizer.
        for group, rate in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """The only place where upstream writes; private there, and overridden by trl's trainers as well."""
        with disk_errors(self.run.checkpoints, self.run.checkpoint_bytes):
            super()._save_checkpoint(*args, **kwargs)
