"""From a loaded recipe to a finished run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from llamatune.data.formats import Kind
from llamatune.data.rows import Encoder, Row
from llamatune.recipe.recipes import PretrainRecipe, RewardRecipe, SftRecipe, StageRecipe
from llamatune.runs.run import Result, Resume, Run


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
        assert isinstance(recipe, SftRecipe)
        from llamatune.stages import sft

        return sft.run(recipe, target)


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


def recipe_for_file(path: Path, *, base: str, template: str) -> PretrainRecipe | SftRecipe:
    """A recipe with nothing but a data file: plain text for pre-training, anything else for sft.

    Raises:
        DataError: the file's format is not recognised.
        RecipeError: no such template.
    """
    import json

    from llamatune.data.formats import recognise
    from llamatune.recipe.load import loads

    recipe = {
        "stage": "sft",
        "output": "unused",
        "model": {"base": base},
        "chat": {"template": template},
        "data": {"train": [{"path": str(path)}], "max_length": 1 << 20},
    }
    if recognise(path).format == "text":
        recipe["stage"] = "pretrain"
        del recipe["chat"]
    return loads(json.dumps(recipe), name=str(path))


def preview_rows(recipe: PretrainRecipe | SftRecipe, recipe_dir: Path, rows: int, *, colour: bool) -> str:
    """The first rows of a recipe's training data, decoded, with the trained tokens marked."""
    from llamatune.data.chat import ChatFormat
    from llamatune.data.encode_text import TextEncoder
    from llamatune.data.preview import preview
    from llamatune.models.base import find_base
    from llamatune.models.load import load_tokenizer

    quieten_upstream()
    tokenizer = load_tokenizer(find_base(recipe.model.base, recipe.model.revision, weights=False))
    length, too_long = recipe.data.max_length, recipe.data.too_long
    encoder: Encoder
    if isinstance(recipe, PretrainRecipe):
        encoder = TextEncoder(tokenizer, max_length=length, too_long=too_long)
    else:
        encoder = ChatFormat(tokenizer, recipe.chat, max_length=length, too_long=too_long)
    encoded = (one for row in _training_rows(recipe, recipe_dir) for one in encoder.encode(row))
    return preview(islice(encoded, rows), tokenizer.decode, colour=colour)


def _training_rows(recipe: PretrainRecipe | SftRecipe, recipe_dir: Path) -> Iterator[Row]:
    """The training rows in canonical form, source by source."""
    from llamatune.data.conversations import conversation, document
    from llamatune.data.sources import open_source

    kind: Kind = "documents" if isinstance(recipe, PretrainRecipe) else "conversations"
    for source in recipe.data.train:
        opened = open_source(source, recipe_dir, kind=kind)
        known = opened.recognised
        for place, raw in opened.rows():
            if kind == "documents":
                yield document(raw, known.columns, place)
            else:
                yield conversation(raw, known.format, known.columns, place)
