"""The processes of a stage that makes data: they share its parts out, and go on when all are there."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator

from llamatune.forward.processes import together
from llamatune.models.placement import Placement
from llamatune.runs.display import Display
from llamatune.runs.run import Run
from llamatune.runs.shards import InParts


class Crew:
    """All processes of a run; make it before anything is loaded, since it gives each process its device.

    Args:
        placement: where the run's models are. Processes without a GPU meet only if accelerate is told so.

    Attributes:
        parts: how many parts this process's share of the work so far had.
    """

    def __init__(self, run: Run, display: Display, placement: Placement) -> None:
        self.run = run
        self.display = display
        self.accelerator = Accelerator(cpu=placement.device == "cpu")
        assert self.accelerator.num_processes == placement.processes, (
            "processes that would not wait for each other"
        )
        self.parts = 0

    def make(self, work: InParts[Any], what: str) -> None:
        """Do this process's share of some work, and wait for the others.

        Raises:
            StoppedEarly: somebody asked this process or another one to stop; what was made is there.
            LlamatuneError: whatever went wrong, here or in another process.
        """
        before = self.parts
        self.run.stop.doing = lambda: f"{what}, part {self.parts - before + 1}"

        def done(count: int, of: int) -> None:
            self.parts = before + count
            self.run.beat(self.parts, before + of)
            self.display.part(what, count, of)
            look()

        with together(self.accelerator) as look:
            work.make(stop=self.run.stop, say=self.display.say, done=done)
