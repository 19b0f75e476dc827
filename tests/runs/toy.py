"""Runs of a toy stage: everything of a run directory is real, and nothing is trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llamatune.recipe.load import loads
from llamatune.runs.handover import Result
from llamatune.runs.opening import open_run
from llamatune.runs.run import Run


def recipe_of(output: str, **changes: Any) -> Any:
    content = {"stage": "sft", "output": output, "data": {"train": [{"path": "rows.jsonl"}]}, **changes}
    return loads(json.dumps(content))


def toy_stage(
    output: str,
    *,
    facts: dict[str, Any] | None = None,
    files: dict[str, str] | None = None,
    until: Callable[[Run], None] = lambda run: None,
    changes: dict[str, Any] | None = None,
    **how: Any,
) -> Result:
    """Run it to its end: it writes `files`, of which the first is its artefact, after `until` has done its worst."""
    files = files or {"adapter/weights": "1 2 3"}
    facts = facts or {"data": {"train": [{"sha256": ["a"]}]}, "base": {"fingerprint": "b"}}
    with open_run(recipe_of(output, **(changes or {})), recipe_dir=Path(), facts=lambda: facts, **how) as run:
        if run.done is not None:
            return run.done
        run.made_from(facts)
        until(run)
        for name, text in files.items():
            (run.directory / name).parent.mkdir(exist_ok=True)
            (run.directory / name).write_text(text)
        artefact, *leaves = dict.fromkeys(name.partition("/")[0] for name in files)
        return run.finish(Result("sft", artefact, "pico", steps=3, seconds=1.5), leaves)
