"""From a pipeline's recipe to its steps: each with its own recipe, what it takes from which, and the order.

    steps and rounds -> each step's recipe file, with `set` and references put in -> schema -> hand-over, order

All that is wrong is said at once: of a value that the pipeline sets, at its place there; of what the recipe of a step
says itself, at its place in that file.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from llamatune.errors import Problem, RecipeError
from llamatune.recipe.graph.handing import hand_over_problems
from llamatune.recipe.graph.references import PREVIOUS, NoSuchStep, References, Referred, Slot, refer
from llamatune.recipe.parsing.overrides import WHOLE, Overridden
from llamatune.recipe.parsing.problems import Place, problems_of
from llamatune.recipe.parsing.secrets import refuse_secret_keys, refuse_secrets
from llamatune.recipe.parsing.yaml import MAX_PROBLEMS, KeyPath, parse, read_text
from llamatune.recipe.paths import output_problem
from llamatune.recipe.reading import card_problems, path_problems, recipe_of, stage_of
from llamatune.recipe.recipes import PIPELINE, STAGES, Recipe
from llamatune.recipe.shipped import find_recipe
from llamatune.recipe.stages.common import FOR_TRAINING, TrainingRecipe
from llamatune.recipe.stages.pipeline import PipelineRecipe, StepBlock

EVALUATE = "evaluate"
_ROUND = re.compile(r"round-\d+")


@dataclass(frozen=True)
class Step:
    """A step of a pipeline. `name`: sft, round-2/samples; `recipe`: its own, with its output and the runs that it takes
    something from; `called`: the recipe's name in the pipeline; `file`: where it was read from; `needs`: the names of
    the steps that it takes something from."""

    name: str
    recipe: Recipe
    called: str
    file: Path
    needs: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where data cards beside its recipe are looked for."""
        return self.file.parent


@dataclass(frozen=True)
class Pipeline:
    """A loaded pipeline: its steps, each after all that it needs."""

    recipe: PipelineRecipe
    steps: tuple[Step, ...]
    stage: Literal["pipeline"] = "pipeline"

    @property
    def output(self) -> str:
        """The folder of all its runs."""
        return self.recipe.output

    @cached_property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """Name of each step -> the names of those that it takes something from, in the order of the steps."""
        return {step.name: step.needs for step in self.steps}


def pipeline_of(source: Overridden, allow_outside: bool) -> tuple[Pipeline | None, list[Problem]]:
    """The pipeline in a file with overrides applied, and what is wrong with it; None where a step has no recipe.

    Raises:
        RecipeError: it is no recipe of a pipeline at all.
    """
    data = source.document.data
    others = {name: stage.recipe for name, stage in STAGES.items()}
    try:
        recipe = PipelineRecipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError.of(problems_of(error, PipelineRecipe, data, source.place, others)) from None
    work = _Work(recipe, source, allow_outside)
    return work.pipeline(), work.problems


@dataclass
class _Draft:
    """A step's recipe while it is being put together. `called`: its name in the pipeline."""

    slot: Slot
    called: str
    source: Overridden
    file: Path
    referred: Referred = field(default_factory=Referred)
    recipe: Recipe | None = None

    def place(self, path: KeyPath, of_key: bool) -> str:
        return self.source.place(self.referred.before(path), of_key)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.referred.targets.values()))

    @property
    def leaves_adapter(self) -> bool:
        """As it is written: what its schema does not allow is found later."""
        model = self.source.document.data.get("model")
        return isinstance(model, dict) and bool(model.get("lora") or model.get("adapter"))


class _Work:
    def __init__(self, recipe: PipelineRecipe, source: Overridden, allow_outside: bool) -> None:
        self.recipe = recipe
        self.place: Place = source.place
        self.allow_outside = allow_outside
        self.problems: list[Problem] = []
        self._said: set[tuple[str, str]] = set()

    def pipeline(self) -> Pipeline | None:
        """All steps, as far as they can be made; the problems are in `problems`."""
        at_output = self.place(("output",), False)
        if bad := output_problem(self.recipe.output, at_output, holds="pipeline"):
            self.problems.append(bad)
        self._check_names()
        written = [self._written(*one) for one in self._declared()]
        drafts = {draft.slot.name: draft for draft in written if draft is not None}
        self._compare_models(drafts)
        if len(drafts) < len(written) or self.problems:
            return None
        references = self._references([draft.slot for draft in drafts.values()])
        for draft in drafts.values():
            self._refer(draft, references)
        order = self._order(drafts)
        if order is None:
            return None
        for draft in drafts.values():
            self._read(draft)
        outputs = [f"{self.recipe.output}/{name}" for name in drafts]
        made_by = {name: draft.recipe for name, draft in drafts.items() if draft.recipe is not None}
        for draft in drafts.values():
            self._check(draft, made_by, outputs)
        if len(made_by) < len(drafts):
            return None
        steps = []
        for name in order:
            draft = drafts[name]
            steps.append(Step(name, made_by[name], draft.called, draft.file, draft.needs))
        return Pipeline(self.recipe, tuple(steps))

    def _add(self, slot: str, at: KeyPath, problem: Problem) -> None:
        """Note what is wrong with a step; what is wrong at one place for several steps is said once."""
        place = problem.place or self.place(at, True)
        if (problem.code, place) not in self._said:
            self._said.add((problem.code, place))
            self.problems.append(replace(problem, what=f"step `{slot}`: {problem.what}", place=place))

    # ---- what is written ----------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        """Note names that the pipeline itself needs (E063), and rounds that there are not (E025)."""
        rounds = self.recipe.rounds
        in_rounds: list[KeyPath] = [("rounds", "steps", name) for name in (rounds.steps if rounds else ())]
        for at in [*(("steps", name) for name in self.recipe.steps), *in_rounds]:
            taken = {PREVIOUS, EVALUATE} if self.recipe.evaluate else {PREVIOUS}
            if at[-1] in taken or _ROUND.fullmatch(str(at[-1])):
                what = f"a step cannot be called `{at[-1]}`"
                why = (
                    "`step:previous` is what the round before ended with, and round-1 the folder of its runs"
                )
                self.problems.append(Problem("E063", what, self.place(at, True), why))
        for name, step in rounds.steps.items() if rounds else ():
            for position, number in enumerate(step.only or ()):
                if rounds and number != "last" and number > rounds.count:
                    place = self.place(("rounds", "steps", name, "only", position), False)
                    what = f"step `{name}`: `only` names round {number:,} of {rounds.count:,}"
                    self.problems.append(Problem("E025", what, place, hint="`only: [last]` is the last one"))

    def _declared(self) -> Iterator[tuple[str, str, int | None, KeyPath, StepBlock]]:
        """(name, name in the recipe, round, key path, block) of every run."""
        for name, block in self.recipe.steps.items():
            yield name, name, None, ("steps", name), block
        if (rounds := self.recipe.rounds) is not None:
            for number in range(1, rounds.count + 1):
                for name, step in rounds.of_round(number).items():
                    yield f"round-{number}/{name}", name, number, ("rounds", "steps", name), step
        if self.recipe.evaluate is not None:
            yield EVALUATE, EVALUATE, None, (EVALUATE,), self.recipe.evaluate

    def _written(
        self, name: str, called: str, number: int | None, at: KeyPath, block: StepBlock
    ) -> _Draft | None:
        """A step's recipe as it is written, with `set` and `output` put in, and its file."""
        try:
            file = find_recipe(block.recipe)
        except RecipeError as error:
            place = self.place((*at, "recipe"), False)
            for problem in error.problems:
                self._add(name, at, replace(problem, place=place))
            return None
        try:
            text = read_text(file)
            refuse_secrets(text, str(file))
            document = parse(text, str(file))
            source = Overridden(document, {})
            refuse_secret_keys(document.data, source.place)
            if document.data.get("stage") == PIPELINE:
                what = f"`{block.recipe}` is a pipeline, and a step runs one stage"
                raise RecipeError("E063", what, place=self.place((*at, "recipe"), False))
            stage = stage_of(document.data, source.place)
        except RecipeError as error:
            for problem in error.problems:
                self._add(name, at, problem)
            return None
        heeded = self.recipe.set
        if not issubclass(STAGES[stage].recipe, TrainingRecipe):
            heeded = {key: value for key, value in heeded.items() if key not in FOR_TRAINING}
        self._put_in(source, name, ("set",), heeded)
        self._put_in(source, name, (*at, WHOLE), block.set)
        output = self.place(("output",), False)
        source.put("output", f"{self.recipe.output}/{name}", lambda below: output)
        return _Draft(Slot(name, called, number, at, stage), block.recipe, source, file)

    def _put_in(self, source: Overridden, name: str, at: KeyPath, settings: Mapping[str, Any]) -> None:
        for key, value in settings.items():
            try:
                if key in ("output", "stage"):
                    raise ValueError(f"`{key}` of a step is what the pipeline says")
                source.put(key, copy.deepcopy(value), partial(self._place_below, (*at, key)))
            except ValueError as error:
                self._add(name, at, Problem("E026", str(error), self.place((*at, key), True)))

    def _place_below(self, at: KeyPath, below: KeyPath) -> str:
        return self.place((*at, *below), False)

    # ---- references -------------------------------------------------------------------------------------------

    def _references(self, slots: list[Slot]) -> References:
        """With the step that `rounds.first` names."""
        references = References(slots)
        first = self.recipe.rounds.first if self.recipe.rounds else None
        if first is None:
            return references
        at = ("rounds", "first")
        outside = Slot("rounds.first", "", None, at, "")
        try:
            word, _, name = first.partition(":")
            if word != "step":
                raise NoSuchStep(f"`{first[:60]}` names no step", "write step:NAME")
            slot = next(slot for slot in slots if slot.name == references.step(name, outside))
            if slot.round is not None or not slot.is_policy:
                raise NoSuchStep(
                    f"`{name}` is {'a step of a round' if slot.round else f'a step of {slot.stage}'}",
                    "name a step before the rounds that trains a model that writes",
                )
            return References(slots, slot.name)
        except NoSuchStep as error:
            what = f"`rounds.first`: {error}"
            self.problems.append(Problem("E060", what, self.place(at, False), hint=error.hint))
            # The rest is checked as if it were right.
            return References(slots, next((one.name for one in slots if one.is_policy), None))

    def _refer(self, draft: _Draft, references: References) -> None:
        slot = draft.slot
        draft.referred = refer(draft.source.document.data, slot, references, self.recipe.output)
        for path, problem in draft.referred.problems:
            self._add(slot.name, slot.at, replace(problem, place=draft.source.place(path)))

    def _compare_models(self, drafts: Mapping[str, _Draft]) -> None:
        """Name the models that `evaluate` compares, in the order of the steps; the first is the baseline. What
        its `set` says of `models` is put on top: of a version, or a model besides."""
        block, draft = self.recipe.evaluate, drafts.get(EVALUATE)
        if block is None or draft is None:
            return
        if draft.slot.stage != EVALUATE:
            what = f"`{block.recipe}` is a recipe of {draft.slot.stage}, and `evaluate` takes one of evaluate"
            self._add(EVALUATE, (EVALUATE,), Problem("E063", what, self.place((EVALUATE, "recipe"), False)))
            return
        policies = [one for one in drafts.values() if one.slot.is_policy]
        names = list(block.models) if block.models != "all" else [one.slot.name for one in policies]
        for position, name in enumerate(names):
            if not any(name in (one.slot.name, one.slot.called) for one in policies):
                what = f"no step `{name}` trains a model that writes"
                hint = f"these do: {', '.join(dict.fromkeys(one.slot.called for one in policies))}"
                place = self.place((EVALUATE, "models", position), False)
                self._add(EVALUATE, (EVALUATE,), Problem("E060", what, place, hint=hint))
        chosen = [one for one in policies if {one.slot.name, one.slot.called} & set(names)]
        models = {
            one.slot.name: {"adapter" if one.leaves_adapter else "base": f"step:{one.slot.name}"}
            for one in chosen
        }
        baseline = {"baseline": next(iter(models), None)} if "baseline" not in block.set else {}
        for key, value in {"models": models, **baseline}.items():
            draft.source.put(key, value, lambda below: self.place((EVALUATE, "models"), False))
        for key, value, at in _of_models(block.set, models):
            draft.source.put(key, copy.deepcopy(value), partial(self._place_below, (EVALUATE, WHOLE, *at)))

    def _order(self, drafts: Mapping[str, _Draft]) -> list[str] | None:
        """The names of the steps, each after those that it needs, and as they are declared apart from that."""
        needs = {name: draft.needs for name, draft in drafts.items()}
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            # Each needs the one before it.
            circle = error.args[1][::-1]
            draft = drafts[circle[0]]
            at = next(path for path, target in draft.referred.targets.items() if target == circle[1])
            what = f"steps wait for each other: {' needs '.join(f'`{name}`' for name in circle)}"
            self._add(draft.slot.name, draft.slot.at, Problem("E061", what, draft.place(at, False)))
            return None
        ordered: list[str] = []
        while len(ordered) < len(needs):
            ordered.append(next(n for n in needs if n not in ordered and set(needs[n]) <= set(ordered)))
        return ordered

    # ---- recipes ----------------------------------------------------------------------------------------------

    def _read(self, draft: _Draft) -> None:
        if draft.referred.problems:
            return
        try:
            draft.recipe = recipe_of(draft.referred.data, draft.place)
        except RecipeError as error:
            for problem in error.problems:
                self._add(draft.slot.name, draft.slot.at, problem)

    def _check(self, draft: _Draft, made_by: Mapping[str, Recipe], outputs: Collection[str]) -> None:
        """What a step takes from others, and the files and cards that it names."""
        recipe = draft.recipe
        if recipe is None:
            return
        found = [
            replace(problem, place=draft.place(at, False))
            for at, problem in hand_over_problems(recipe, draft.referred.targets, made_by)
        ]
        # Of the output, the pipeline's own problem says it.
        named = chain(
            path_problems(recipe, draft.place, self.allow_outside, outputs),
            card_problems(recipe, draft.place, draft.file),
        )
        for problem in (*found, *islice(named, MAX_PROBLEMS)):
            self._add(draft.slot.name, draft.slot.at, problem)


def _of_models(settings: Mapping[str, Any], known: Collection[str]) -> Iterator[tuple[str, Any, KeyPath]]:
    """(override, value, key path in `set`) of what `set` says of models; of one that is known, key by key."""
    for key, value in settings.items():
        if key.startswith("models."):
            yield key, value, (key,)
        elif key == "models":
            for name, one in value.items() if isinstance(value, Mapping) else ():
                of_known = name in known and isinstance(one, Mapping)
                parts = {f"{name}.{part}": (name, part) for part in one} if of_known else {name: (name,)}
                for below, at in parts.items():
                    yield f"models.{below}", one[at[-1]] if of_known else one, (key, *at)
            if not isinstance(value, Mapping):
                yield key, value, (key,)
