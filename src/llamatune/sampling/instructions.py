"""Instructions for Ghost Attention (paper section 3.3): constraints on every reply of a dialogue, drawn and combined.

"You enjoy tennis.", "Speak in French.", "Act as Napoleon." - or "Figure: Napoleon.", as half of the training rows say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from llamatune.recipe.stages.gatt import GhostAttention
from llamatune.sampling.dialogues import Dialogue
from llamatune.sampling.sampler import seed_of
from llamatune.world.styles import STYLES


@dataclass(frozen=True)
class Demand:
    """A constraint with its value. `full`: its wordings. `follows`: whether a reply obeys, where code can tell."""

    kind: str
    value: str
    full: tuple[str, ...]
    short: str
    follows: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Instruction:
    """Constraints of different kinds. `full` is what the model is told, `short` the same in fewer words."""

    demands: tuple[Demand, ...]
    full: str
    short: str
    is_shortened: bool = False
    """Whether the training row says it in the short wording."""

    @property
    def in_training(self) -> str:
        """What the first turn of the training row holds."""
        return self.short if self.is_shortened else self.full

    def followed_by(self, reply: str) -> bool | None:
        """Whether a reply obeys all of it; None where code cannot tell."""
        checks = [one.follows for one in self.demands]
        return None if None in checks else all(follows(reply) for follows in checks if follows)


def demands_of(
    settings: GhostAttention, written: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[Demand], list[Demand]]:
    """The constraints that training rows may ask for, and those that are held out; kinds together.

    Args:
        written: the values of those kinds for which the model writes them.
    """
    if settings.constraints == "world":
        every = [Demand(one.category, one.name, one.full, one.short, one.follows) for one in STYLES]
    else:
        every = [
            Demand(
                kind,
                value,
                tuple(text.replace("{}", value) for text in one.full),
                one.short.replace("{}", value),
            )
            for kind, one in settings.constraints.items()
            for value in one.values or (written or {})[kind]
        ]
    held_out = [one for one in every if one.value in settings.held_out]
    return [one for one in every if one not in held_out], held_out


def draw_instruction(
    demands: Sequence[Demand], dialogue: Dialogue, *, seed: int, combine: int = 1, shortened: float = 0.0
) -> Instruction:
    """The instruction of a dialogue, the same whatever dialogues there are besides.

    Args:
        combine: the number of constraints is drawn from 1 to this.
        shortened: how probable it is that the training row says it in short.
    """
    draw = random.Random(seed_of(seed, "instruction", dialogue.id))
    kinds = [list(group) for _, group in groupby(demands, key=lambda one: one.kind)]
    number = draw.randint(1, min(combine, len(kinds)))
    chosen = tuple(draw.choice(kind) for kind in draw.sample(kinds, number))
    full = " ".join(draw.choice(one.full) for one in chosen)
    short = " ".join(one.short for one in chosen)
    return Instruction(chosen, full, short, is_shortened=draw.random() < shortened)
