"""How global batches are cut for a model on a device: chosen once, printed, halved when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamatune.data.rows import EncodedRow
from llamatune.errors import ModelError
from llamatune.forward.attention import can_be_padding_free, require_isolation
from llamatune.forward.collate import Collator, Padded, PaddingFree
from llamatune.forward.cutting import automatic_tokens, cut, share
from llamatune.forward.pairs import SeparateReplies
from llamatune.forward.singles import PaddedRows
from llamatune.judging.scoring import pair_collator, row_collator
from llamatune.models.load import Start
from llamatune.models.probing import without_adapter
from llamatune.recipe.stages.common import TrainingRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.wording import counted

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose_batching(
    model: PreTrainedModel, recipe: TrainingRecipe, start: Start, *, max_length: int, packed: bool = False
) -> Batching:
    """How to cut this recipe's global batches for this model on this device.

    Args:
        max_length: longest row, in tokens.
        packed: rows hold several documents.

    Raises:
        ModelError: packed documents would see each other in this model, or the recipe asks for padding-free batches and
            the model cannot have them.
    """
    hardware = recipe.hardware
    collate: Collator = Padded(start.tokenizer.pad_token_id)
    if hardware.batching != "padded" and can_be_padding_free(model, max_length):
        collate = PaddingFree()
    elif hardware.batching == "padding_free" or hardware.loss == "logits":
        raise _cannot_keep_apart()
    elif packed:
        require_isolation(model)
    on_cpu = start.placement.device == "cpu"
    automatic = automatic_tokens(on_cpu=on_cpu, width=start.base.width, vocabulary=model.config.vocab_size)
    budget = hardware.micro_batch_tokens or automatic
    fused = hardware.loss == "fused" or (hardware.loss == "auto" and (not on_cpu or collate.padded))
    attention = without_adapter(model).config._attn_implementation
    how = "padded" if collate.padded else f"padding-free ({attention})"
    describe = (
        f"{counted(recipe.optimization.batch_size, 'row')} a step, at most {budget:,} tokens in a forward pass, {how}, "
        f"{'fused loss' if fused else 'loss from the logits of trained positions'}"
    )
    return Batching(recipe.optimization.batch_size, budget, collate, fused, describe)


def _cannot_keep_apart() -> ModelError:
    return ModelError(
        "E223",
        "this model's attention cannot keep apart rows that lie end to end",
        place="hardware.batching",
        why="rows would see their neighbours",
        hint="use `batching: auto` and `loss: auto`",
    )


def choose_scored_batching(model: PreTrainedModel, recipe: RewardRecipe, start: Start) -> Batching:
    """How to cut a reward model's global batches, for this model on this device."""
    hardware, length = recipe.hardware, recipe.data.max_length
    pairs = recipe.loss.objective == "pairs"
    collate: Collator
    if hardware.batching == "padded":
        pad_id = start.tokenizer.pad_token_id
        collate = SeparateReplies(pad_id) if pairs else PaddedRows(pad_id)
    else:
        collate = (pair_collator if pairs else row_collator)(model, length)
        if collate.padded and hardware.batching == "padding_free":
            raise _cannot_keep_apart()
    on_cpu = start.placement.device == "cpu"
    budget = hardware.micro_batch_tokens or automatic_tokens(on_cpu=on_cpu, width=start.base.width)
    how = "padded" if collate.padded else "padding-free"
    if pairs:
        how += ", prompts computed twice" if collate.padded else ", each prompt computed once"
    size = recipe.optimization.batch_size
    describe = f"{counted(size, 'pair' if pairs else 'row')} a step, at most {budget:,} tokens in a forward pass, {how}"
    return Batching(size, budget, collate, fused=False, describe=describe)


@dataclass
class Batching:
    """How global batches are cut.

    `batch_size`: rows of a global batch, over all processes. `budget`: most tokens in one forward pass.
    `fused`: see `hardware.loss`. `describe`: the choice in a few words, for the user.
    """

    batch_size: int
    budget: int
    collate: Collator
    fused: bool
    describe: str

    def micro_batches(
        self, rows: Sequence[EncodedRow], process: int, processes: int
    ) -> list[list[EncodedRow]]:
        """This process's share of some rows, cut; each process gets the same number, some of them empty."""
        lengths = [self.collate.tokens(row) for row in rows]
        cuts = []
        for own in share(lengths, processes):
            batches = cut([lengths[index] for index in own], self.budget, padded=self.collate.padded)
            cuts.append([[rows[own[index]] for index in batch] for batch in batches])
        longest = max(len(batches) for batches in cuts)
        idle: list[list[EncodedRow]] = [[]]
        return cuts[process] + idle * (longest - len(cuts[process]))
