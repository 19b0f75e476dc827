"""llamatune's supervised fine-tuning beside plain `trl.SFTTrainer`, taking turns of a few steps.

Both train the same weights on the same global batches with the same optimizer in float32; so does a bare PyTorch
loop, which shows how far padding can be taken. What comes out are ratios of trained tokens a second, turn by turn,
and the losses and gradients side by side: when they differ, the benchmark fails.

    python benchmarks/sft.py --shape 5m --data FILE --template alpaca --licence LICENCE
    python benchmarks/sft.py --base SMOLLM2 --lora 16 --data FILE --licence LICENCE --batch-size 32 --micro-batch 4
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from comparing import common_options, common_recipe, compare_contenders
from contenders import Job, Row, Sequences, padded, plain_batches
from shapes import SHAPES
from transformers import Trainer
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from llamatune.data.rows import IGNORED
from llamatune.forward.collate import trained_tokens
from llamatune.models.load import Start
from llamatune.models.probing import without_adapter
from llamatune.recipe.load import loads
from llamatune.recipe.stages.sft import SftRecipe
from llamatune.stages import sft
from llamatune.training.sft import SftTrainer
from llamatune.training.upstream import sft_arguments

_LONGEST = 1024
"""Most tokens in a row for a real model, whose context may be far longer."""


def main() -> None:
    options = common_options(__doc__, data="pico-sft-helpful").parse_args()
    compare_contenders(options, make_job)


def make_job(options: argparse.Namespace, folder: Path) -> SftJob:
    recipe = common_recipe(options, folder) | {"stage": "sft"}
    longest = _LONGEST if options.base else SHAPES[options.shape]["max_position_embeddings"]
    recipe["data"] |= {"max_length": longest, "too_long": "drop", "max_dropped": 0.1}
    loaded = loads(json.dumps(recipe))
    assert isinstance(loaded, SftRecipe)
    return SftJob(loaded, options.micro_batch)


@dataclass(frozen=True)
class SftJob(Job):
    recipe: SftRecipe
    title = "SFT"
    plain = "plain trl.SFTTrainer"
    rows_are = "rows"
    unit = "trained tokens"
    stage: ClassVar[ModuleType] = sft
    trainer = SftTrainer

    def sequences(self, row: Row) -> Sequences:
        return [row["input_ids"]]

    def items(self, row: Row) -> int:
        return trained_tokens(row)

    def plain_trainer(self, start: Start, output: Path) -> Trainer:
        return SFTTrainer(
            model=self.model(),
            args=plain_config(self.recipe, start, output, self.micro_batch),
            train_dataset=self.rows(),
            processing_class=start.tokenizer,
            data_collator=DataCollatorForLanguageModeling(start.tokenizer.pad_token_id),
        )

    def summed_loss(self, model: Any, rows: Sequence[Row], pad_id: int) -> torch.Tensor:
        """The logits of trained positions only."""
        ids = padded([row["input_ids"] for row in rows], pad_id)
        labels = padded([[*row["labels"][1:], IGNORED] for row in rows], IGNORED)
        trained = labels != IGNORED
        inner = without_adapter(model)
        hidden = inner.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = inner.lm_head(hidden[trained])
        return torch.nn.functional.cross_entropy(logits, labels[trained], reduction="sum")

    def about_rows(self) -> str:
        rows = list(self.rows())
        lengths = [len(row["input_ids"]) for row in rows]
        return (
            f"{sum(lengths) / len(rows):.0f} tokens a row on average and {max(lengths):,} at most, "
            f"{sum(map(trained_tokens, rows)) / sum(lengths):.0%} of them trained"
        )


def plain_config(recipe: SftRecipe, start: Start, output: Path, micro_batch: int) -> SFTConfig:
    """llamatune's own settings of optimizer, schedule, precision, seeds and logging; trl's way with batches."""
    return SFTConfig(**(sft_arguments(recipe, start.placement, output) | plain_batches(recipe, micro_batch)))


if __name__ == "__main__":
    main()
