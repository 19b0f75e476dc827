"""Was a model trained with the reward model that is to judge it?

PPO and rejection sampling look for whatever their reward models like, and so for what they get wrong: of a model that
was trained with it, a reward model thinks more highly than anybody else. The paper takes a third one for that reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llamatune.models.found import Found, find
from llamatune.recipe.paths import MARKER
from llamatune.runs.manifest import flatten, read_manifest

_INPUTS = (".run", ".adapter", ".base")
"""What a recipe calls the runs that it starts from."""


def taught_by(model: Found, judges: Mapping[str, str]) -> list[str]:
    """Those of the judges, by name, whose weights had a part in the training of a model, as far as its run and those
    that made its data are still there."""
    behind = list(_judges_behind(model.folder.parent, set()))
    return [name for name, judge in judges.items() if find(judge, download=False).facts() in behind]


def _judges_behind(folder: Path, seen: set[Path]) -> Iterator[dict[str, Any]]:
    """The facts of every judge of a run, and of the runs whose rows or adapters it started from."""
    if folder in seen or not (folder / MARKER).is_file():
        return
    seen.add(folder)
    manifest = read_manifest(folder) or {}
    judges = (manifest.get("facts") or {}).get("models") or {}
    yield from judges.values()
    for key, value in flatten(manifest.get("recipe")).items():
        if isinstance(value, str) and (key.endswith(_INPUTS) or key.startswith("keep.pool")):
            for earlier in (Path(value), Path(value).parent):
                yield from _judges_behind(earlier, seen)
