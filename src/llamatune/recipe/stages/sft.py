"""The recipe of `stage: sft`."""

from __future__ import annotations

from typing import Any, Literal

from llamatune.recipe.blocks import (
    Chat,
    Data,
    Generation,
)
from llamatune.recipe.stages.common import LEARNING_RATES, EpochRecipe, Tuning, starter_data


class ConversationData(Data):
    """Conversations; the replies in them are learnt."""

    too_long: Literal["error", "drop", "truncate", "truncate_reply"] = "error"  # type: ignore[assignment]
    """A longer row stops the run, is left out, or is cut: at a turn boundary, or in a reply, without an end token."""


class SftRecipe(EpochRecipe):
    """Supervised fine-tuning on conversations, with the loss on the answers (paper section 3.1)."""

    stage: Literal["sft"]
    chat: Chat = Chat()
    data: ConversationData
    generation: Generation = Generation()


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "chat": {"template": "tokenizer", "loss_on": "assistant"},
        "data": starter_data(source),
        "optimization": {"learning_rate": LEARNING_RATES[tuning], "epochs": 2, "batch_size": 64},
        "logging": {"every_steps": 10},
        "seed": 0,
    }
