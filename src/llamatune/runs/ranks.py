"""Which of the processes of a distributed run this one is: the only reader of RANK, WORLD_SIZE and where they meet."""

from __future__ import annotations

import os
from dataclasses import dataclass


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """This process's number among those of its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def processes() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return rank() == 0


@dataclass(frozen=True)
class MeetingPlace:
    """Where the processes of a run find each other before they have exchanged anything.

    `hosted`: whoever started them answers there; otherwise the first process does. `attempt` is another one each time
    that they are started again.
    """

    host: str
    port: int
    hosted: bool
    attempt: str


def meeting_place() -> MeetingPlace | None:
    """As torchrun, accelerate or `llamatune launch` say; None for a process alone, or started by something else."""
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if processes() == 1 or not host or not port:
        return None
    started = [os.environ.get(f"TORCHELASTIC_{name}", "") for name in ("RUN_ID", "RESTART_COUNT")]
    hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    return MeetingPlace(host, int(port), hosted, "/".join(started))
