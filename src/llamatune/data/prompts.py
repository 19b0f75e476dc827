"""The prompts of a recipe's `data` block, and the rows of its pretraining mix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.documents import TextEncoder
from llamatune.data.encode.prompts import PromptEncoder
from llamatune.data.prepare import Prepared, Report, prepare
from llamatune.data.rows import Document, Encoded, Row
from llamatune.recipe.blocks import Data
from llamatune.recipe.stages.ppo import PromptData

if TYPE_CHECKING:
    import datasets


@dataclass
class PreparedPrompts(Prepared):
    """Prompts, and rows of the pretraining mix.

    `train` and `eval` have, besides `input_ids` (the prompt's tokens), `labels` (all `IGNORED`), `source`, `row` and
    `place`, the columns `prompt` (messages {role, content}, the last one the user's) and `is_safety`. `ptx` has
    `input_ids` and `labels` for a next-token loss. `sources` holds all of them, those of the mix with the role `ptx`.
    """

    ptx: datasets.Dataset | None = None


def load_prompts(
    data: PromptData, chat: ChatFormat, *, seed: int, recipe_dir: Path, report: Report = print
) -> PreparedPrompts:
    """Encode, mix and split the prompts of a recipe, and encode the rows of its pretraining mix.

    Raises:
        DataError: a source, a row or a policy of the recipe; see `prepare`.
        DiskError: the cache cannot be written.
    """
    encoder = PromptEncoder(chat, max_length=data.max_length, too_long=data.too_long)
    prompts = prepare(data, encoder, kind="prompts", seed=seed, recipe_dir=recipe_dir, report=report)
    prepared = PreparedPrompts(**vars(prompts))
    if data.ptx:
        settings = Data(
            train=data.ptx,
            max_length=data.max_length,
            too_long="truncate",
            max_dropped=data.max_dropped,
            deduplicate=data.deduplicate,
        )
        mix = prepare(
            settings,
            _ExampleEncoder(chat, data.max_length),
            kind="ptx",
            seed=seed,
            recipe_dir=recipe_dir,
            report=report,
        )
        prepared.ptx = mix.train
        prepared.sources += [replace(source, role="ptx") for source in mix.sources]
    return prepared


class _ExampleEncoder:
    """An `Encoder` for documents and conversations alike; longer ones are cut."""

    def __init__(self, chat: ChatFormat, max_length: int) -> None:
        self.text = TextEncoder(chat.tokenizer, max_length=max_length, too_long="truncate")
        self.chat = ChatFormat(chat.tokenizer, chat.chat, max_length=max_length, too_long="truncate")
        state = f"{self.text.fingerprint} {self.chat.fingerprint}"
        self.fingerprint = hashlib.sha256(state.encode()).hexdigest()

    def encode(self, row: Row) -> Iterator[Encoded]:
        """What the encoder of the row's kind makes of it."""
        return (self.text if isinstance(row, Document) else self.chat).encode(row)
