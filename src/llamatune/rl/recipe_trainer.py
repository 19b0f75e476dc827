"""`PPOTrainer` inside a run: its figures, completions and guards go where every stage's go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from llamatune.errors import DivergedError
from llamatune.rl.experience import Experience
from llamatune.rl.guards import Finding
from llamatune.rl.ppo_trainer import PPOTrainer
from llamatune.rl.prompts import PromptRow
from llamatune.rl.sequences import Rollout
from llamatune.training.run_trainer import RunTrainer

Oracle = Callable[[PromptRow, str], Mapping[str, float]]
"""What is true of a reply, where somebody knows: figures between 0 and 1."""


class RecipePPOTrainer(RunTrainer, PPOTrainer):
    """A `PPOTrainer` of a run.

    Args:
        oracle: judges the held-out completions, besides the reward models: rising rewards alone prove nothing.
    """

    unit = "rollouts"

    def __init__(self, *args: Any, oracle: Oracle | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.oracle = oracle
        self.held_out: list[dict[str, float]] = []
        """Figures of each evaluation."""

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except DivergedError as error:
            problems = [replace(one, hint=f"{one.hint}; {self.run.ways_on}") for one in error.problems]
            raise DivergedError.of(problems) from None
        self.losses.append(self._figures["loss"][-1])
        self.trained += self.args.batch_size / self.args.updates_per_iteration
        return loss

    def on_rollouts(self, iteration: int, found: Experience) -> None:
        """One line of completions.jsonl for each rollout."""
        for line in self.table(iteration, found):
            self.run.log_completion(line)

    def on_evaluation(
        self, rows: Sequence[PromptRow], rollouts: Sequence[Rollout], figures: Mapping[str, float]
    ) -> dict[str, float]:
        """What the oracle says of the held-out completions, mean over them."""
        further: dict[str, float] = {}
        if self.oracle is not None:
            every = [
                self.oracle(row, self.completion(rollout).text)
                for row, rollout in zip(rows, rollouts, strict=True)
            ]
            further = {f"oracle/{name}": sum(one[name] for one in every) / len(every) for name in every[0]}
        found = {**figures, **further}
        self.held_out.append({"step": self.state.global_step, **found})
        names = [name for name in ("reward", "oracle/quality", "kl") if name in found]
        text = ", ".join(f"{name.replace('/', ' ')} {found[name]:.3f}" for name in names)
        self.say(f"step {self.state.global_step}: held-out {text}")
        self.run.write_json("evaluation.json", {"held_out": self.held_out})
        return further

    def _heed(self, findings: Iterable[Finding]) -> None:
        """A warning is for readers of the result, too."""
        findings = list(findings)
        for finding in findings:
            if not finding.stop:
                self.run.event("warning", finding.text)
        super()._heed(findings)

    def _cut_smaller(self, rollouts: Sequence[Rollout]) -> None:
        super()._cut_smaller(rollouts)
        text = f"memory ran out: at most {self.pass_tokens:,} tokens in a forward pass from here on"
        self.run.event("out_of_memory", text)

    def state_to_save(self) -> dict[str, Any]:
        return super().state_to_save() | {"held_out": self.held_out, "pass_tokens": self.pass_tokens}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.held_out = list(state["held_out"])
        self.pass_tokens = min(self.pass_tokens, state["pass_tokens"])

    def outcome(self) -> dict[str, float]:
        """The last held-out figures, and how they changed since the start, for `result.json`."""
        if not self.held_out:
            return {}
        first, last = self.held_out[0], self.held_out[-1]
        names = [name for name in last if name != "step"]
        return {f"eval_{name}": last[name] for name in names} | {
            f"change of {name}": last[name] - first[name] for name in names if name in first
        }
