"""The trainer of SFT and pre-training: a `trl.SFTTrainer` whose rows, batches and loss are llamatune's."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from llamatune.data.rows import IGNORED
from llamatune.forward.collate import Tensors
from llamatune.training.global_batch import GlobalBatchTrainer


class SftTrainer(GlobalBatchTrainer, SFTTrainer):  # type: ignore[misc]
    """Minimises the mean of -log p over the trained tokens of each global batch."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Tensors,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """-log p of each trained token, summed over a micro-batch and divided by those of the global batch.

        trl's fused layer computes every position on a CPU, padding and prompts included; asking the model for the
        logits of the trained positions only is the same sum.
        """
        if self.batching.fused:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")[0, 1:]
        trained = (labels != IGNORED).nonzero()[:, 0]
        logits = model(**inputs, use_cache=False, logits_to_keep=trained).logits[0]
        loss = cross_entropy(logits.float(), labels[trained], reduction="sum") / num_items_in_batch
        if model.training:
            self.run.position.at("in a backward pass")
        return loss * self.accelerator.num_processes  # gradients are averaged over processes
