"""Before anything is loaded, the processes of a run meet: all are here, and all are about to do the same.

What differs between machines would not show by itself: another recipe trains another model in each process, another
version of a library another number in the last digits, and a gradient that is the mean of the two. So each process says
what it is about to run; the first compares, and all of them end with the same words if it is not the same.

They meet in the store that torchrun, accelerate and `llamatune launch` give them, and not in a collective: a process
that does not come is found out, and whoever reads and encodes data for an hour does not run into a collective's limit.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from llamatune.errors import LlamatuneError, LostProcessError, Problem, RecipeError
from llamatune.launch.store import connect
from llamatune.recipe.stages.common import StageRecipe
from llamatune.runs.files import size
from llamatune.runs.manifest import differences, environment, flatten
from llamatune.runs.ranks import is_main, local_rank, meeting_place, processes, rank
from llamatune.runs.status import busy, reached
from llamatune.wording import counted

if TYPE_CHECKING:
    from llamatune.launch.store import Store

PATIENCE = 600.0
"""Seconds in which the processes have to come: longer than importing takes on a busy network disk."""
_LONG = timedelta(days=7)
"""For what takes as long as it takes: hashing files, encoding rows. A process that dies ends the others."""
_UNEQUAL = 0.05
_SHOWN = 12
_LOOK = 0.1
_meetings, _joints = itertools.count(), itertools.count()
_hosted: list[Store] = []
"""What this process hosts lives as long as it does: the others may not be done with it."""


def open_store(seconds: float) -> Store | None:
    """A connection to where the processes meet; None where there is one process, or nobody gave them a place.

    Raises:
        LostProcessError: E904, nobody answers there.
    """
    place = meeting_place()
    if place is None:
        return None
    hosts = rank() == 0 and not place.hosted
    try:
        store = connect(place.host, place.port, hosts=hosts, seconds=seconds)
    except Exception as error:
        raise LostProcessError(
            "E904",
            f"nobody answers at {place.host}:{place.port}, where the processes of this run meet",
            why=f"process {rank()} on {socket.gethostname()} tried for {seconds:g} s",
            hint="the first machine must be running, and its port open to this one",
        ) from error
    if hosts and not _hosted:
        _hosted.append(store)
    return store


def meet(recipe: StageRecipe, facts: Callable[[], Mapping[str, Any]]) -> list[str]:
    """Wait for all processes of this run, and make sure that they are about to do the same.

    Args:
        facts: gathers the hashes of data and models; called in one process of each machine.

    Returns:
        What the user should know: cards of unequal memory.

    Raises:
        LostProcessError: E904, a process does not come.
        RecipeError: E905, one of them has another recipe, other data, models or versions; in all of them.
        LlamatuneError: what gathering the facts raises, in that process.
    """
    if meeting_place() is None:
        return []
    store = open_store(PATIENCE)
    assert store is not None
    table = _Table(store, f"llamatune/meeting/{meeting_place()}/{next(_meetings)}", PATIENCE)
    table.arrive()
    try:
        known = _about(recipe) | ({"facts": flatten(dict(facts()))} if local_rank() == 0 else {})
    except LlamatuneError as error:
        table.say({"failed": str(error)})
        raise
    table.say(known)
    problems, notices = table.decided()
    if problems:
        raise RecipeError.of(problems)
    return notices


class Joint:
    """A point of a run that its processes reach after work of unequal length, and leave together; made by all of them,
    in the same order.

    A collective would give up after ten or thirty minutes, and one process may have hours of sampling left where
    another has none. A process that dies meanwhile ends the others.
    """

    def __init__(self) -> None:
        self._name = f"llamatune/joint/{meeting_place()}/{next(_joints)}"
        self._reached = False

    def call_off(self) -> None:
        """Let the others know that there is nothing more to work for; they look between two pieces of their work."""
        _kept_open().set(f"{self._name}/off", "")

    @property
    def is_off(self) -> bool:
        """Whether one of them has called it off."""
        return bool(_kept_open().check([f"{self._name}/off"]))

    def wait(self) -> None:
        """Until all processes wait here, however long that takes. A request to stop is heard meanwhile; whoever was
        stopped by one may wait again."""
        if meeting_place() is None:
            return
        store, name = _kept_open(), self._name
        store.set(f"{name}/{rank()}", "")
        awaited = [f"{name}/{one}" for one in range(processes())] if is_main() else [f"{name}/all"]
        pause = _LOOK / 64  # most of the time the others are almost there
        if not self._reached:
            self._reached = True
            reached()
        with busy("waiting for the others"):
            while not store.check(awaited):
                time.sleep(pause)
                pause = min(2 * pause, _LOOK)
        if is_main():
            store.set(f"{name}/all", "")


def all_here() -> None:
    """Wait until all processes of this run have come this far, however long that takes."""
    Joint().wait()


def wait_for_all() -> None:
    """Wait until all processes of a distributed run are here, where they have met before."""
    if _have_met():
        all_here()


def part_processes() -> None:
    """End the processes of a distributed run in order, once all of them are done or stopped.

    Left to the end of the interpreter, a thread of gloo may outlive it, and a run that went well would end by SIGABRT.
    """
    if _have_met():
        all_here()
        torch = sys.modules["torch"]
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _have_met() -> bool:
    """Whether they exchange tensors. torch is not imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.distributed.is_available() and bool(torch.distributed.is_initialized())


@cache
def _kept_open() -> Store:
    store = open_store(PATIENCE)
    assert store is not None, "there are several processes, which were told where to meet"
    return store


def _about(recipe: StageRecipe) -> dict[str, Any]:
    return {
        "recipe": flatten(recipe.model_dump(mode="json")),
        "versions": environment()["versions"],
        "memory": _card_memory() if recipe.hardware.device == "auto" else None,
    }


def _card_memory() -> int | None:
    import torch

    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.get_device_properties(local_rank()).total_memory)


class _Table:
    """What each process has laid down, and what the first makes of it."""

    def __init__(self, store: Store, name: str, seconds: float) -> None:
        self._store, self._name, self._seconds = store, name, seconds

    def arrive(self) -> None:
        """Say that this process is here, and wait: the first for all others, they for the first."""
        self._set(f"here/{rank()}", {"host": socket.gethostname(), "pid": os.getpid()})
        awaited = range(processes()) if rank() == 0 else [0]
        try:
            self._store.wait(
                [f"{self._name}/here/{one}" for one in awaited], timedelta(seconds=self._seconds)
            )
        except Exception as error:
            missing = [one for one in awaited if not self._store.check([f"{self._name}/here/{one}"])]
            raise self._nobody_more(missing) from error

    def _nobody_more(self, missing: list[int]) -> LostProcessError:
        here = [
            self._who(one)
            for one in range(min(processes(), 64))
            if self._store.check([f"{self._name}/here/{one}"])
        ]
        named = ", ".join(map(str, missing[:_SHOWN])) + (" ..." if len(missing) > _SHOWN else "")
        return LostProcessError(
            "E904",
            f"{counted(len(missing), 'process has', 'processes have')} not come within {self._seconds:g} seconds, of "
            f"{processes()}: number {named}",
            why=f"here are {', '.join(here)}",
            hint="look at what the missing ones print on their machines; the same command starts again",
        )

    def say(self, known: Mapping[str, Any]) -> None:
        self._set(f"known/{rank()}", known)

    def decided(self) -> tuple[list[Problem], list[str]]:
        """What is wrong, and what the user should know; the same in all processes."""
        if rank() == 0:
            known = [self._get(f"known/{one}") for one in range(processes())]
            decided = {
                "problems": [asdict(one) for one in self._problems(known)],
                "notices": unequal_cards(known),
            }
            self._set("decided", decided)
        decided = self._get("decided")
        return [Problem(**one) for one in decided["problems"]], decided["notices"]

    def _problems(self, known: list[dict[str, Any]]) -> list[Problem]:
        found = []
        for number, other in enumerate(known):
            if "failed" in other:
                found.append(Problem("E905", f"{self._who(number)} cannot start: {other['failed']}"))
        if found:
            return found[:_SHOWN]
        for number, other in enumerate(known[1:], 1):
            for block in ("recipe", "versions", "facts"):
                if block not in other:
                    continue
                for key, change in differences(known[0][block], other[block]).items():
                    what = f"{self._who(0)} and {self._who(number)} differ in `{key}`: {change}"
                    found.append(Problem("E905", what, place=_PLACES[block]))
        return found[:_SHOWN]

    def _who(self, number: int) -> str:
        here = self._get(f"here/{number}")
        return f"process {number} ({here['host']}, {here['pid']})"

    def _set(self, name: str, content: Any) -> None:
        self._store.set(f"{self._name}/{name}", json.dumps(content))

    def _get(self, name: str) -> Any:
        key = f"{self._name}/{name}"
        self._store.wait([key], _LONG)
        return json.loads(self._store.get(key))


_PLACES = {"recipe": "the recipe", "versions": "the installed packages", "facts": "data and models"}


def unequal_cards(known: list[dict[str, Any]]) -> list[str]:
    """A line for the user, if the processes' cards (`memory`, in bytes) differ by more than a twentieth."""
    memory = {number: other["memory"] for number, other in enumerate(known) if other.get("memory")}
    if not memory:
        return []
    least, most = min(memory, key=memory.__getitem__), max(memory, key=memory.__getitem__)
    if memory[least] >= memory[most] * (1 - _UNEQUAL):
        return []
    return [
        f"warning: the cards have unequal memory, {size(memory[least])} in process {least} and {size(memory[most])} in "
        f"process {most}: the smallest decides what fits, so choose `hardware.micro_batch_tokens` for it"
    ]
