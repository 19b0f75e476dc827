"""References between the steps of a pipeline: which step a word means, in which round.

step:sft           that step; in a round, this round's, or the newest before it where this round has none
step:previous      in a round: the model that the round before ended with; in the first one, `rounds.first`
step:round-2/sft   the step of that round, from anywhere
earlier:samples    in a list: the step of each earlier round, an item each; outside of rounds, of every round
all:samples        the same with this round's
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llamatune.errors import Problem
from llamatune.recipe.parsing.problems import did_you_mean
from llamatune.recipe.parsing.yaml import KeyPath
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.stages.common import TrainingRecipe

PREVIOUS = "previous"
_REFERENCE = re.compile(r"(step|earlier|all):(\S+)")


@dataclass(frozen=True)
class Slot:
    """A place for a run in the graph. `name`: sft, round-2/samples; `called`: its name in the recipe; `round`: None
    outside of rounds; `at`: its key path; `stage`: of its recipe."""

    name: str
    called: str
    round: int | None
    at: KeyPath
    stage: str

    @property
    def is_policy(self) -> bool:
        """Whether it trains a model that writes."""
        entry = STAGES[self.stage]
        return entry.task == "generate" and issubclass(entry.recipe, TrainingRecipe)


class NoSuchStep(Exception):
    """A reference that means nothing: what is wrong, and a hint."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True)
class References:
    """What references mean. `first`: the step that `rounds.first` names."""

    slots: Sequence[Slot]
    first: str | None = None

    def step(self, name: str, user: Slot) -> str:
        """The full name of the step that `step:NAME` means in the recipe of `user`.

        Raises:
            NoSuchStep: there is none.
        """
        if name == PREVIOUS:
            return self._previous(user)
        named = [slot for slot in self.slots if name in (slot.name, slot.called)]
        if "/" in name or user.round is None:
            outside = [slot for slot in named if slot.round is None]
            found = (outside or named)[-1:]
        else:
            known = [slot for slot in named if (slot.round or 0) <= user.round]
            found = sorted(known, key=lambda slot: slot.round or 0)[-1:]
        if found:
            return found[0].name
        if named:
            what = f"there is no `{name}` before or in round {user.round}"
            raise NoSuchStep(
                what, f"the first one is that of {named[0].name.partition('/')[0]}: see its `only`"
            )
        raise self._unknown(name)

    def several(self, name: str, user: Slot, *, own: bool) -> list[str]:
        """The full names of the step of each earlier round, and of the user's own one. Raises NoSuchStep where no round
        has it."""
        named = [slot for slot in self.slots if slot.called == name and slot.round is not None]
        if not named:
            raise self._unknown(name)
        end = len(self.slots) if user.round is None else user.round + own
        return [slot.name for slot in named if (slot.round or 0) < end]

    def _previous(self, user: Slot) -> str:
        if user.round is None:
            raise NoSuchStep(
                "`step:previous` is for the steps of rounds",
                "name the step: step:NAME is that of the last round",
            )
        before = [slot for slot in self.slots if (slot.round or user.round) < user.round and slot.is_policy]
        if before:
            return before[-1].name
        if self.first is None:
            raise NoSuchStep(
                "nothing says what the first round begins with", "add `first: step:NAME` to `rounds`"
            )
        return self.first

    def _unknown(self, name: str) -> NoSuchStep:
        names = list(dict.fromkeys(one for slot in self.slots for one in (slot.called, slot.name)))
        hint = (
            did_you_mean(name, names)
            or f"the steps are {', '.join(dict.fromkeys(s.called for s in self.slots))}"
        )
        return NoSuchStep(f"there is no step `{name[:60]}`", hint)


@dataclass
class Referred:
    """A step's data with its references replaced by run directories.

    `targets`: key path -> the step that it names. `moved`: where items of a list were before others were put in.
    """

    data: dict[str, Any] = field(default_factory=dict)
    targets: dict[KeyPath, str] = field(default_factory=dict)
    moved: dict[KeyPath, KeyPath] = field(default_factory=dict)
    problems: list[tuple[KeyPath, Problem]] = field(default_factory=list)

    def before(self, path: KeyPath) -> KeyPath:
        """Where what is at a key path was in the recipe."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.moved:
                return (*self.moved[path[:length]], *path[length:])
        return path


def refer(data: Mapping[str, Any], user: Slot, references: References, output: str) -> Referred:
    """Replace every reference in a step's data by the run directory of the step that it means."""
    work = _Work(user, references, output, Referred())
    work.found.data = work.replaced(data, (), ())
    return work.found


@dataclass
class _Work:
    user: Slot
    references: References
    output: str
    found: Referred
    standing_for: str | None = None
    """The step that `earlier:` or `all:` means in the item of a list that is being made."""

    def replaced(self, value: Any, at: KeyPath, was: KeyPath) -> Any:
        if isinstance(value, Mapping):
            return {key: self.replaced(one, (*at, key), (*was, key)) for key, one in value.items()}
        if isinstance(value, list):
            return self._replaced_list(value, at, was)
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return copy.deepcopy(value)
        word, name = match.groups()
        try:
            target = self._target(word, name)
        except NoSuchStep as error:
            self.found.problems.append((was, Problem("E060", str(error), hint=error.hint)))
            return value
        self.found.targets[at] = target
        return f"{self.output}/{target}"

    def _target(self, word: str, name: str) -> str:
        if word == "step":
            return self.references.step(name, self.user)
        if self.standing_for is None:
            raise NoSuchStep(
                f"`{word}:{name}` stands for the steps of several rounds",
                "it belongs in a list, which then has an item for each of them",
            )
        return self.standing_for

    def _replaced_list(self, value: list[Any], at: KeyPath, was: KeyPath) -> list[Any]:
        made: list[Any] = []
        for number, item in enumerate(value):
            for target in self._repeats(item, (*was, number)):
                place: KeyPath = (*at, len(made))
                self.found.moved[place] = (*was, number)
                outer, self.standing_for = self.standing_for, target
                made.append(self.replaced(item, place, (*was, number)))
                self.standing_for = outer
        return made

    def _repeats(self, item: Any, was: KeyPath) -> Sequence[str | None]:
        """The steps that an item of a list is repeated for; once, where it names no earlier rounds."""
        found = next(_several_in(item), None)
        if found is None:
            return [None]
        word, name = found
        try:
            return self.references.several(name, self.user, own=word == "all")
        except NoSuchStep as error:
            self.found.problems.append((was, Problem("E060", str(error), hint=error.hint)))
            return []


def _several_in(item: Any) -> Iterator[tuple[str, str]]:
    """(word, name) of references to several rounds in an item of a list, and in the mappings in it."""
    if isinstance(item, Mapping):
        for one in item.values():
            yield from _several_in(one)
    elif isinstance(item, str) and (match := _REFERENCE.fullmatch(item)) and match[1] != "step":
        yield match[1], match[2]
