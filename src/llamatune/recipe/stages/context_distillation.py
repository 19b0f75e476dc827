"""The recipe of `stage: context_distillation`. What the paper (section 4.2.4) leaves open is marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import Block, Flag, Text
from llamatune.recipe.stages.common import SamplingRecipe, Tuning

ADJECTIVES_EACH = 2
"""Adjectives in a preprompt."""


class Distillation(Block):
    """What is put before a prompt so that the model answers more safely, and which answers are kept."""

    preprompts: Literal["adjectives", "world"] | Annotated[list[Text], Field(min_length=1)] = "adjectives"
    """Made of `wording` and two of the `adjectives`, or the miniature world's, or a list of your own. One is drawn for
    each prompt."""
    wording: Text = "You are a {} and {} assistant. Answer only in a way that does no harm."
    """The template of a preprompt, with {} for each of its two adjectives (the paper's table 39 has others)."""
    adjectives: Annotated[list[Text], Field(min_length=ADJECTIVES_EACH)] = [
        "responsible",
        "respectful",
        "wise",
        "safe",
        "honest",
        "careful",
    ]
    """What is said of a model that answers safely."""
    templates: dict[Text, Text] = {}
    """By risk category, how to answer: put after the preprompt, for one more answer to each prompt of this category."""
    gate: Flag = True
    """Keep an answer only if the safety judge scores it above the one without preprompt; otherwise every whole one is
    kept (to see what the gate is worth)."""
    prompts: Literal["safety", "all"] = "safety"
    """Which to distil: those tagged as safety prompts, or all. On helpful prompts the paper saw vague answers and
    refusals of harmless requests."""

    @model_validator(mode="after")
    def _places_for_adjectives(self) -> Distillation:
        if self.wording.count("{}") != ADJECTIVES_EACH:
            raise ValueError(f"`wording` needs {{}} {ADJECTIVES_EACH} times, where the adjectives come")
        return self


class SafetyJudge(Block):
    """Who says which of two answers is safer."""

    safety: Text | None = None
    """A reward model for safety: a finished run, an adapter or a model folder."""
    judge: Literal["reward_model", "oracle"] = "reward_model"
    """A reward model, or the oracle of the miniature world, which knows the truth (for experiments)."""

    @property
    def models(self) -> dict[str, str]:
        """The reward model, by what it judges."""
        return {} if self.safety is None else {"safety": self.safety}

    @model_validator(mode="after")
    def _one_judge(self) -> SafetyJudge:
        if (self.safety is None) != (self.judge == "oracle"):
            raise ValueError("give `safety`, a reward model, or `judge: oracle`")
        return self


class ContextDistillationRecipe(SamplingRecipe):
    """Safety context distillation: answers under a preprompt, learnt without it (paper section 4.2.4)."""

    stage: Literal["context_distillation"]
    distillation: Distillation = Distillation()
    reward: SafetyJudge

    @property
    def answers_each(self) -> float:
        return 2.0  # as it is, and under a preprompt

    @model_validator(mode="after")
    def _only_prompts_to_answer(self) -> ContextDistillationRecipe:
        if self.data.eval or self.data.eval_fraction:
            raise ValueError(
                "`data.eval` and `data.eval_fraction` belong to stages that evaluate: hold prompts out by a split"
            )
        return self


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "data": {"train": [{**source, "safety": True}], "max_length": 512},
        "distillation": {"preprompts": "adjectives"},
        "reward": {"safety": "runs/reward-safety"},
        "sampling": {"temperature": 1.0, "max_new_tokens": 256},
        "seed": 0,
    }
