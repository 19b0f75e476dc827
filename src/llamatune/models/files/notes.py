"""What llamatune notes beside an artefact: which base it belongs to, and how its model was talked to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llamatune.errors import ModelError
from llamatune.models.base import Base
from llamatune.models.files.gates import is_note
from llamatune.models.files.settings import read_model_json
from llamatune.recipe.blocks import Chat
from llamatune.version import __version__

NOTE = "llamatune.json"
"""What llamatune notes beside an artefact: its base, chat block, stage and version."""


def read_note(folder: Path) -> dict[str, Any]:
    """llamatune's note beside an artefact; empty for artefacts of other tools."""
    file = folder / NOTE
    note = read_model_json(file) if file.is_file() else {}
    if not is_note(note):
        raise ModelError(
            "E202",
            "this note was not written by llamatune",
            place=str(file),
            why="it says which base an adapter belongs to, and how its model was talked to",
            hint="restore it from a copy; without it, the base is the one that adapter_config.json names",
        )
    return note


def write_note(folder: Path, base: Base, *, stage: str, chat: Chat | None) -> None:
    """Note beside an artefact what it was made from.

    A base that is held in 4 bits is noted without its hashes: what was trained on it also fits the weights that it was
    quantised from, and is merged into those.
    """
    note: dict[str, Any] = {
        "llamatune": __version__,
        "stage": stage,
        "base": {
            "name": base.address,
            "revision": base.revision,
            "identity": None if base.held_in_4_bits else base.identity(),
        },
        "chat": chat.model_dump() if chat is not None else None,
    }
    (folder / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
