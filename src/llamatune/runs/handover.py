"""What a finished stage hands to the next one."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """What a finished stage hands to the next one: files, and the figures that describe them."""

    stage: str
    artefact: str
    """`adapter` or `model`, relative to the run directory."""
    base: str
    steps: int
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
