"""What a run is made from: recorded at its start, compared at a resume."""

from __future__ import annotations

import random
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy
import torch
from transformers import set_seed

from llamatune.data.encode.control_tokens import tokenizer_fingerprint
from llamatune.data.preview import shown_row
from llamatune.data.read.cards import draft_cards
from llamatune.launch.meeting import all_here
from llamatune.models.facts import data_facts, model_facts, other_facts
from llamatune.models.load import Start
from llamatune.recipe.cards import find_card_file
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.stages.common import ModelRecipe
from llamatune.runs.display import Display
from llamatune.runs.files import disk_errors, remove
from llamatune.runs.run import Run

if TYPE_CHECKING:
    from llamatune.data.encode.chat import ChatFormat
    from llamatune.data.prepare import Prepared


_PREVIEW_ROWS = 3


def record_origin(
    run: Run,
    recipe: ModelRecipe,
    start: Start,
    data: Prepared,
    display: Display,
    chat: ChatFormat | None = None,
) -> None:
    """Write what the run is made from (manifest.json, data.json, preview.json, draft cards for files that were
    named without one); on a resume, compare it first. What is known before anything is loaded was compared when the
    run was opened; tokenizer, template and processes follow here, and whatever has changed since.

    Raises:
        RecipeError: a resume from other rows, another base, tokenizer or template, or with another number of
            processes.
    """
    all_here()  # whoever had rows to encode is ready, and what follows exchanges something
    run.check_seen()
    facts = {
        "data": data_facts((source.role, source.sha256) for source in data.sources),
        **model_facts(recipe, start.found),
        **other_facts(recipe, run.recipe_dir),
        "tokenizer": tokenizer_fingerprint(start.tokenizer),
        "template": sha256(chat.template.encode()).hexdigest() if chat else None,
        "processes": start.placement.processes,
        # Its checkpoints are read by no other way of training.
        "sharding": recipe.hardware.sharding if start.placement.sharded else None,
    }
    cards = {
        source.card: file_sha256(find_card_file(source.card, run.recipe_dir))
        for source in data.sources
        if source.card
    }
    notes = {"base": start.base.name, "cards": cards, "random_states": _random_states(recipe.seed)}
    display.say_all(run.made_from(facts, **notes))
    if not run.is_main:
        return
    run.write_json("data.json", data.to_json())
    drafts = run.directory / "data_cards"
    with disk_errors(drafts):
        remove(drafts)  # those of the process before, on a resume
        cards_made = draft_cards(data.sources, drafts)
    for card in cards_made:
        display.say(f"draft    {card}: a card for this file; its licence is yours to fill in")
    decode = start.tokenizer.decode
    run.write_json(
        "preview.json",
        [shown_row(row, decode) for row in islice(data.train or data.eval or (), _PREVIEW_ROWS)],
    )


def _random_states(seed: int) -> dict[str, Any]:
    """The seed, and what it makes of the three generators: two machines that differ in it train differently."""
    set_seed(seed)
    states = {
        "python": repr(random.getstate()).encode(),
        "numpy": repr(numpy.random.get_state()).encode(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
    return {"seed": seed} | {name: sha256(state).hexdigest() for name, state in states.items()}
