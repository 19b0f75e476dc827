"""What every stage's trainer shares with its run: logging, checkpoints, and the state that both need.

`RunTrainer` is mixed into a transformers trainer, in front of it. It overrides only what transformers documents for
overriding, and the one place where checkpoints are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from transformers import Trainer, TrainerControl

from llamatune.forward.sharding import is_sharded, whole_model, without_weights
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
    """Whether the training step says where it is (`run.position`), so that a standstill can be told from work."""
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
        # Before trl binds a `forward` of its own to the model: a copy of that would call the model itself.
        self._shell = without_weights(kwargs["model"]) if getattr(kwargs.get("args"), "fsdp", None) else None
        super().__init__(*args, **kwargs)
        self.control: TrainerControl
        self.run = run
        self.say = say
        self.loss_spike = LossSpike(guards.loss_spike if guards else None)
        self.trained: float = 0
        self.losses: list[float] = []
        self.last_loss: float | None = None

    def whole_model(self) -> Any:
        """The model as it is, with all its weights: where they are sharded, a copy in the main memory of the first
        process, and one without weights in the others. All processes must ask for it together."""
        if self._shell is None or not is_sharded(self.model):
            return self.accelerator.unwrap_model(self.model)
        return whole_model(self._shell, self.model, keep=self.accelerator.is_main_process)

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

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """The only place where upstream writes; private there, and overridden by trl's trainers as well."""
        with disk_errors(self.run.checkpoints, self.run.checkpoint_bytes):
            super()._save_checkpoint(*args, **kwargs)
