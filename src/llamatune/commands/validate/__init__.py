"""`llamatune validate`: whether a recipe will start, as far as that can be known without torch; the rest is named.

Keys, files and cards (`recipe/`); the models and that each is of the right kind; the first rows of each file; trackers,
device, output and disk. With `deep`, every row is read and encoded, as `run` would.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from llamatune.commands.validate.findings import PipelineValidation, Validation
from llamatune.commands.validate.machine import check_device, check_disk, check_writable, say_output
from llamatune.commands.validate.models import check_recipe_models
from llamatune.commands.validate.rows import all_sources, check_every_row, check_source
from llamatune.data.clean.packages import check_clean
from llamatune.errors import LlamatuneError, Problem, RecipeError
from llamatune.outside import is_file
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load_with_problems
from llamatune.recipe.paths import FINISHED
from llamatune.recipe.reading import sources
from llamatune.recipe.recipes import Recipe
from llamatune.recipe.shipped import find_recipe
from llamatune.recipe.stages.common import ModelRecipe, TrainingRecipe
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.recipe.trackers import check_trackers
from llamatune.wording import with_word


def validate(
    name: str,
    overrides: Sequence[str] = (),
    *,
    allow_outside: bool = False,
    deep: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Validation | PipelineValidation:
    """Check a recipe and all that it names; of a pipeline, every step, as far as its input is there.

    Args:
        name: a recipe file, or a shipped recipe.
        deep: also read and encode every row, which takes the tokenizer and its libraries.
        say: is told how far it is, where there are many sources.

    Raises:
        RecipeError: it is no recipe; all else that is wrong is in the result.
    """
    recipe, problems = load_with_problems(name, overrides, allow_outside=allow_outside)
    if recipe is None:
        raise RecipeError.of(problems)
    if not isinstance(recipe, Pipeline):
        return _validated(recipe, find_recipe(name).parent, problems, deep=deep, say=say)
    found = PipelineValidation(recipe.recipe, problems=problems)
    coming = _coming(recipe)
    for step in recipe.steps:
        found.steps[step.name] = _validated(step.recipe, step.folder, [], deep=deep, say=say, coming=coming)
    return found


def _coming(pipeline: Pipeline) -> set[str]:
    """The runs of its steps that a start would make: what is there of them now says nothing."""
    from llamatune.pipeline import due_steps  # a tenth of a second, which single recipes need not wait for

    try:
        found = due_steps(pipeline)
    # What is missing is said step by step.
    except LlamatuneError:
        return {
            one.recipe.output for one in pipeline.steps if not is_file(Path(one.recipe.output) / FINISHED)
        }
    return {step.recipe.output for step in pipeline.steps if found[step.name].doing.runs}


def _validated(
    recipe: Recipe,
    folder: Path,
    problems: list[Problem],
    *,
    deep: bool,
    say: Callable[[str], None],
    coming: Collection[str] | None = None,
) -> Validation:
    """`coming`: of a step of a pipeline, the runs that have yet to be made."""
    in_pipeline, coming = coming is not None, coming or ()
    found = Validation(recipe)
    if problems:
        found.refuse(RecipeError.of(problems))
    start = check_recipe_models(found, folder, coming)
    for role, source, kind, data in with_word([*all_sources(recipe)], "source", "looked at", say):
        if source.run in coming:
            found.unchecked.append(f"the rows of {source.run}, which has yet to be made")
            continue
        with found.gathering():
            check_source(found, role, source, kind, data, folder, deep)
    with found.gathering():
        check_trackers(recipe.logging.report_to)
    if isinstance(recipe, PretrainRecipe):
        with found.gathering():
            check_clean(recipe.data.clean)
    if isinstance(recipe, ModelRecipe):
        check_device(found, recipe)
    check_writable(found)
    if not in_pipeline:
        say_output(found)
    if start is not None and isinstance(recipe, TrainingRecipe):
        if recipe.model.adapter in coming:
            found.unchecked.append(f"the room on the disk: {recipe.model.adapter} has yet to be made")
        else:
            with found.gathering():
                check_disk(found, recipe, start)
    comes_first = any(source.run in coming for _, source in sources(recipe))
    if deep and start is not None and not problems and not comes_first:
        check_every_row(found, start, folder, say)
    elif deep:
        found.unchecked.append("every row: what is named above comes first")
    else:
        found.unchecked.append("what the tokenizer makes of the rows, and how long they are (--deep)")
    found.unchecked.append("the memory that the run will take (llamatune plan)")
    return found
