"""The recipe of `stage: preferences`. What the paper (section 3.2.1) leaves open is marked so."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import Block, FilePath, Flag, Real, Text
from llamatune.recipe.stages.common import Endpoint, RewardModels, SamplingRecipe, Tuning


class Variant(Block):
    """Who gives the second reply: what is left out is as for the first one. With nothing named, the same model answers
    again with other random numbers."""

    base: Text | None = None
    """Another base, as `model.base`."""
    adapter: Text | None = None
    """Another adapter, as `model.adapter`."""
    temperature: Real | None = Field(None, ge=0, le=5)
    """Another temperature."""


class PreferencesRecipe(SamplingRecipe):
    """Collect preferences: two replies to each prompt, and a judge who says which is better (paper section 3.2.1)."""

    stage: Literal["preferences"]
    other: Variant = Variant()
    judge: Literal["reward_models", "oracle", "endpoint", "human"]
    """Who compares: reward models, the oracle of the miniature world (for experiments), a model behind an endpoint, or
    people."""
    reward: RewardModels | None = None
    """`judge: reward_models`: which, and how they are combined."""
    endpoint: Endpoint | None = None
    """`judge: endpoint`: where."""
    labels: FilePath | None = None
    """`judge: human`: the file with people's labels; labels.jsonl in the run directory when left out. While it lacks
    labels, the run leaves comparisons.jsonl and waits: the same command goes on."""
    every_turn: Flag = False
    """Compare replies to every question of a chat, which goes on from the chosen one; otherwise only to the last."""
    test_share: Real = Field(0.1, ge=0, lt=1)
    """Share of the prompts that are held out as `split: test`, by their content (the paper holds out a part of each
    batch)."""

    @model_validator(mode="after")
    def _one_judge(self) -> PreferencesRecipe:
        blocks = {"reward_models": "reward", "endpoint": "endpoint"}
        for judge, block in blocks.items():
            if (getattr(self, block) is not None) != (self.judge == judge):
                raise ValueError(f"`{block}` belongs to `judge: {judge}`, which needs it")
        if self.labels is not None and self.judge != "human":
            raise ValueError("`labels` belongs to `judge: human`")
        if self.data.eval or self.data.eval_fraction:
            raise ValueError(
                "`data.eval` and `data.eval_fraction` belong to stages that evaluate: here it is `test_share`"
            )
        return self

    @property
    def answers_each(self) -> float:
        return 2.0

    @model_validator(mode="after")
    def _replies_that_differ(self) -> PreferencesRecipe:
        same_model = self.other.base is None and self.other.adapter is None
        temperatures = {self.sampling.temperature, self._second_temperature}
        if same_model and temperatures == {0.0}:
            raise ValueError("at temperature 0 both replies are the same: name another model or temperature")
        return self

    @property
    def _second_temperature(self) -> float:
        other = self.other.temperature
        return self.sampling.temperature if other is None else other

    @property
    def second(self) -> PreferencesRecipe:
        """The recipe as it is for the second reply."""
        model = {name: getattr(self.other, name) for name in ("base", "adapter")}
        if self.other.base is not None:
            # An adapter belongs to its base.
            changed = {**model, "revision": None}
        else:
            changed = {name: value for name, value in model.items() if value is not None}
        return self.model_copy(
            update={
                "model": self.model.model_copy(update=changed),
                "sampling": self.sampling.model_copy(update={"temperature": self._second_temperature}),
            }
        )


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "data": {"train": [source], "max_length": 512},
        "other": {"temperature": 1.3},
        "judge": "human",
        "sampling": {"temperature": 0.7, "max_new_tokens": 256},
        "seed": 0,
    }
