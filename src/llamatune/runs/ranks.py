"""Which of the processes of a distributed run this one is: the only reader of RANK and WORLD_SIZE."""

from __future__ import annotations

import os
import sys


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes the run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return rank() == 0


def wait_for_all() -> None:
    """Wait until all processes of a distributed run are here, where they have met before."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def part_processes() -> None:
    """End the processes of a distributed run in order, once all of them are done or stopped.

    Left to the end of the interpreter, a thread of gloo may outlive it, and a run that went well would end by SIGABRT.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
