"""The trainer of the stages that go through rows: a trl trainer whose unit of work is the global batch.

`GlobalBatchTrainer` is mixed into trl's trainers and overrides only what transformers documents for overriding:
the training dataloader, the training step, evaluation and saving; what it shares with other stages is in `run_trainer`.
A step gets the rows of a whole global batch, cuts them into micro-batches, adds up their gradients, and looks at the
result before the update is made. Having the whole batch in hand makes the rest simple: when memory runs out, the batch
is cut into smaller pieces and repeated; when a loss is not finite, its rows are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from llamatune.data.rows import EncodedRow
from llamatune.errors import DivergedError, OutOfMemoryError
from llamatune.forward import sharded_state
from llamatune.forward.collate import trained_tokens
from llamatune.forward.memory import free_memory, one_row_too_many, within_memory
from llamatune.forward.sharding import is_sharded, whole_model, without_weights
from llamatune.models.saving import save_plainly
from llamatune.outside import checked_number
from llamatune.training.batches import GlobalBatchLoader
from llamatune.training.batching import Batching
from llamatune.training.guards import diverged, gradient_norm
from llamatune.training.run_trainer import RunTrainer

if TYPE_CHECKING:
    from datasets import Dataset


_NOTHING = torch.tensor(float("inf"))
"""Divides the loss of a process that has no rows left, so that its gradients are zero."""


_EVAL_ROWS = 256
"""Held-out rows that are sorted by length and cut together."""


class GlobalBatchTrainer(RunTrainer):
    """See the module. Further arguments: `batching`, and those of `RunTrainer`."""

    unit = "trained_tokens"
    tells_where = True
    hidden = (*RunTrainer.hidden, "num_tokens", "entropy", "mean_token_accuracy")
    """Figures of trl that start again at a resume, or average over micro-batches."""

    def __init__(self, *args: Any, batching: Batching, **kwargs: Any) -> None:
        # Before trl binds a `forward` of its own to the model: a copy of that would call the model itself.
        self._shell = without_weights(kwargs["model"]) if getattr(kwargs.get("args"), "fsdp", None) else None
        super().__init__(*args, data_collator=_never, **kwargs)
        self.batching = batching

    # ---- training -----------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> GlobalBatchLoader:
        return GlobalBatchLoader(
            self.train_dataset,
            self.batching.batch_size,
            self.args.seed,
            workers=self.args.dataloader_num_workers,
        )

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, list[EncodedRow]], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Gradients of a whole global batch. Returns this process's part of the loss, for the upstream trainer.

        Raises:
            DivergedError: the loss or the gradient is not finite, or the loss went up and stayed up; before the
                update.
            OutOfMemoryError: memory does not hold a single row.
        """
        rows, step = inputs["rows"], self.state.global_step + 1
        loss = self._gradients(model, rows)
        while loss is None:
            self._cut_smaller(rows)
            model.zero_grad()
            loss = self._gradients(model, rows)
        self.run.position.at("between its passes and its update")
        mean = float(self.accelerator.reduce(loss, "mean"))
        self._check_finite(model, rows, step, mean)
        self._watch(step, mean)
        self.losses.append(mean)
        self.trained += sum(map(self.items, rows))
        return loss

    def items(self, row: EncodedRow) -> int:
        """What a row adds to the number that the loss is divided by."""
        return trained_tokens(row)

    def _gradients(self, model: torch.nn.Module, rows: Sequence[EncodedRow]) -> torch.Tensor | None:
        """Forward and backward passes over a global batch; None where memory ran out in any process."""
        items = torch.tensor(sum(map(self.items, rows)), device=self.args.device)
        *before, last = self.batching.micro_batches(
            rows, self.accelerator.process_index, self.accelerator.num_processes
        )
        losses = []
        enough = True
        for batch in before:
            # Sharded gradients are exchanged in every pass: kept until the last, they would be whole on each device.
            with nullcontext() if self.sharded else self.accelerator.no_sync(model):
                loss = self._tried(self._pass, model, batch or rows[:1], items if batch else _NOTHING)
            if loss is None:
                enough = False
                break
            losses.append(loss)
        if self._in_any_process(not enough):
            return None
        # Gradients are exchanged here, so all processes take part; one without rows adds zero.
        loss = self._tried(self._pass, model, last or rows[:1], items if last else _NOTHING)
        if loss is None:
            return None
        return torch.stack([*losses, loss]).sum()

    def _tried(self, work: Callable[..., torch.Tensor], *arguments: Any) -> torch.Tensor | None:
        """What the pass gives; None where memory ran out and it can be cut smaller. A sharded pass cannot: the other
        processes are in the middle of theirs."""
        if not self.sharded:
            return within_memory(work, *arguments)
        try:
            return work(*arguments)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                "E701",
                f"memory ran out in a sharded pass of at most {self.batching.budget:,} tokens",
                why="the other processes are in the middle of the same pass, so it cannot be repeated",
                hint=f"the same command with `hardware.micro_batch_tokens={max(self.batching.budget // 2, 1)}` goes on "
                f"from {self.run.last_checkpoint}",
            ) from error

    def _pass(self, model: torch.nn.Module, batch: Sequence[EncodedRow], items: torch.Tensor) -> torch.Tensor:
        """One forward and backward pass."""
        self.run.position.at("putting rows together")
        inputs = self.batching.collate(batch)
        self.run.position.at("in a forward pass")
        loss: torch.Tensor = super().training_step(model, inputs, items)
        return loss

    def _in_any_process(self, true: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return true
        return bool(self.accelerator.reduce(torch.tensor(float(true), device=self.args.device), "sum"))

    def _cut_smaller(self, rows: Sequence[EncodedRow]) -> None:
        """Halve the micro-batches; the global batch stays what it was."""
        largest = max(
            sum(map(self.batching.collate.tokens, batch))
            for batch in self.batching.micro_batches(rows, 0, self.accelerator.num_processes)
        )
        longest = max(map(self.batching.collate.tokens, rows))
        if largest <= longest:
            raise one_row_too_many(longest)
        self.batching.budget = max(largest // 2, 1)
        free_memory()
        text = (
            f"memory ran out: at most {self.batching.budget:,} tokens in a forward pass from here on, "
            "with the same global batch"
        )
        self.run.event("out_of_memory", text)
        self.say(text)

    # ---- guards -------------------------------------------------------------------------------------------

    def _check_finite(
        self, model: torch.nn.Module, rows: Sequence[EncodedRow], step: int, loss: float
    ) -> None:
        what = f"the loss is {loss}" if not math.isfinite(loss) else None
        # float16 finds its scale by overflowing now and then.
        scaler = getattr(self.accelerator, "scaler", None)
        if what is None and not (scaler and scaler.is_enabled()):
            norm = gradient_norm(model)
            what = f"the gradient's norm is {norm}" if not math.isfinite(norm) else None
        if what is None:
            return
        culprits = self._not_finite_alone(model, rows)
        error = diverged(step, what, culprits or rows, alone=bool(culprits), ways_on=self.run.ways_on)
        self.run.write_json(
            "nonfinite.json", {"step": step, "what": what, "rows": [dict(row) for row in culprits or rows]}
        )
        raise error

    def _not_finite_alone(self, model: torch.nn.Module, rows: Sequence[EncodedRow]) -> list[EncodedRow]:
        """Rows whose loss or gradient is not finite by itself, found by running each alone."""
        if self.accelerator.num_processes > 1:
            return []  # each backward pass would wait for the other processes
        culprits = []
        for row in rows:
            model.zero_grad()
            loss = super().training_step(model, self.batching.collate([row]), torch.tensor(1))
            if not (math.isfinite(float(loss)) and math.isfinite(gradient_norm(model))):
                culprits.append(row)
        return culprits if len(culprits) < len(rows) else []

    def _watch(self, step: int, loss: float) -> None:
        """If the loss went up and stayed up: stop, and withdraw checkpoints that were made since; or warn."""
        for finding in self.loss_spike.see(step, loss):
            if not finding.stop:
                self.run.event("warning", finding.text)
                self.say(f"warning: {finding.text}")
                continue
            self.run.withdraw(self.loss_spike.last_good(step))
            raise DivergedError(
                "E603",
                finding.text,
                why="a loss that jumps up and stays up has lost what it had learnt",
                hint="lower `optimization.learning_rate` or raise `optimization.warmup`, and go on from "
                f"{self.run.last_checkpoint} with --force-resume; or set `guards.loss_spike.action: warn` if it is "
                "expected",
            )

    # ---- evaluation ---------------------------------------------------------------------------------------

    def evaluate(
        self,
        eval_dataset: Dataset | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """The mean loss over all trained tokens of the held-out rows, however they are batched."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        self.model.eval()
        total, items = 0.0, 0
        for start in range(0, len(dataset), _EVAL_ROWS):
            rows = list(dataset.select(range(start, min(start + _EVAL_ROWS, len(dataset)))))
            total += self._eval_loss(rows)
            items += sum(map(self.items, rows))
        self.model.train()
        metrics = {f"{metric_key_prefix}_loss": total / items}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _eval_loss(self, rows: Sequence[EncodedRow]) -> float:
        """The summed loss of some rows, over all processes."""
        while True:
            batches = self.batching.micro_batches(
                rows, self.accelerator.process_index, self.accelerator.num_processes
            )
            if self.sharded:  # all processes make the same number of passes
                losses = [self._tried(self._eval_pass, batch or rows[:1]) for batch in batches]
                losses = [loss for loss, batch in zip(losses, batches, strict=True) if batch]
            else:
                losses = [within_memory(self._eval_pass, batch) for batch in batches if batch]
            known = [loss for loss in losses if loss is not None]
            if not self._in_any_process(len(known) < len(losses)):
                total = torch.stack(known).sum() if known else torch.tensor(0.0, device=self.args.device)
                return float(self.accelerator.reduce(total, "mean"))
            self._cut_smaller(rows)

    @torch.no_grad()
    def _eval_pass(self, batch: Sequence[EncodedRow]) -> torch.Tensor:
        one = torch.tensor(1, device=self.args.device)
        with self.compute_loss_context_manager():
            inputs = send_to_device(self.batching.collate(batch), self.args.device)
            loss: torch.Tensor = self.compute_loss(self.model, inputs, num_items_in_batch=one)
        return loss

    # ---- saving -------------------------------------------------------------------------------------------

    def state_to_save(self) -> dict[str, Any]:
        return super().state_to_save() | {"budget": self.batching.budget}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.batching.budget = min(self.batching.budget, checked_number(state["budget"]))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Weights only, as safetensors: no pickled arguments, no tokenizer, no look at the hub."""
        folder = Path(output_dir or self.args.output_dir)
        if self.sharded:
            sharded_state.save_own_weights(self.model, folder, self.args.process_index)
        elif self.args.should_save:
            save_plainly(self.model, folder)

    def whole_model(self) -> Any:
        """The model as it is, with all its weights: where they are sharded, a copy in the main memory of the first
        process, and one without weights in the others. All processes must ask for it together."""
        if self._shell is None or not is_sharded(self.model):
            return self.accelerator.unwrap_model(self.model)
        return whole_model(self._shell, self.model, keep=self.accelerator.is_main_process)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.sharded:
            sharded_state.load_own_weights(self.model, Path(resume_from_checkpoint), self.args.process_index)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """trl writes a model card with each checkpoint; the artefact's card is written at the end."""


def _never(rows: Sequence[EncodedRow]) -> Any:
    """Takes the place of the collator that upstream asks for: batches are cut and collated in the step."""
    raise AssertionError("global batches are collated in training_step")
