"""The recipe of `stage: gatt` (Ghost Attention). What the paper (section 3.3) leaves open is marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamatune.recipe.blocks import Block, Real, Text, Whole
from llamatune.recipe.stages.common import SamplingRecipe, Tuning


class Constraint(Block):
    """One kind of constraint: how it is said, and what may be asked for."""

    full: Annotated[list[Text], Field(min_length=1)]
    """Its wordings, with {} where the value comes: "Act as {}.". Replies are sampled after one of these."""
    short: Text
    """The less verbose wording of training rows, likewise: "Figure: {}."."""
    values: Annotated[list[Text], Field(min_length=1)] | None = None
    """What may be asked for: names, hobbies, languages ..."""
    written_for: Text | None = None
    """In place of `values`, what the model is asked, so that it writes the list itself, as the paper's did: "Name ten
    hobbies, one a line."."""

    @model_validator(mode="after")
    def _one_list(self) -> Constraint:
        if (self.values is None) == (self.written_for is None):
            raise ValueError("give `values`, or `written_for`, after which the model writes them")
        return self

    @model_validator(mode="after")
    def _place_for_the_value(self) -> Constraint:
        for wording in (*self.full, self.short):
            if wording.count("{}") != 1:
                raise ValueError(f"{wording!r} needs {{}} once, where the value comes")
        return self


class GhostAttention(Block):
    """Which instructions, and how long the dialogues are."""

    constraints: Literal["world"] | Annotated[dict[Text, Constraint], Field(min_length=1)] = "world"
    """Kinds of constraints by name (the paper's are hobby, language and figure), or `world`: the styles of the
    miniature world, which code can check."""
    combine: Whole = Field(2, ge=1)
    """Most constraints in an instruction, each of another kind; their number is drawn (left open)."""
    shortened: Real = Field(0.5, ge=0, le=1)
    """Share of the training rows with the short wording."""
    turns: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None = None
    """Least and most questions of a dialogue, drawn for each: one that has fewer goes on with those of the next rows.
    When left out, dialogues are as they are, and rows with one question are left out (left open)."""
    held_out: list[Text] = []
    """Values that no training row asks for; recall is measured on them, too."""
    only_followed: bool = False
    """Leave rows out whose reply does not follow the instruction; for `world`, where code can tell (left open)."""

    @model_validator(mode="after")
    def _dialogues(self) -> GhostAttention:
        if self.turns is not None and not 2 <= self.turns[0] <= self.turns[1]:
            raise ValueError("`turns` is the least and the most, and a dialogue has at least 2")
        if self.only_followed and self.constraints != "world":
            raise ValueError(
                "`only_followed` needs `constraints: world`: no code can check other constraints"
            )
        values = self._given_values()
        if values is None:
            return self
        if unknown := sorted(set(self.held_out) - values):
            raise ValueError(
                f"`held_out` names {unknown[0]!r}, which is no value: {', '.join(sorted(values))}"
            )
        if not values - set(self.held_out):
            raise ValueError("`held_out` names all values: none is left for training rows")
        return self

    def _given_values(self) -> set[str] | None:
        """All that may be asked for; None where the model has yet to write some of it."""
        if self.constraints == "world":
            from llamatune.world.styles import STYLES

            return {style.name for style in STYLES}
        lists = [one.values for one in self.constraints.values()]
        return None if None in lists else {value for values in lists if values for value in values}


class Recall(Block):
    """Does the model still follow an instruction that only the first turn holds? Measured on the world's styles."""

    dialogues: Whole = Field(0, ge=0)
    """How many dialogues to measure on, for styles in training rows and for those held out; 0 measures nothing. Their
    questions are those of `data.eval`, or of the training rows where there are none."""
    turns: Whole = Field(20, ge=2)
    """Turns of each (the paper's table 30 goes up to 20), as far as the model's context reaches."""


class GattRecipe(SamplingRecipe):
    """Ghost Attention: sample dialogues with an instruction in every turn, keep it in the first (paper section 3.3)."""

    stage: Literal["gatt"]
    gatt: GhostAttention = GhostAttention()
    recall: Recall = Recall()

    @property
    def answers_each(self) -> float:
        """Of a dialogue's first question, those to all of its questions."""
        return sum(self.gatt.turns) / 2 if self.gatt.turns else 3.0

    @model_validator(mode="after")
    def _only_dialogues(self) -> GattRecipe:
        if (self.data.eval or self.data.eval_fraction) and not self.recall.dialogues:
            raise ValueError("`data.eval` and `data.eval_fraction` are for `recall`: set `recall.dialogues`")
        if self.recall.dialogues and self.gatt.constraints != "world":
            raise ValueError(
                "`recall.dialogues` needs `gatt.constraints: world`: no code can check other constraints"
            )
        return self


def starter(tuning: Tuning, source: dict[str, Any]) -> dict[str, Any]:
    """What `llamatune init` writes."""
    return {
        "data": {"train": [source], "max_length": 2048},
        "gatt": {
            "constraints": {
                "hobby": {
                    "full": ["You enjoy {}."],
                    "short": "Hobby: {}.",
                    "values": ["tennis", "chess", "hiking"],
                },
                "language": {
                    "full": ["Speak in {}."],
                    "short": "Language: {}.",
                    "values": ["French", "German"],
                },
                "figure": {
                    "full": ["Act as {}.", "Always act as {} from now on."],
                    "short": "Figure: {}.",
                    "values": ["Napoleon", "Marie Curie", "Oscar Wilde"],
                },
            },
            "combine": 2,
            "turns": [2, 6],
        },
        "sampling": {"temperature": 1.0, "max_new_tokens": 256},
        "seed": 0,
    }
