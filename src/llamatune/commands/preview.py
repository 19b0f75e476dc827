"""`llamatune data preview`: rows as the model will see them, with the trained tokens marked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from llamatune.data.rows import Encoded, Row
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Kind
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import SftRecipe

AnyRecipe = PretrainRecipe | SftRecipe | RewardRecipe | PpoRecipe


def recipe_for_file(path: Path, *, base: str, template: str) -> AnyRecipe:
    """A recipe with nothing but a data file: plain text for pre-training, pairs for a reward model, prompts without
    replies for ppo, anything else for sft.

    Raises:
        DataError: the file's format is not recognised.
        RecipeError: no such template.
    """
    import json

    from llamatune.data.formats.recognise import kind_of, recognise
    from llamatune.recipe.load import loads
    from llamatune.recipe.recipes import STAGES, stage_for

    stage = stage_for(kind_of(recognise(path).format))
    recipe: dict[str, Any] = {"stage": stage, "output": "unused", "model": {"base": base}}
    recipe |= STAGES[stage].starter("lora", {"path": str(path)})
    recipe["data"] = {"train": [{"path": str(path)}], "max_length": 1 << 20}
    if "chat" in recipe:
        recipe["chat"] |= {"template": template}
    return loads(json.dumps(recipe), name=str(path))


@quiet_upstream()
def preview_rows(recipe: AnyRecipe, recipe_dir: Path, rows: int, *, colour: bool) -> str:
    """The first rows of a recipe's training data, decoded, with the trained tokens marked."""
    from llamatune.data.encode.encoders import encoder_for
    from llamatune.data.preview import preview
    from llamatune.data.rows import RowRejected
    from llamatune.models.found import find
    from llamatune.models.load import load_tokenizer

    found = find(recipe.model.base, revision=recipe.model.revision, weights=False, key="model.base")
    tokenizer = load_tokenizer(found.base)
    kind, encoder = encoder_for(recipe, tokenizer)

    def encoded() -> Iterator[Encoded]:
        for row in _training_rows(recipe, recipe_dir, kind):
            with suppress(RowRejected):
                yield from encoder.encode(row)

    return preview(islice(encoded(), rows), tokenizer.decode, colour=colour)


def _training_rows(recipe: AnyRecipe, recipe_dir: Path, kind: Kind) -> Iterator[Row]:
    """The training rows in canonical form, source by source, without those that no stage can use."""
    from llamatune.data.read.sources import open_source
    from llamatune.data.rows import RowRejected

    for source in recipe.data.train:
        opened = open_source(source, recipe_dir, kind=kind)
        for place, raw in opened.rows():
            with suppress(RowRejected):
                yield opened.canonical(raw, place)
