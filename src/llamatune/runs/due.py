"""Which steps of a pipeline have to run, and why: decided from the graph and from what is there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal


@dataclass(frozen=True)
class Standing:
    """How far a run has come. `changed`: what it would not be made from any more, as `key: old -> new`."""

    state: Literal["absent", "unfinished", "finished"]
    changed: tuple[str, ...] = ()


class Doing(Enum):
    """What becomes of a step."""

    REUSE = "done"
    LEAVE = "left as it is"
    START = "runs"
    GO_ON = "goes on"
    AGAIN = "runs again"
    FOLLOW = "runs, unless what it takes comes out the same"

    @property
    def runs(self) -> bool:
        return self not in (Doing.REUSE, Doing.LEAVE)


@dataclass(frozen=True)
class Due:
    """What becomes of a step, and why."""

    doing: Doing
    why: str = ""


def due(
    needs: Mapping[str, Sequence[str]],
    standing: Mapping[str, Standing],
    chosen: Collection[str] | None = None,
) -> dict[str, Due]:
    """What becomes of each step.

    Args:
        needs: name -> the steps that it takes something from; each comes after those that it needs.
        standing: of each step, as far as is known before anything runs.
        chosen: steps that may run; all when None.
    """
    found: dict[str, Due] = {}
    for name, needed in needs.items():
        found[name] = _due(standing[name], [one for one in needed if found[one].doing.runs])
        if chosen is not None and name not in chosen and found[name].doing.runs:
            found[name] = Due(Doing.LEAVE, found[name].why)
    return found


def _due(standing: Standing, running: Sequence[str]) -> Due:
    """`running`: those of the steps that it needs which run."""
    if standing.state == "absent":
        return Due(Doing.START)
    if standing.changed:
        more = len(standing.changed) - 1
        return Due(Doing.AGAIN, standing.changed[0] + (f", and {more:,} more" if more else ""))
    if running:
        return Due(Doing.FOLLOW, f"takes from {', '.join(running)}")
    if standing.state == "unfinished":
        return Due(Doing.GO_ON)
    return Due(Doing.REUSE)


def depending(needs: Mapping[str, Sequence[str]], on: str) -> frozenset[str]:
    """A step, and all that take something from it, directly or not."""
    found = {on}
    for name, needed in needs.items():
        if found & set(needed):
            found.add(name)
    return frozenset(found)
