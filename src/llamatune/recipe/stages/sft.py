"""The recipe of `stage: sft`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import (
    Chat,
    Data,
    Flag,
    Generation,
    Source,
    Text,
)
from llamatune.recipe.stages.common import LEARNING_RATES, EpochRecipe, Tuning, starter_data


class ConversationSource(Source):
    """One set of conversations, or one side of preference pairs."""

    side: Literal["chosen", "rejected"] | None = None
    """Of preference pairs: learn the chosen or the rejected replies."""
    condition: Text | None = None
    """Put this into the system message of every row, so that a reply is learnt under it (Koala: `a helpful answer`).
    `{date}` is what the row has in its column `date`."""


class ConversationData(Data):
    """Conversations; the replies in them are learnt."""

    train: Annotated[list[ConversationSource], Field(min_length=1)]  # type: ignore[assignment]  # frozen
    """Training data sets, mixed by their weights."""
    eval: list[ConversationSource] = []  # type: ignore[assignment]
    """Held-out data sets; rows that are also in the training data are refused."""
    plain_text: Flag = False
    """Take plain text, too, and learn all of it (Falcon-Instruct: 5% of its rows are web pages)."""
    too_long: Literal["error", "drop", "truncate", "truncate_reply"] = "error"  # type: ignore[assignment]
    """A longer row stops the run, is left out, or is cut: at a turn boundary, or in a reply, without an end token."""

    @model_validator(mode="after")
    def _plain_text_has_no_reply(self) -> ConversationData:
        if self.plain_text and self.too_long == "truncate_reply":
            raise ValueError(
                "`too_long: truncate_reply` cuts replies, and `plain_text` has none: choose another"
            )
        return self


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
