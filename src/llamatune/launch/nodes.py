"""The machines of a run: which of them this is, how it reaches the first, and whether all of them have come."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llamatune.errors import LostProcessError, RecipeError
from llamatune.launch.store import connect
from llamatune.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from llamatune.launch.store import Store

WAIT = 120.0
"""Seconds in which all machines have to come."""
_LOOK = 0.5


@dataclass(frozen=True)
class Nodes:
    """`number` of `count` machines, which meet at `host`:`port`, a port of the first. `job` tells apart several runs
    that meet there."""

    count: int = 1
    number: int = 0
    host: str = "localhost"
    port: int = 0
    job: str = "llamatune"


def nodes_of(count: int, number: int | None, rendezvous: str | None, job: str) -> Nodes:
    """From the command line.

    Raises:
        RecipeError: E027, what does not go together.
    """
    if count == 1:
        if rendezvous is not None or number:
            raise _odd(
                "--rendezvous and --node-rank are for several machines", "add --nodes 2, or remove them"
            )
        return Nodes(job=job)
    if number is None or rendezvous is None:
        raise _odd(
            f"of {counted(count, 'machine')}, each has to know its number and where they meet",
            "add --node-rank 0 on the first, 1 on the next, and --rendezvous FIRST:29400 on all",
        )
    if number >= count:
        raise _odd(
            f"--node-rank {number} of {counted(count, 'machine')}", f"numbers go from 0 to {count - 1}"
        )
    host, _, port = rendezvous.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise _odd(
            f"--rendezvous `{rendezvous}` is no HOST:PORT", "give the first machine: node1.cluster:29400"
        )
    return Nodes(count, number, host.strip("[]"), int(port), job)


def _odd(what: str, hint: str) -> RecipeError:
    return RecipeError("E027", what, place="llamatune launch", hint=hint)


def address(nodes: Nodes) -> tuple[str, str | None]:
    """This machine's address on the way to the first one, and the network interface that has it.

    Raises:
        LostProcessError: E904, the first machine's name is not known here.
    """
    if nodes.count == 1:
        return "localhost", None
    try:
        family, kind, _, _, there = socket.getaddrinfo(nodes.host, nodes.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(there)  # sends nothing: the kernel only chooses the way
            own = str(probe.getsockname()[0])
    except OSError as error:
        raise LostProcessError(
            "E904",
            f"`{nodes.host}`, where the machines meet, cannot be reached: {error.strerror or error}",
            place="--rendezvous",
            hint="give the first machine by a name or an address that all of them know",
        ) from None
    return own, _interface(own)


def _interface(own: str) -> str | None:
    import psutil

    found = (
        name
        for name, addresses in psutil.net_if_addrs().items()
        if any(one.address.partition("%")[0] == own for one in addresses)
    )
    return next(found, None)


def gather(nodes: Nodes, devices: int, say: Callable[[str], None], wait: float = WAIT) -> Store | None:
    """Wait until all machines are here; keep what is returned until the run is over, since the first hosts it.

    Raises:
        LostProcessError: E904, a machine has not come, and which; or this one's number is taken, by another machine or
            by one in whose place it is started again too early.
        RecipeError: E905, machines with different ideas of how many there are.
    """
    if nodes.count == 1:
        return None
    store = _open(nodes, wait)
    here = {"host": socket.gethostname(), "pid": os.getpid(), "count": nodes.count, "devices": devices}
    name = f"llamatune/nodes/{nodes.job}"
    if store.add(f"{name}/{nodes.number}/taken", 1) > 1:
        # Kubernetes starts a pod again while the others have not yet ended: that goes well a little later.
        raise LostProcessError(
            "E904",
            f"another machine is number {nodes.number}, too, or was until the others lost it",
            place="--node-rank",
            why="each machine has a number of its own, and each run a --job of its own where they meet",
            hint=f"give each another one of 0 to {nodes.count - 1}; in the place of one that was lost, the same "
            "command goes on once the others have ended",
        )
    store.set(f"{name}/{nodes.number}", json.dumps(here))
    deadline = time.monotonic() + wait
    missing = list(range(nodes.count))
    while missing := [one for one in missing if not store.check([f"{name}/{one}"])]:
        if time.monotonic() >= deadline:
            raise _missing(nodes, missing, store, name, wait)
        time.sleep(_LOOK)
    found: list[dict[str, Any]] = [json.loads(store.get(f"{name}/{one}")) for one in range(nodes.count)]
    _check_alike(found)
    say(
        f"machines {', '.join(one['host'] for one in found)}: {counted(devices, 'process', 'processes')} on each"
    )
    return store


def _open(nodes: Nodes, wait: float) -> Store:
    try:
        return connect(nodes.host, nodes.port, hosts=nodes.number == 0, seconds=wait)
    except Exception as error:
        first = nodes.number == 0
        raise LostProcessError(
            "E904",
            f"port {nodes.port} cannot be opened on this machine"
            if first
            else f"machine 0 has not come: nobody answers at {nodes.host}:{nodes.port} within {wait:g} seconds",
            place="--rendezvous",
            why=str(error).strip().splitlines()[0][:200],
            hint="choose another port"
            if first
            else "start the first machine too, and let its port through to this one",
        ) from None


def _missing(nodes: Nodes, missing: list[int], store: Store, name: str, wait: float) -> LostProcessError:
    there = [one for one in range(nodes.count) if one not in missing]
    here = [f"{one} ({json.loads(store.get(f'{name}/{one}'))['host']})" for one in there]
    who = ", ".join(map(str, missing))
    return LostProcessError(
        "E904",
        f"machine{'s' if len(missing) > 1 else ''} {who} of {nodes.count} "
        f"{'have' if len(missing) > 1 else 'has'} not come within {wait:g} seconds",
        place="--nodes",
        why=f"here are {', '.join(here)}",
        hint=f"start `llamatune launch` with --node-rank {missing[0]} there, and let it reach "
        f"{nodes.host}:{nodes.port}; --wait gives it more time",
    )


def _check_alike(found: list[dict[str, Any]]) -> None:
    for what, option in (("count", "--nodes"), ("devices", "--devices")):
        if len({one[what] for one in found}) > 1:
            told = ", ".join(f"{one['host']} says {one[what]}" for one in found)
            raise RecipeError(
                "E905",
                f"the machines differ in {option}: {told}",
                place=option,
                hint=f"give all the same {option}",
            )
