"""Guards: what stops a run before it wastes the rest of its time, or warns of it.

A guard looks at figures and returns findings; the trainer ends the run or warns. Here are findings, and the guard of
stages that lower a loss; PPO's guards are in `ppo.guards`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from llamatune.errors import DivergedError
from llamatune.outside import checked_number
from llamatune.recipe.stages.common import LossSpikeGuard

_WINDOW = 50
_ENOUGH = 10
"""How many steps a median needs before anything is compared with it."""
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """What a guard found: `text` for the user, and whether the run must end."""

    guard: str
    text: str
    stop: bool


class LossSpike:
    """Looks at the loss of each step. `recent` and `high` are its state. Without settings it finds nothing."""

    def __init__(self, settings: LossSpikeGuard | None) -> None:
        self.settings = settings
        self.recent: deque[float] = deque(maxlen=_WINDOW)
        self.high = 0

    def see(self, step: int, loss: float) -> list[Finding]:
        """Look at the loss of a step, before its update: a finding once it has been too high for too long."""
        if self.settings is None or self.settings.action == "ignore":
            return []
        usual = median(self.recent) if len(self.recent) >= _ENOUGH else math.inf
        limit = usual + self.settings.limit
        if loss <= limit:
            self.high = 0
            self.recent.append(loss)
            return []
        self.high += 1
        if self.high % self.settings.patience:
            return []
        text = (
            f"the loss is {loss:.4g} at step {step}, and was above {limit:.4g} for the last {self.high} "
            f"steps (median before: {usual:.4g})"
        )
        return [Finding("loss_spike", text, self.settings.action == "stop")]

    def last_good(self, step: int) -> int:
        """The last step whose update did not lead to a high loss: a high loss is the work of the update before it, at
        the latest."""
        return step - self.high - 1

    def state(self) -> dict[str, Any]:
        return {"recent": list(self.recent), "high": self.high}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.recent = deque(map(checked_number, state["recent"]), maxlen=_WINDOW)
        self.high = checked_number(state["high"])


def gradient_norm(model: torch.nn.Module) -> float:
    """The norm over all gradients, before clipping."""
    return norm_of(model.parameters())


def norm_of(weights: Iterable[torch.nn.Parameter]) -> float:
    """The norm over the gradients of some weights; 0 without any."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) if gradients else 0.0
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def places(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where rows are in their files; a packed row is made of several."""
    found: list[str] = []
    for row in rows:
        found += row.get("places") or [row["place"]]
    return found


def diverged(
    step: int, what: str, rows: Sequence[Mapping[str, Any]], *, alone: bool, ways_on: str
) -> DivergedError:
    """The error for a loss or gradient that is not finite, naming the rows.

    `alone`: each of the rows gives it by itself; otherwise it came from the batch that they form.
    """
    named = places(rows)
    shown = ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")
    whose = "from" if alone else "somewhere in the batch of"
    return DivergedError(
        "E602",
        f"{what} at step {step}, {whose} {shown}",
        why=f"the update was not made, so the weights are those of step {step - 1}; "
        "every later step would have trained on it",
        hint=f"look at the row{'s' if len(named) > 1 else ''}, lower `optimization.learning_rate`, or train in "
        f"float32; {ways_on}",
    )
