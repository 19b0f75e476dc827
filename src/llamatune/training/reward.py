"""The reward trainer: the paper's pairwise loss over global batches of pairs (section 3.2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid
from trl import RewardTrainer

from llamatune.recipe.blocks import RewardLoss
from llamatune.training.pairs import Labels, labels_of
from llamatune.training.reward_metrics import pair_figures
from llamatune.training.scoring import score_pairs, scores_at
from llamatune.training.trainer import GlobalBatchTrainer, Row

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
    table = torch.tensor([*(settings.margins or MARGINS[settings.margin]), 0.0], device=chosen.device)
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
    """Trains on pairs; further arguments `loss`, the recipe's block, and `eval_sets`, held-out pairs by name.

    The loss is divided by the number of pairs in the global batch, so how that is cut changes nothing. `figures` are
    those of the last evaluation, for each set.
    """

    def __init__(
        self, *args: Any, train_dataset: Dataset, eval_sets: Mapping[str, Dataset], loss: RewardLoss, **kwargs: Any
    ) -> None:
        # trl is given one tokenised pair: ours are read by the loader, and trl would tokenise and filter them again.
        one = Dataset.from_dict({"chosen_ids": [[0]], "rejected_ids": [[0]]})
        super().__init__(*args, train_dataset=one, **kwargs)
        self.train_dataset = train_dataset
        self.eval_dataset = dict(eval_sets) or None
        self.pair_loss = loss
        self.figures: dict[str, dict[str, Any]] = {}

    def items(self, row: Row) -> int:
        return 1

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        labels = Labels(*inputs.pop("pair_labels"))
        chosen, rejected = scores_at(model, self.model, inputs)
        loss = pair_losses(chosen, rejected, labels, self.pair_loss).sum() / num_items_in_batch
        return loss * self.accelerator.num_processes  # gradients are averaged over processes

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Accuracy and loss on each held-out set; every process scores all of it, so none has to be asked."""
        metrics: dict[str, float] = {}
        losses = []
        for name, dataset in (eval_dataset or self.eval_dataset).items():
            rows = list(dataset)
            scores = score_pairs(self.model, rows, pad_id=self.processing_class.pad_token_id)
            self.figures[name] = pair_figures(scores, np.array([row["pair"] for row in rows]))
            chosen, rejected = torch.from_numpy(scores).T
            labels = labels_of(rows)
            losses.append(pair_losses(chosen, rejected, labels, self.pair_loss))
            metrics[f"{metric_key_prefix}_accuracy_{name}"] = self.figures[name]["accuracy"]
        metrics[f"{metric_key_prefix}_loss"] = float(torch.cat(losses).mean())
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
