"""llamatune's reward models beside plain `trl.RewardTrainer`, taking turns of a few steps.

Both train the same weights, with the same head, on the same global batches of pairs with the same optimizer in
float32; so does a bare PyTorch loop over sorted, padded pairs, which shows how far padding can be taken without
computing each prompt once. What comes out are ratios of pairs a second, turn by turn, and the losses and gradients
side by side: when they differ, the benchmark fails.

    python benchmarks/reward.py --shape 5m --data FILE --template llama2 --licence LICENCE

A pair with a conversation of more than `--max-length` tokens is left out for all, as trl does it; the results say how
many were.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from comparing import common_options, common_recipe, compare_contenders
from contenders import Job, Row, Sequences, padded, plain_batches
from datasets import Dataset
from transformers import Trainer
from trl import RewardConfig, RewardTrainer

from llamatune.data.rows import Pair
from llamatune.models.load import Start
from llamatune.recipe.load import loads
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.stages import reward
from llamatune.training.reward import RewardModelTrainer
from llamatune.training.upstream import reward_arguments


def main() -> None:
    parser = common_options(__doc__, data="pico-preferences-helpful")
    parser.add_argument(
        "--max-length", type=int, default=1024, help="longer pairs are left out; the default is trl's"
    )
    compare_contenders(parser.parse_args(), make_job)


def make_job(options: argparse.Namespace, folder: Path) -> RewardJob:
    recipe = common_recipe(options, folder) | {"stage": "reward"}
    recipe["optimization"]["min_warmup_steps"] = 0
    recipe["data"] |= {"max_length": options.max_length, "too_long": "drop", "max_dropped": 1}
    loaded = loads(json.dumps(recipe))
    assert isinstance(loaded, RewardRecipe)
    job = RewardJob(loaded, options.micro_batch)
    _check_enough(job)
    return job


def _check_enough(job: RewardJob) -> None:
    """Plain trl takes the mean of the forward passes' means, which is that of all pairs in full batches only."""
    settings = job.recipe.optimization
    full = len(job.rows()) // settings.batch_size
    if settings.max_steps is None or settings.max_steps > full:
        sys.exit(
            f"error: {len(job.rows()):,} pairs are {full} full batches of {settings.batch_size}, and "
            f"{settings.max_steps} steps were asked for; in a smaller batch plain trl weighs pairs unequally. "
            "Take fewer rounds or steps"
        )


@dataclass(frozen=True)
class RewardJob(Job):
    recipe: RewardRecipe
    title = "Reward model, all weights"
    plain = "plain trl.RewardTrainer"
    rows_are = "pairs"
    unit = "pairs"
    stage: ClassVar[ModuleType] = reward
    trainer = RewardModelTrainer

    def sequences(self, row: Row) -> Sequences:
        """The chosen and the rejected conversation, prompt included."""
        if "chosen_ids" in row:
            return [row["chosen_ids"], row["rejected_ids"]]
        prompt, chosen, rejected = (row["input_ids"][part] for part in Pair(*row["pair"]).parts)
        return [prompt + chosen, prompt + rejected]

    def items(self, row: Row) -> int:
        return 1

    def plain_trainer(self, start: Start, output: Path) -> Trainer:
        chosen, rejected = zip(*map(self.sequences, self.rows()), strict=True)
        arguments = reward_arguments(self.recipe, start.placement, output)
        arguments |= plain_batches(self.recipe, self.micro_batch)
        arguments["max_length"] = self.recipe.data.max_length
        return RewardTrainer(
            model=self.model(),
            args=RewardConfig(**arguments),
            train_dataset=Dataset.from_dict({"chosen_ids": chosen, "rejected_ids": rejected}),
            processing_class=start.tokenizer,
        )

    def summed_loss(self, model: Any, rows: Sequence[Row], pad_id: int) -> torch.Tensor:
        """Each prompt is computed twice; the head only where a score is read."""
        conversations = [tokens for side in zip(*map(self.sequences, rows), strict=True) for tokens in side]
        hidden = model.model(input_ids=padded(conversations, pad_id), use_cache=False).last_hidden_state
        ends = torch.tensor([len(tokens) - 1 for tokens in conversations])
        chosen, rejected = model.score(hidden[torch.arange(len(ends)), ends])[:, 0].chunk(2)
        return -torch.nn.functional.logsigmoid(chosen - rejected).sum()

    def about_rows(self) -> str:
        data = self.prepared()
        counts, pairs = data.counts, data.counts.pairs
        assert pairs is not None
        means = [
            tokens / counts.sequences
            for tokens in (pairs.prompt_tokens, pairs.chosen_tokens, pairs.rejected_tokens)
        ]
        left_out = ", ".join(f"{number:,} {reason}" for reason, number in counts.dropped.items())
        return (
            "{:.0f} tokens of prompt, {:.0f} of chosen and {:.0f} of rejected reply on average, ".format(
                *means
            )
            + f"{counts.longest:,} at most in a conversation; of {counts.read:,} pairs were left out: "
            f"{left_out or 'none'} (max_length {self.recipe.data.max_length:,})"
        )


if __name__ == "__main__":
    main()
