"""Was a model trained with the reward model that is to judge it?

PPO and rejection sampling look for whatever their reward models like, and so for what they get wrong: of a model that
was trained with it, a reward model thinks more highly than anybody else. The paper takes a third one for that reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from llamatune.models.found import Found, find
from llamatune.runs.manifest import read_manifest, with_runs_behind


def taught_by(model: Found, judges: Mapping[str, str]) -> list[str]:
    """Those of the judges, by name, whose weights had a part in the training of a model, as far as its run and those
    that made its data are still there."""
    behind = []
    for run in with_runs_behind(model.folder.parent):
        facts = (read_manifest(run) or {}).get("facts") or {}
        behind += list((facts.get("models") or {}).values())
    return [name for name, judge in judges.items() if find(judge, download=False).facts() in behind]
