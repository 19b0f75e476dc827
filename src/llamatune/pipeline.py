"""From a loaded recipe to a finished run."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

from llamatune.data.formats import Kind
from llamatune.data.rows import Encoder
from llamatune.recipe.recipes import PretrainRecipe, SftRecipe, StageRecipe
from llamatune.runs.run import Result, Run


def run(recipe: StageRecipe, *, recipe_dir: Path = Path(), overwrite: bool = False) -> Result:
    """Run a recipe's stage.

    Args:
        recipe: from `llamatune.load(path)`.
        recipe_dir: where data cards beside the recipe are looked for.
        overwrite: replace an earlier run in the recipe's `output`.

    Returns:
        What `result.json` holds.

    Raises:
        LlamatuneError: bad input, with place, reason and hint; nothing has been trained then.
    """
    target = Run.open(recipe, recipe_dir=recipe_dir, overwrite=overwrite)
    quieten_upstream()
    if isinstance(recipe, PretrainRecipe):
        from llamatune.stages import pretrain

        return pretrain.run(recipe, target)
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


def preview_rows(recipe: StageRecipe, recipe_dir: Path, rows: int, *, colour: bool) -> str:
    """The first rows of a recipe's training data, decoded, with the trained tokens marked."""
    from itertools import chain, islice

    from llamatune.data.chat import ChatFormat
    from llamatune.data.encode_text import TextEncoder
    from llamatune.data.preview import preview
    from llamatune.data.sources import open_source
    from llamatune.models.base import find_base
    from llamatune.models.load import load_tokenizer

    quieten_upstream()
    assert isinstance(recipe, PretrainRecipe | SftRecipe)
    tokenizer = load_tokenizer(find_base(recipe.model.base, recipe.model.revision, weights=False))
    kind: Kind = "documents" if isinstance(recipe, PretrainRecipe) else "conversations"
    encoder: Encoder = (
        TextEncoder(tokenizer, max_length=recipe.data.max_length, too_long=recipe.data.too_long)
        if isinstance(recipe, PretrainRecipe)
        else ChatFormat(tokenizer, recipe.chat, max_length=recipe.data.max_length, too_long=recipe.data.too_long)
    )
    opened = chain.from_iterable(open_source(source, recipe_dir, kind=kind) for source in recipe.data.train)
    encoded = chain.from_iterable(encoder.encode(row) for opened_source in opened for row in opened_source)
    return preview(islice(encoded, rows), tokenizer.decode, colour=colour)
