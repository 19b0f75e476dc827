"""The reward trainer: the paper's pairwise loss over global batches of pairs (section 3.2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid
from trl import RewardTrainer

from llamatune.data.rows import EncodedRow
from llamatune.forward.pairs import Labels, labels_of
from llamatune.judging.figures import figures, flat, headline, label_figures
from llamatune.judging.scoring import score_rows, scores_at
from llamatune.recipe.stages.reward import RewardLoss
from llamatune.training.global_batch import GlobalBatchTrainer

MARGINS = {"none": (0.0, 0.0, 0.0, 0.0), "small": (1.0, 2 / 3, 1 / 3, 0.0), "large": (3.0, 2.0, 1.0, 0.0)}
"""Margin by rating, significantly better first (paper, table 27)."""


def pair_losses(
    chosen: torch.Tensor, rejected: torch.Tensor, labels: Labels, settings: RewardLoss
) -> torch.Tensor:
    """(pairs,): -log sigmoid(chosen - rejected - margin(rating)), and what the recipe adds to it.

    Args:
        chosen, rejected: (pairs,) scores.
        labels: ratings and safety labels; a pair without a rating has no margin, a reply without a safety label adds
            nothing to the safety loss.

    Centring: c * (chosen + rejected)^2 keeps scores around zero (Eisenstein et al. 2023). Safety: lambda * the mean
    over both replies of the cross-entropy of sigmoid(score) against "is safe"; the paper has such a loss and leaves
    its form open (section 4.1, table 29).
    """
    table = torch.tensor([*(settings.margin_table or MARGINS[settings.margin]), 0.0], device=chosen.device)
    margin = table[labels.rating]  # -1, no rating, is the last entry
    losses = -logsigmoid(chosen - rejected - margin)
    if settings.center:
        losses = losses + settings.center * (chosen + rejected) ** 2
    if settings.safety:
        for scores, safe in ((chosen, labels.chosen_safe), (rejected, labels.rejected_safe)):
            known = (safe >= 0).float()
            entropy = binary_cross_entropy_with_logits(scores, safe.clamp(min=0).float(), reduction="none")
            losses = losses + settings.safety / 2 * known * entropy
    return losses


class RewardModelTrainer(GlobalBatchTrainer, RewardTrainer):  # type: ignore[misc]
    """Trains on pairs, or on scored or labelled rows.

    Args:
        loss: the recipe's block.
        min_warmup_steps: the warm-up takes at least this many.
        eval_sets: held-out rows by name.
        others: the scores that another reward model gives to each of these sets, to see how often the two agree.

    The loss is divided by the number of pairs in the global batch, so how that is cut changes nothing. `figures` are
    those of the last evaluation, for each set.
    """

    unit = "pairs"

    def __init__(
        self,
        *args: Any,
        train_dataset: Dataset,
        eval_sets: Mapping[str, Dataset],
        loss: RewardLoss,
        min_warmup_steps: int = 0,
        others: Mapping[str, np.ndarray],
        **kwargs: Any,
    ) -> None:
        # trl is given one tokenised pair: ours are read by the loader, and trl would tokenise and filter them again.
        one = Dataset.from_dict({"chosen_ids": [[0]], "rejected_ids": [[0]]})
        super().__init__(*args, train_dataset=one, **kwargs)
        if loss.objective != "pairs":
            self.unit = "rows"
        self.train_dataset = train_dataset
        self.eval_dataset = dict(eval_sets) or None
        self.reward_loss = loss
        self.min_warmup_steps = min_warmup_steps
        self.others = others
        self.figures: dict[str, dict[str, Any]] = {}

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """As upstream, but with a least warm-up."""
        share = self.args.get_warmup_steps(num_training_steps)
        self.args.warmup_steps = max(share, self.min_warmup_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def items(self, row: EncodedRow) -> int:
        return 1

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        scores = scores_at(model, self.model, inputs)
        processes: int = self.accelerator.num_processes  # over which gradients are averaged
        loss: torch.Tensor = self._losses(scores, inputs).sum() * processes / num_items_in_batch
        self.run.position.at("in a backward pass")
        return loss

    def _losses(self, scores: torch.Tensor, known: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(pairs,) or (rows,): one for each pair, or each scored or labelled row."""
        if self.reward_loss.objective == "scores":
            return torch.square(scores - known["scores"])
        if self.reward_loss.objective == "labels":
            return binary_cross_entropy_with_logits(scores, known["scores"], reduction="none")
        chosen, rejected = scores
        return pair_losses(chosen, rejected, Labels(*known["pair_labels"]), self.reward_loss)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Figures of each held-out set, and the mean loss over all of them.

        Every process scores everything, so that none has to wait for another.
        """
        losses = []
        for name, dataset in (eval_dataset or self.eval_dataset or {}).items():
            rows = list(dataset)
            scores = score_rows(self.model, rows)
            self.figures[name] = self._figures(name, scores, rows)
            losses.append(self._losses(torch.from_numpy(scores.T), known_of(rows)))
            self.say(f"{name}: {headline(self.figures[name])}")
        metrics = {f"{metric_key_prefix}_loss": float(torch.cat(losses).mean())}
        for name, found in self.figures.items():
            metrics |= {f"{metric_key_prefix}_{figure}": value for figure, value in flat(name, found)}
        self.run.write_json("evaluation.json", self.figures)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _figures(self, name: str, scores: np.ndarray, rows: Sequence[EncodedRow]) -> dict[str, Any]:
        if self.reward_loss.objective == "labels":
            return label_figures(scores, np.array([row["score"] for row in rows]))
        return figures(scores, rows, self.others.get(name))

    def accuracies(self) -> dict[str, float]:
        """Accuracy on each held-out set, for `result.json`."""
        found = {f"accuracy/{name}": figures.get("accuracy") for name, figures in self.figures.items()}
        return {name: value for name, value in found.items() if value is not None}


def known_of(rows: Sequence[EncodedRow]) -> dict[str, torch.Tensor]:
    """What the loss needs to know of some rows, as collators give it."""
    if "pair" in rows[0]:
        return {"pair_labels": labels_of(rows)}
    return {"scores": torch.tensor([row["score"] for row in rows])}
