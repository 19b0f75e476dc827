"""PPO as a run: rollouts, warnings and held-out figures are written into the run's folder, and restored by a resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from llamatune.errors import DivergedError
from llamatune.forward.rollouts import Rollout
from llamatune.judging.disagreement import JudgedTwice, disagreement, remark
from llamatune.judging.oracle import Oracle, means
from llamatune.outside import checked_number
from llamatune.ppo.experience import Experience
from llamatune.ppo.trainer import PPOTrainer
from llamatune.sampling.prompts import PromptRow, text_of
from llamatune.training.guards import Finding
from llamatune.training.run_trainer import RunTrainer


class RecipePPOTrainer(RunTrainer, PPOTrainer):
    """A `PPOTrainer` of a run.

    Args:
        oracle: judges the held-out completions in addition to the reward models: rising rewards alone prove nothing.
    """

    unit = "rollouts"

    def __init__(self, *args: Any, oracle: Oracle | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.oracle = oracle
        self.held_out: list[dict[str, float]] = []
        """Figures of each evaluation."""
        self.disagreements: list[dict[str, Any]] = []
        """Where reward models and oracle parted at the first evaluation and at the last, if there is an oracle."""

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except DivergedError as error:
            problems = [replace(one, hint=f"{one.hint}; {self.run.ways_on}") for one in error.problems]
            raise DivergedError.of(problems) from None
        self.losses.append(self.progress.figures["loss"][-1])
        self.trained += self.args.batch_size / self.args.updates_per_iteration
        return loss

    def on_rollouts(self, iteration: int, found: Experience) -> None:
        """One line of completions.jsonl for each rollout."""
        for line in self.table(iteration, found):
            self.run.log_completion(line)

    def on_evaluation(
        self,
        rows: Sequence[PromptRow],
        rollouts: Sequence[Rollout],
        rewards: Sequence[float],
        figures: Mapping[str, float],
    ) -> dict[str, float]:
        """What the oracle says of the held-out completions: means over them, and how far the rewards agree with it."""
        further = {} if self.oracle is None else self._truth(self.oracle, rows, rollouts, rewards)
        found = {**figures, **further}
        self.held_out.append({"step": self.state.global_step, **found})
        names = [name for name in ("reward", "oracle/quality", "kl") if name in found]
        text = ", ".join(f"{name.replace('/', ' ')} {found[name]:.3f}" for name in names)
        self.say(f"step {self.state.global_step}: held-out {text}")
        content: dict[str, Any] = {"held_out": self.held_out}
        if self.disagreements:
            content["disagreement"] = self.disagreements
            if line := remark(self.disagreements[-1]):
                self.say(line)
        self.run.write_json("evaluation.json", content)
        return further

    def _truth(
        self,
        oracle: Oracle,
        rows: Sequence[PromptRow],
        rollouts: Sequence[Rollout],
        rewards: Sequence[float],
    ) -> dict[str, float]:
        completions = [self.completion(rollout) for rollout in rollouts]
        verdicts = oracle.verdicts(rows, completions)
        found = disagreement(
            [
                [JudgedTwice(text_of(row["prompt"]), one.text, reward, verdict["quality"])]
                for row, one, reward, verdict in zip(rows, completions, rewards, verdicts, strict=True)
            ]
        )
        self.disagreements = [*self.disagreements[:1], {"step": self.state.global_step, **found}]
        further = {f"oracle/{name}": figure for name, figure in means(verdicts).items()}
        if found["correlation"] is not None:
            further["oracle/rank_correlation"] = found["correlation"]
        return further

    def _heed(self, findings: Iterable[Finding]) -> None:
        """A warning is for readers of the result, too."""
        findings = list(findings)
        for finding in findings:
            if not finding.stop:
                self.run.event("warning", finding.text)
        super()._heed(findings)

    def on_memory_ran_out(self, text: str) -> None:
        super().on_memory_ran_out(text)
        self.run.event("out_of_memory", text)

    def state_to_save(self) -> dict[str, Any]:
        return super().state_to_save() | {
            "held_out": self.held_out,
            "disagreements": self.disagreements,
            "pass_tokens": self.passes.most_tokens,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.held_out = [
            {name: checked_number(figure) for name, figure in found.items()} for found in state["held_out"]
        ]
        self.disagreements = list(state["disagreements"])
        # A run limits the tokens of a pass, never its number of rollouts.
        assert self.passes.most_tokens is not None
        self.passes.most_tokens = min(self.passes.most_tokens, checked_number(state["pass_tokens"]))

    def outcome(self) -> dict[str, float]:
        """The last held-out figures, and how they changed since the start, for `result.json`."""
        if not self.held_out:
            return {}
        first, last = self.held_out[0], self.held_out[-1]
        names = [name for name in last if name != "step"]
        return {f"eval_{name}": last[name] for name in names} | {
            f"change of {name}": last[name] - first[name] for name in names if name in first
        }
