"""The folder of a pipeline: the runs of its steps, and a record of what was done.

pipeline.yaml   the pipeline's recipe, overrides included
pipeline.json   its steps, those that it has begun, and what each start did
report.html     all of it to look at
NAME/           the run of a step; those of rounds in round-1/NAME, round-2/NAME ...
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.parsing.yaml import to_yaml
from llamatune.recipe.paths import PIPELINE_MARKER
from llamatune.runs.due import Due
from llamatune.runs.files import read_json, write_atomic, write_json
from llamatune.runs.ranks import is_main
from llamatune.runs.report.steps import PIPELINE_RECORD

_STARTS = 50
"""How many starts the record keeps."""


@dataclass
class PipelineRecord:
    """What `pipeline.json` holds. `begun`: steps whose runs are the pipeline's own, to be replaced when they are out of
    date; `starts`: what each start did, the newest last."""

    folder: Path
    begun: list[str] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> PipelineRecord:
        """An empty record where there is none, or where it was damaged."""
        content = read_json(folder / PIPELINE_RECORD) or {}
        begun, starts = content.get("begun"), content.get("starts")
        return cls(
            folder,
            [one for one in begun if isinstance(one, str)] if isinstance(begun, list) else [],
            [one for one in starts if isinstance(one, dict)] if isinstance(starts, list) else [],
        )

    def open(self, pipeline: Pipeline) -> None:
        """Note a start of a pipeline in its folder, and that this is one."""
        if is_main():
            write_atomic(
                self.folder / PIPELINE_MARKER, to_yaml(pipeline.recipe.model_dump(exclude_none=True))
            )
        self.steps = [
            {
                "name": step.name,
                "stage": step.recipe.stage,
                "recipe": step.called,
                "needs": list(step.needs),
            }
            for step in pipeline.steps
        ]
        self.starts = [*self.starts, {"started": time.time(), "steps": {}}][-_STARTS:]
        self.write()

    def begin(self, name: str, due: Due) -> None:
        """Note that a step runs now, and why."""
        if name not in self.begun:
            self.begun.append(name)
        self.starts[-1]["steps"][name] = {"did": due.doing.value, "why": due.why}
        self.write()

    def end(self, name: str, seconds: float) -> None:
        """Note that a step has run, and how long."""
        self.starts[-1]["steps"][name]["seconds"] = round(seconds, 1)
        self.write()

    def reuse(self, name: str) -> None:
        """Note that a step did not have to run."""
        self.starts[-1]["steps"][name] = {"did": "done"}

    def write(self) -> None:
        """Only the first process of a distributed run writes."""
        content = {"format": 1, "steps": self.steps, "begun": self.begun, "starts": self.starts}
        if is_main():
            write_json(self.folder / PIPELINE_RECORD, content)
