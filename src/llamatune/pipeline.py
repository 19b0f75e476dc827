"""From a loaded recipe to a finished run."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path

from llamatune.models.facts import facts_of
from llamatune.models.found import check_models
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs.handover import Result
from llamatune.runs.opening import Resume, open_run
from llamatune.runs.run import Run


def run(
    recipe: StageRecipe,
    *,
    recipe_dir: Path = Path(),
    overwrite: bool = False,
    resume: Resume = "auto",
    force: Collection[str] = (),
) -> Result:
    """Run a recipe's stage, or resume it where an earlier process stopped.

    Args:
        recipe: from `llamatune.load(path)`.
        recipe_dir: where data cards beside the recipe are looked for.
        overwrite: replace a finished run in the recipe's `output`.
        resume: `auto` resumes from the newest valid checkpoint, `none` starts again.
        force: facts that may differ from those the run was started with, such as `optimization.epochs`.

    Returns:
        What `result.json` holds. A run that had finished before, and would be made from the same recipe, data and
        models again, is not run again: its result has `earlier` set.

    Raises:
        LlamatuneError: bad input, with place, reason and hint, before anything is spent; or what ended the run.
        StoppedError: a signal asked the run to stop; call again to go on.
    """
    check_models(recipe, beside=recipe_dir)
    with open_run(
        recipe,
        recipe_dir=recipe_dir,
        facts=lambda: facts_of(recipe, recipe_dir),
        overwrite=overwrite,
        resume=resume,
        force=force,
    ) as target:
        return target.done or _run_stage(recipe, target)


@quiet_upstream()
def _run_stage(recipe: StageRecipe, target: Run) -> Result:
    result: Result = import_module(f"llamatune.stages.{recipe.stage}").run(recipe, target)
    return result
