"""The model that answers, for stages that only ask it: opened once, and identified by what decides its answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamatune.data.encode.chat import ChatFormat
from llamatune.models.load import Start, load_for_answers
from llamatune.sampling.backends import check_backend, open_sampler
from llamatune.sampling.sampler import Sampler
from llamatune.sampling.vllm import Engine

if TYPE_CHECKING:
    from llamatune.recipe.stages.common import SamplingRecipe


@dataclass(frozen=True)
class Policy:
    """A model that answers. `digest` changes whenever its weights or their precision do."""

    sampler: Sampler
    chat: ChatFormat
    digest: str


def load_policy(
    recipe: SamplingRecipe, start: Start, chat: ChatFormat, report: Callable[[str], None]
) -> Policy:
    """Load the recipe's model to answer prompts.

    Args:
        start: from `models.load.find_start`, with `trains=False`.

    Raises:
        ModelError: weights that cannot be read, an adapter of another base, a backend that does not work here.
    """
    settings, sampling, found = recipe.model, recipe.sampling, start.found
    check_backend(sampling.backend)
    model = load_for_answers(start, settings, report=report)
    engine = Engine(recipe.data.max_length, sampling.max_new_tokens, memory=0.8)
    sampler = open_sampler(
        model,
        sampling.backend,
        pad_id=start.tokenizer.pad_token_id,
        batch_size=sampling.batch_size,
        engine=engine,
    )
    held = [found.digest(), settings.quantization, settings.double_quantization, start.placement.weights]
    return Policy(sampler, chat, hashlib.sha256(json.dumps(held).encode()).hexdigest())
