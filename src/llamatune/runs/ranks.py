"""Which of the processes of a distributed run this one is."""

from __future__ import annotations

import sys


def part_processes() -> None:
    """End the processes of a distributed run in order, once all of them are done or stopped.

    Left to the end of the interpreter, a thread of gloo may outlive it, and a run that went well would end by SIGABRT.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
