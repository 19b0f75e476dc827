"""Open a trained model for use: to chat with it, examine it, score with it or merge it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.models.adapters import load_adapter
from llamatune.models.base import Base
from llamatune.models.found import Found, Task, check_task, find
from llamatune.models.heads import set_padding
from llamatune.models.load import load_base_model, load_tokenizer
from llamatune.models.placement import place
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Chat, Hardware, Lora, Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class OpenModel:
    """A model to use, in evaluation mode, with its tokenizer and what its name means."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    found: Found

    @property
    def base(self) -> Base:
        return self.found.base

    @property
    def adapter(self) -> Path | None:
        """Its adapter's folder, if any."""
        return self.found.adapter

    @property
    def chat(self) -> Chat:
        """The block it was trained with."""
        return self.found.chat


@quiet_upstream()
def open_model(
    name: str,
    *,
    base: str | None = None,
    dtype: str = "auto",
    task: Task = "generate",
    train: Literal["nothing", "adapter", "weights"] = "nothing",
    quantization: Any = None,
) -> OpenModel:
    """Open `pico`, a model folder, an adapter folder, a finished run or a hub model.

    Args:
        task: `score` opens a reward model.
        base: the base of an adapter, if it cannot be found under the name noted with the adapter.
        dtype: as in a recipe's `model.dtype`.
        train: what will be trained: the adapter that is opened or will be added, or all weights, which are then held
            in a precision fit for that. An adapter that is opened is trained in either case.
        quantization: a transformers quantization config for the base.

    Raises:
        ModelError: not found, unsafe, incomplete, an adapter of another base, or a model that was made for the other
            task.
    """
    found = find(name, base=base)
    check_task(found, task, None)
    # Weights that are only read may be held like the frozen base of an adapter.
    frozen = Lora() if found.adapter is not None or train != "weights" else None
    placement = place(Model(base=found.base.name, dtype=dtype, lora=frozen), Hardware())  # type: ignore[arg-type]
    model = load_base_model(found.base, placement, quantization=quantization, task=task)
    if found.adapter is not None:
        model = load_adapter(model, found.adapter, found.base, trainable=train != "nothing", task=task)
    tokenizer = load_tokenizer(found.base, found.tokenizer_folder)
    if task == "score":
        set_padding(model, tokenizer.pad_token_id)
    return OpenModel(model.eval(), tokenizer, found)
