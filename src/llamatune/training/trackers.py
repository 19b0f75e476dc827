"""Trackers mirror the metrics elsewhere; one that fails must not take the training with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback, get_reporting_integration_callbacks

_EVENTS = [name for name in dir(TrainerCallback) if name.startswith("on_")]


def trackers(names: Sequence[str], folder: Path, warn: Callable[[str], None]) -> list[TrainerCallback]:
    """Upstream's callbacks for these trackers, each guarded; TensorBoard's files go to `folder/tensorboard`."""
    made = [kind() for kind in get_reporting_integration_callbacks(names)]
    for tracker in made:
        if isinstance(tracker, TensorBoardCallback) and tracker.logging_dir is None:
            tracker.logging_dir = str(folder / "tensorboard")
    return [Guarded(tracker, name, warn) for name, tracker in zip(names, made, strict=True)]


class Guarded(TrainerCallback):  # type: ignore[misc]
    """Passes every event on to a tracker until the tracker fails; then warns once and goes on without it."""

    def __init__(self, tracker: TrainerCallback, name: str, warn: Callable[[str], None]) -> None:
        self.tracker: TrainerCallback | None = tracker
        self.name = name
        self.warn = warn

    def _pass_on(self, event: str, *args: Any, **kwargs: Any) -> None:
        if self.tracker is None:
            return
        try:
            getattr(self.tracker, event)(*args, **kwargs)
        except Exception as error:  # whatever a third party's client raises
            self.tracker = None
            self.warn(
                f"{self.name} failed ({type(error).__name__}: {error}) and is left out from here on; "
                "metrics.jsonl is complete"
            )


def _passing_on(event: str) -> Callable[..., None]:
    def pass_on(self: Guarded, *args: Any, **kwargs: Any) -> None:
        self._pass_on(event, *args, **kwargs)

    return pass_on


for _event in _EVENTS:
    setattr(Guarded, _event, _passing_on(_event))
