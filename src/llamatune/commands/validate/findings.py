"""What `llamatune validate` found: for people, for programs, and all that is wrong as one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from llamatune.errors import DataError, DiskError, LlamatuneError, ModelError, Problem, RecipeError
from llamatune.recipe.recipes import Recipe
from llamatune.recipe.stages.pipeline import PipelineRecipe
from llamatune.wording import counted


@dataclass
class Validation:
    """What was checked, in the order of a run: lines for people, the figures in them, and what is wrong."""

    recipe: Recipe
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Each with `about`, `text`, and its figures."""
    unchecked: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    error: type[LlamatuneError] = RecipeError
    """The kind of the first problem."""
    _known: set[Problem] = field(default_factory=set)
    """Of 10,000 problems, none is compared with all others."""

    def add(self, about: str, text: str, **figures: Any) -> None:
        self.findings.append({"about": about, "text": text, **figures})

    def refuse(self, error: LlamatuneError) -> None:
        if not self.problems:
            self.error = type(error)
        self.problems += [problem for problem in dict.fromkeys(error.problems) if problem not in self._known]
        self._known.update(error.problems)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """What goes wrong inside is one of the problems, and the next check goes on."""
        try:
            yield
        except (RecipeError, DataError, ModelError, DiskError) as error:
            self.refuse(error)

    def raise_problems(self) -> None:
        """Raises all problems as one error, if there are any."""
        if self.problems:
            raise self.error.of(self.problems)

    def lines(self) -> Iterator[str]:
        for finding in self.findings:
            yield f"{finding['about']}: {finding['text']}"
        for what in self.unchecked:
            yield f"not checked: {what}"
        if not self.problems:
            yield f"recipe: valid, stage {self.recipe.stage}, output {self.recipe.output}"

    def to_json(self) -> dict[str, Any]:
        return {
            "valid": not self.problems,
            "stage": self.recipe.stage,
            "output": self.recipe.output,
            "checked": self.findings,
            "not_checked": self.unchecked,
        }


@dataclass
class PipelineValidation:
    """What was checked of each step of a pipeline, and what is wrong with the graph."""

    recipe: PipelineRecipe
    steps: dict[str, Validation] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def raise_problems(self) -> None:
        """Raises all problems as one error, if there are any; of steps that are alike in this, the first says it."""
        found = {(one.code, one.what, one.place): one for one in self.problems}
        kind: type[LlamatuneError] = RecipeError
        for name, step in self.steps.items():
            if step.problems and not found:
                kind = step.error
            for one in step.problems:
                found.setdefault(
                    (one.code, one.what, one.place), replace(one, what=f"step `{name}`: {one.what}")
                )
        if found:
            raise kind.of(list(found.values()))

    def lines(self) -> Iterator[str]:
        """What steps have in common is said once."""
        said: set[str] = set()
        for name, step in self.steps.items():
            yield f"step {name}: stage {step.recipe.stage}, output {step.recipe.output}"
            for line in step.lines():
                if line not in said and not line.startswith("recipe: "):
                    said.add(line)
                    yield f"  {line}"
        if not self.problems and not any(step.problems for step in self.steps.values()):
            yield f"recipe: valid, a pipeline of {counted(len(self.steps), 'step')}, output {self.recipe.output}"

    def to_json(self) -> dict[str, Any]:
        return {
            "valid": not self.problems and not any(step.problems for step in self.steps.values()),
            "stage": self.recipe.stage,
            "output": self.recipe.output,
            "steps": {name: step.to_json() for name, step in self.steps.items()},
        }
