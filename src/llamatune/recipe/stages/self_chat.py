"""The recipe of `stage: self_chat` (Baize, arXiv 2304.01196). What the paper does otherwise is said in
docs/self_chat.md."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from llamatune.recipe.blocks import Block, Text, Whole
from llamatune.recipe.stages.common import SamplingRecipe, Tuning


class SelfChat(Block):
    """How long a chat is, and how the model is brought to ask."""

    turns: Whole = Field(3, ge=2)
    """Most questions of a chat, the seed included. A chat ends earlier where nothing more is asked."""
    system: Text | None = None
    """The system message of the model while it asks."""
    opening: Text = "You are a human who asks an assistant about this, one short question at a time: {}"
    """What the asking model is told first, with {} where the seed comes. Its questions are its replies, and the answers
    that it got are what it is told in turn."""

    @field_validator("opening")
    @classmethod
    def _place_for_the_seed(cls, opening: str) -> str:
        if opening.count("{}") != 1:
            raise ValueError("`opening` needs {} once, where the seed comes")
        return opening


class SelfChatRecipe(SamplingRecipe):
    """Self-chat: the model plays both the human and the assistant, from seed questions (Baize)."""

    stage: Literal["self_chat"]
    self_chat: SelfChat = SelfChat()

    @property
    def answers_each(self) -> float:
        """Of a seed, the answers of a chat and the questions between them."""
        return 2.0 * self.self_chat.turns - 1

    @model_validator(mode="after")
    def _only_seeds(self) -> SelfChatRecipe:
        if self.data.eval or self.data.eval_fraction:
            raise ValueError(
                "`data.eval` and `data.eval_fraction` belong to stages that evaluate: hold seeds out by a split"
            )
        return self


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "data": {"train": [source], "max_length": 2048, "too_long": "drop"},
        "self_chat": {"turns": 3},
        "sampling": {"temperature": 1.0, "max_new_tokens": 256},
        "seed": 0,
    }
