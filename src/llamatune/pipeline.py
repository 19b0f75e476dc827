"""From a loaded recipe to a finished run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Collection
from importlib import import_module
from pathlib import Path

from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs.handover import Result
from llamatune.runs.opening import Resume, open_run
from llamatune.training.facts import facts_of


def run(
    recipe: StageRecipe,
    *,
    recipe_dir: Path = Path(),
    overwrite: bool = False,
    resume: Resume = "auto",
    force: Collection[str] = (),
) -> Result:
    """Run a recipe's stage; go on with it where an earlier process stopped.

    Args:
        recipe: from `llamatune.load(path)`.
        recipe_dir: where data cards beside the recipe are looked for.
        overwrite: replace a finished run in the recipe's `output`.
        resume: `auto` goes on from the newest valid checkpoint, `none` starts again.
        force: facts that may differ from those the run was started with, such as `optimization.epochs`.

    Returns:
        What `result.json` holds; at once, with `earlier` set, of a run that had finished before and would be made from
        the same recipe, data and models again.

    Raises:
        LlamatuneError: bad input, with place, reason and hint, before anything is spent; or what ended the run.
        StoppedError: a signal asked the run to stop; call again to go on.
    """
    with open_run(
        recipe,
        recipe_dir=recipe_dir,
        facts=lambda: facts_of(recipe, recipe_dir),
        overwrite=overwrite,
        resume=resume,
        force=force,
    ) as target:
        if target.done is not None:
            return target.done
        quieten_upstream()
        result: Result = import_module(f"llamatune.stages.{recipe.stage}").run(recipe, target)
        return result


def quieten_upstream() -> None:
    """Upstream progress bars and advice would tear the display apart; their errors still come through."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    for name in ("trl", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
