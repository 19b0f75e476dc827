"""The recipe of `stage: evaluate`. What the paper (sections 3.4 and 4.4) leaves open is marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import Block, Flag, Model, Real, Source, Text, Whole
from llamatune.recipe.stages.common import (
    Endpoint,
    PromptData,
    PromptSource,
    Sampling,
    SamplingRecipe,
    Tuning,
)

ModelName = Annotated[str, Field(pattern=r"^[^\s.=]{1,40}$")]


class SharedModel(Model):
    """What all models share: the base of those that name none, precision, attention."""

    @model_validator(mode="after")
    def _trainable(self) -> SharedModel:
        """Nothing is trained: 4-bit weights need no adapter."""
        return self


class EvaluatedModel(Block):
    """One of the models. With nothing named, it is `model.base`."""

    base: Text | None = None
    """Its base; `model.base` when left out."""
    adapter: Text | None = None
    """An adapter on its base."""


class HeldOutPrompts(PromptData):
    """Prompts that all models answer: which, and how long. Each source is a set, with figures of its own."""

    train: list[PromptSource] = []  # type: ignore[assignment]
    """What the models have learnt from, if you name it: a held-out prompt that is among it is refused."""
    eval: Annotated[list[PromptSource], Field(min_length=1)]  # type: ignore[assignment]
    """The held-out prompts."""
    texts: list[Source] = []
    """Plain texts on which perplexity and bits per byte are measured, in windows of `max_length` tokens."""


class GreedySampling(Sampling):
    """How the models answer: all in the same way, one reply to each prompt."""

    temperature: Real = Field(0.0, ge=0, le=5)
    """0 takes the most probable token."""


class Judges(Block):
    """Who judges the replies: any of these, each for itself."""

    oracle: Flag = False
    """The oracle of the miniature world, where the prompts are of that world: it knows the truth."""
    helpfulness: Text | None = None
    """A reward model: a finished run, an adapter or a model folder. One that no model was trained with is best."""
    safety: Text | None = None
    """A reward model for safety. Where the oracle does not judge, it also says which replies are unsafe: those that are
    more probably unsafe than safe."""
    endpoint: Endpoint | None = None
    """A model behind an endpoint, which compares each model with the baseline, in both orders."""
    labels: Text | None = None
    """A file with people's labels, who compare each model with the baseline, blind, in an order that is drawn for each
    prompt. While it lacks labels, the run leaves comparisons.jsonl and waits: the same command goes on."""

    @property
    def models(self) -> dict[str, str]:
        """The reward models, by what they judge."""
        named = {"helpfulness": self.helpfulness, "safety": self.safety}
        return {name: model for name, model in named.items() if model is not None}


class RecallByTurn(Block):
    """For how many turns does a model follow an instruction that only the first turn holds (paper, table 30)? Measured
    on the miniature world's styles, with the questions of the held-out prompts that are not about safety."""

    dialogues: Whole = Field(0, ge=0)
    """How many dialogues; 0 measures nothing."""
    turns: Whole = Field(6, ge=2)
    """Turns of each, as far as the model's context reaches."""


class EvaluateRecipe(SamplingRecipe):
    """Evaluate models side by side: what they answer to held-out prompts, and what that is worth (paper sections 3.4
    and 4.4)."""

    stage: Literal["evaluate"]
    model: SharedModel = SharedModel()
    models: Annotated[dict[ModelName, EvaluatedModel], Field(min_length=1)]
    """The models by name, such as `{sft: {adapter: runs/sft}, ppo: {adapter: runs/ppo}}`; versions in their order. What
    `model` says of the base and its precision holds for all of them."""
    baseline: Text | None = None
    """The model that the others are compared with; the first one when left out."""
    data: HeldOutPrompts
    sampling: GreedySampling = GreedySampling()
    judges: Judges = Judges()
    """Who judges; nobody, where something else is measured."""
    references: Flag = False
    """Compare replies with those that the rows have, where they have any, by BLEU and ROUGE: needs the extra `eval`."""
    exam: Flag = False
    """Also sit the miniature world's exam, as `llamatune exam` does: chats in which a model's own replies stay."""
    recall: RecallByTurn = RecallByTurn()
    resamples: Whole = Field(1000, ge=100, le=100_000)
    """How often prompts are drawn anew, with replacement, for the intervals of means and win rates."""

    @model_validator(mode="after")
    def _models_side_by_side(self) -> EvaluateRecipe:
        if self.model.adapter is not None:
            raise ValueError("`model` is what all models share: name adapters under `models`")
        if self.baseline is not None and self.baseline not in self.models:
            raise ValueError(f"`baseline` names none of the models: {', '.join(self.models)}")
        if self.data.eval_fraction:
            raise ValueError(
                "`data.eval_fraction` holds rows out of those to train on: name held-out prompts"
            )
        judges = self.judges
        nobody = not (judges.oracle or judges.models or judges.endpoint or judges.labels)
        nothing = not (self.exam or self.recall.dialogues or self.references or self.data.texts)
        if nobody and nothing:
            raise ValueError(
                "nothing is measured: `judges` names nobody (`oracle`, `helpfulness`, `safety`, `endpoint` or "
                "`labels`), and there is no `exam`, `recall`, `references` or `data.texts`"
            )
        if len(self.models) < 2 and (judges.endpoint or judges.labels):
            raise ValueError("`endpoint` and `labels` compare models: name at least two")
        return self

    @property
    def asked(self) -> list[PromptSource]:
        """The sets of prompts that are answered."""
        return self.data.eval

    @property
    def answers_each(self) -> float:
        """Answers to each prompt, all in all."""
        return float(len(self.models))

    @property
    def compared_with(self) -> str:
        """The baseline's name."""
        return self.baseline or next(iter(self.models))

    def of(self, name: str) -> EvaluateRecipe:
        """The recipe as it is for one of its models."""
        one = self.models[name]
        changed: dict[str, str | None] = {"adapter": one.adapter}
        if one.base is not None:
            changed |= {"base": one.base, "revision": None}
        return self.model_copy(update={"model": self.model.model_copy(update=changed)})


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "models": {"before": {}, "after": {"adapter": "runs/sft"}},
        "data": {"eval": [source], "max_length": 512},
        "sampling": {"max_new_tokens": 256},
        "judges": {"helpfulness": "runs/reward"},
        "seed": 0,
    }
