"""The small table that processes and machines share before they exchange anything else: torch's TCPStore."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    Store = TCPStore


def connect(host: str, port: int, *, hosts: bool, seconds: float) -> Store:
    """A connection to the store at that place, which this process opens there if it `hosts` it. Raises what torch
    raises, at the latest after so many seconds."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    # torch opens the same place again for the process group.
    return TCPStore(
        host,
        port,
        is_master=hosts,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
        multi_tenant=True,
    )
