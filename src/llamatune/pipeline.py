"""From a loaded recipe to a finished run."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from llamatune.data.formats import Kind
from llamatune.data.rows import Encoded, Row
from llamatune.recipe.recipes import PpoRecipe, PretrainRecipe, RewardRecipe, SftRecipe, StageRecipe
from llamatune.runs.run import Result, Resume, Run

AnyRecipe = PretrainRecipe | SftRecipe | RewardRecipe | PpoRecipe


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
        What `result.json` holds; of a run that had finished before, at once.

    Raises:
        LlamatuneError: bad input, with place, reason and hint, before anything is spent; or what ended the run.
        StoppedError: a signal asked the run to stop; call again to go on.
    """
    with Run.open(recipe, recipe_dir=recipe_dir, overwrite=overwrite, resume=resume, force=force) as target:
        if target.done is not None:
            return target.done
        quieten_upstream()
        if isinstance(recipe, PretrainRecipe):
            from llamatune.stages import pretrain

            return pretrain.run(recipe, target)
        if isinstance(recipe, RewardRecipe):
            from llamatune.stages import reward

            return reward.run(recipe, target)
        if isinstance(recipe, PpoRecipe):
            from llamatune.stages import ppo

            return ppo.run(recipe, target)
        assert isinstance(recipe, SftRecipe)
        from llamatune.stages import sft

        return sft.run(recipe, target)


def part_processes() -> None:
    """End the processes of a distributed run in order, once all of them are done or stopped.

    Left to the end of the interpreter, a thread of gloo may outlive it, and a run that went well would end by SIGABRT.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


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


def recipe_for_file(path: Path, *, base: str, template: str) -> AnyRecipe:
    """A recipe with nothing but a data file: plain text for pre-training, pairs for a reward model, prompts without
    replies for ppo, anything else for sft.

    Raises:
        DataError: the file's format is not recognised.
        RecipeError: no such template.
    """
    import json

    from llamatune.data.formats import kind_of, recognise
    from llamatune.recipe.load import loads

    stages = {"documents": "pretrain", "preferences": "reward", "prompts": "ppo", "conversations": "sft"}
    recipe: dict[str, Any] = {
        "stage": stages[kind_of(recognise(path).format)],
        "output": "unused",
        "model": {"base": base},
        "chat": {"template": template},
        "data": {"train": [{"path": str(path)}], "max_length": 1 << 20},
    }
    if recipe["stage"] == "pretrain":
        del recipe["chat"]
    if recipe["stage"] == "ppo":
        recipe["reward"] = {"helpfulness": "unused"}
    return loads(json.dumps(recipe), name=str(path))


def preview_rows(recipe: AnyRecipe, recipe_dir: Path, rows: int, *, colour: bool) -> str:
    """The first rows of a recipe's training data, decoded, with the trained tokens marked."""
    from llamatune.data.encoders import encoder_for
    from llamatune.data.preview import preview
    from llamatune.data.rows import RowRejected
    from llamatune.models.base import find_base
    from llamatune.models.load import load_tokenizer

    quieten_upstream()
    tokenizer = load_tokenizer(find_base(recipe.model.base, recipe.model.revision, weights=False))
    kind, encoder = encoder_for(recipe, tokenizer)

    def encoded() -> Iterator[Encoded]:
        for row in _training_rows(recipe, recipe_dir, kind):
            with suppress(RowRejected):
                yield from encoder.encode(row)

    return preview(islice(encoded(), rows), tokenizer.decode, colour=colour)


def _training_rows(recipe: AnyRecipe, recipe_dir: Path, kind: Kind) -> Iterator[Row]:
    """The training rows in canonical form, source by source, without those that no stage can use."""
    from llamatune.data.rows import RowRejected
    from llamatune.data.sources import open_source

    for source in recipe.data.train:
        opened = open_source(source, recipe_dir, kind=kind)
        for place, raw in opened.rows():
            with suppress(RowRejected):
                yield opened.canonical(raw, place)
