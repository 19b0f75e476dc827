"""The recipe of `stage: pipeline`: steps, each with a recipe of its own, and rounds of them (paper section 3.2.3).

What a step takes from another is named in its values:

step:NAME       that step; in a round, this round's NAME, or the newest before it where this round has none
step:previous   in a round: the model that the round before ended with; in the first one, `rounds.first`
earlier:NAME    in a list: NAME of every earlier round, an item each; outside of rounds, of every round
all:NAME        the same with this round's
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from llamatune.recipe.blocks import Block, Text, Whole

StepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class StepBlock(Block):
    """A step: a recipe, and what is different in it."""

    recipe: Text
    """A recipe file, or a shipped recipe such as pico/sft."""
    set: dict[str, Any] = {}
    """Overrides as on the command line, `key.path: value`; `step:NAME` stands for the run of another step."""


class RoundStepBlock(StepBlock):
    """A step of every round, or of some."""

    only: Annotated[list[Annotated[Whole, Field(ge=1)] | Literal["last"]], Field(min_length=1)] | None = None
    """In which rounds, counted from 1, or `last`; in all when left out."""


class RoundsBlock(Block):
    """The same steps again and again, each round with what the one before left."""

    count: Whole = Field(ge=1, le=100)
    """How many rounds."""
    first: Text | None = None
    """What `step:previous` is in the first round, such as step:sft."""
    steps: Annotated[dict[StepName, RoundStepBlock], Field(min_length=1)]
    """The steps of a round; their runs are in `output`/round-1, `output`/round-2, and so on."""

    def of_round(self, number: int) -> dict[str, RoundStepBlock]:
        """The steps of a round."""
        named = {number, "last"} if number == self.count else {number}
        return {
            name: step for name, step in self.steps.items() if step.only is None or named & set(step.only)
        }


class EvaluateBlock(StepBlock):
    """The models that were made, side by side: a step of stage evaluate."""

    models: Literal["all"] | Annotated[list[Text], Field(min_length=1)] = "all"
    """The steps whose models are compared, the first of them as baseline: all that train a model that writes, or some
    by their names (NAME of every round, or round-2/NAME). `set: {models.NAME: {base: ...}}` adds another model, or
    another base of one of them."""


class PipelineRecipe(Block):
    """Several stages in one: steps, and rounds of them. Each step is a run of its own below `output`."""

    stage: Literal["pipeline"]
    output: Text
    """Folder of the steps' runs, and of the report over all of them."""
    set: dict[str, Any] = {}
    """Overrides of every step, before its own, such as `model.base: ./llama-2-7b`; what is for training, such as
    `hardware.sharding`, of those that train."""
    steps: Annotated[dict[StepName, StepBlock], Field(min_length=1)]
    """The steps that are no part of a round; each runs once those that it names have finished."""
    rounds: RoundsBlock | None = None
    evaluate: EvaluateBlock | None = None
    side_by_side: Whole = Field(1, ge=1, le=64)
    """How many steps may run at a time, where neither takes from the other: each in a process of its own, with a card
    of its own or, where there are none, its share of the processor's cores."""
