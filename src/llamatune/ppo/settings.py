"""Where PPO's settings come from: the blocks of `stage: ppo` are the one home of each default, range and sentence.

A field of `PPOConfig` says its own name, which is TRL's where TRL had one, and which field of a recipe it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import Field, field, fields
from typing import Any

from llamatune.recipe.blocks import Block
from llamatune.recipe.sentences import sentences
from llamatune.recipe.stages.ppo import PpoRecipe


class Sentence(str):
    """The help of a setting; `recipe` is the recipe's field that it is taken from, such as `ppo.clip_range`.

    transformers hands all of a field's metadata on to argparse, so the name has no other place there.
    """

    recipe: str


def setting(name: str) -> Any:
    """A dataclass's field that is the field `block.name` of a recipe: its default and its sentence."""
    kind, key = _place(name)
    # argparse replaces % signs by values.
    sentence = Sentence(
        f"{sentences(kind)[key]} (`{name}` in a recipe)".replace("%", "%%").replace("\n", " ")
    )
    sentence.recipe = name
    return field(default=default_of(name), metadata={"help": sentence})


def default_of(name: str) -> Any:
    """The default of a recipe's field."""
    kind, key = _place(name)
    return kind.model_fields[key].default


def of_recipe(config: type) -> dict[str, str]:
    """The fields of a dataclass that were made by `setting`, and which fields of a recipe they are."""
    every: Iterable[Field[Any]] = fields(config)
    helps = {one.name: one.metadata.get("help") for one in every}
    return {name: text.recipe for name, text in helps.items() if isinstance(text, Sentence)}


def value_in(recipe: PpoRecipe, name: str) -> Any:
    """What a recipe says for the field `block.name`."""
    block, _, key = name.partition(".")
    return getattr(getattr(recipe, block), key)


def _place(name: str) -> tuple[type[Block], str]:
    """The block that a field `block.name` belongs to, and the field's own name."""
    block, _, key = name.partition(".")
    kind: Any = PpoRecipe.model_fields[block].annotation
    return kind, key
