"""Processes of one run look after each other: which of them is dead, or stands still, and at which step.

A process that waits for another in a collective waits for half an hour, and then says that a collective took too long.
So a thread in each process lays its position down in the store every few seconds; the first two read all of them. Where
one is silent, or none has moved for `hardware.stuck_after_minutes`, they say who is behind and end their process; who
started the processes ends the others. The same command goes on from the last checkpoint.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llamatune.errors import LlamatuneError, LostProcessError, StoppedError
from llamatune.launch.meeting import open_store
from llamatune.runs.ranks import meeting_place, processes, rank
from llamatune.runs.status import Position, looked_at

if TYPE_CHECKING:
    from llamatune.launch.store import Store

_WATCHERS = 2
"""How many processes read the positions of all."""
_OFTEN = 10.0
_SILENCE = 300.0
"""Seconds without a sign of life, at most: a library may keep Python's lock for a while."""
_ANSWER = 30.0
_GRACE = 15.0
_GOODBYE = 5.0
_STALL = 10.0


@contextmanager
def watched(
    position: Position, stuck_after: float, give_up: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """While inside, this process says where it is, and the first two look whether somebody is lost.

    Args:
        position: where this process is.
        stuck_after: seconds without a move after which the run is ended.
        give_up: the last thing before this process ends itself; is told why.

    Raises:
        LostProcessError: E904, the connection to another process was lost.
    """
    if meeting_place() is None:
        yield
        return
    lookout = Lookout(position, stuck_after, give_up)
    lookout.start()
    failed = None
    try:
        with looked_at(position):
            yield
    except Exception as error:
        failed = None if isinstance(error, StoppedError) else str(error).strip().partition("\n")[0][:500]
        if isinstance(error, LlamatuneError) or not _is_lost_connection(error):
            raise
        raise LostProcessError(
            "E904",
            f"process {rank()} ({socket.gethostname()}, {os.getpid()}) lost its connection to another one at step "
            f"{position.step}, {position.doing or 'between two steps'}",
            why=f"that one has most probably died, and says why itself ({str(error).strip().splitlines()[0][:200]})",
        ) from error
    finally:
        lookout.stop(failed)


def _is_lost_connection(error: Exception) -> bool:
    from torch.distributed import DistError

    said = str(error)
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and ("gloo" in said or "NCCL" in said or "Connection closed" in said)
    )


@dataclass
class Seen:
    """What is known of another process: what it said last, and since when that is the same, by this process's clock.

    `said` is empty while it has not said anything yet.
    """

    said: dict[str, Any] = field(default_factory=dict)
    heard: float = 0.0
    moved: float = 0.0

    def see(self, said: dict[str, Any], now: float) -> None:
        if said.get("beat") != self.said.get("beat"):
            self.heard = now
        if said.get("at") != self.said.get("at"):
            self.moved = now
        self.said = said

    @property
    def at(self) -> tuple[int, int]:
        step, passed, *_ = self.said["at"]
        return step, passed

    @property
    def doing(self) -> str:
        return self.said["at"][2] if self.said else ""

    def describe(self, number: int) -> str:
        if not self.said:
            return f"process {number}"
        step, _, doing, *_ = self.said["at"]
        in_step = f" in step {step}," if step else ""
        return f"process {number} ({self.said['host']}, {self.said['pid']}){in_step} {doing}"


def who_is_lost(seen: dict[int, Seen], now: float, *, stuck_after: float, silence: float) -> str | None:
    """Who is lost, in a sentence; None while all is well.

    Args:
        seen: all processes, by number.
        stuck_after: seconds without a move of any of them.
        silence: seconds without a sign of life.
    """
    for number, one in seen.items():
        # What fails in all of them, each says itself.
        if one.said.get("failed") and now - one.heard > min(_GRACE, silence):
            return f"{one.describe(number)} has failed: {one.said['failed']}"
    here = {number: one for number, one in seen.items() if not one.said.get("ended")}
    silent = {number: one for number, one in here.items() if now - one.heard > silence}
    if silent and len(silent) < len(seen):
        number, one = min(silent.items())
        return (
            f"{one.describe(number).rstrip(', ')} has given no sign of life for {now - one.heard:.0f} seconds"
        )
    if not here or any(now - one.moved <= stuck_after or not one.doing for one in here.values()):
        return None
    # Who misses its beats is the cause, and is named as silent before long.
    if any(now - one.heard > silence / 3 for one in here.values()):
        return None
    last = min(one.at for one in here.values())
    behind = [one.describe(number) for number, one in here.items() if one.at == last]
    others = [one.describe(number) for number, one in here.items() if one.at != last]
    since = min(now - one.moved for one in here.values())
    waiting = f"; the others wait for it: {'; '.join(others[:3])}" if others else ""
    return f"nothing has moved for {since:.0f} seconds: {'; '.join(behind[:8])}{waiting}"


class Lookout:
    """The thread. `start` and `stop` are called once each."""

    def __init__(self, position: Position, stuck_after: float, give_up: Callable[[str], None]) -> None:
        self._position = position
        self._stuck_after = stuck_after
        self._silence = min(max(stuck_after, 10.0), _SILENCE)
        self._give_up = give_up
        self._pause = min(_OFTEN, stuck_after / 4)
        self._ends = threading.Event()
        self._failed: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")
        self._seen: dict[int, Seen] = {}
        self._beats = 0
        self._answered = time.monotonic()
        self._told = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self, failed: str | None = None) -> None:
        self._failed = failed
        self._ends.set()
        self._thread.join(_ANSWER)

    def _run(self) -> None:
        """Look at what is known; the exchange is another thread's, since a store that is cut off answers nothing at
        all."""
        threading.Thread(target=self._exchange, daemon=True, name="watch-exchange").start()
        last = time.monotonic()
        while not self._ends.wait(self._pause):
            now = time.monotonic()
            if now - last > self._pause + _STALL:
                self._forgive(now)
            last = now
            if now - self._answered > self._silence:
                place = meeting_place()
                where = f"{place.host}:{place.port}" if place else "their place"
                self._end(
                    f"process {rank()} ({socket.gethostname()}, {os.getpid()}) is cut off: nobody has answered at "
                    f"{where}, where the processes meet, for {now - self._answered:.0f} seconds"
                )
            found = who_is_lost(dict(self._seen), now, stuck_after=self._stuck_after, silence=self._silence)
            if found is not None:
                self._end(found)
        self._told.wait(_GOODBYE)

    def _forgive(self, now: float) -> None:
        """This process itself was stopped, as a suspended job is, and cannot know how long others were silent."""
        self._answered = now
        for one in self._seen.values():
            one.heard = one.moved = now

    def _exchange(self) -> None:
        """Tell the others where this process is, and hear it of them; at last, that it has ended."""
        store = None
        while True:
            over = self._ends.is_set()
            try:
                store = store or open_store(_ANSWER)
                assert store is not None
                self._say(store, over)
                if rank() < _WATCHERS and not over:
                    self._read(store)
                self._answered = time.monotonic()
            except Exception:
                store = None
            if over:
                break
            self._ends.wait(self._pause)
        self._told.set()

    def _say(self, store: Store, over: bool) -> None:
        self._beats += 1
        position = self._position
        said = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "beat": self._beats,
            "at": [position.step, position.passed, position.doing, position.moves],
            "ended": over,
            "failed": self._failed,
        }
        store.set(_key(rank()), json.dumps(said))

    def _read(self, store: Store) -> None:
        spoken = [
            number for number in range(processes()) if self._has_spoken(number) or store.check([_key(number)])
        ]
        texts = dict(zip(spoken, store.multi_get(list(map(_key, spoken))), strict=True))
        now = time.monotonic()
        for number in range(processes()):
            one = self._seen.setdefault(number, Seen(heard=now, moved=now))
            if number in texts:
                one.see(json.loads(texts[number]), now)

    def _has_spoken(self, number: int) -> bool:
        return number in self._seen and bool(self._seen[number].said)

    def _end(self, text: str) -> None:
        """End this process in the middle of whatever it waits for; who started the processes ends the others."""
        error = LostProcessError("E904", text)
        with suppress(Exception):
            self._give_up(text)
        with suppress(OSError):
            os.write(2, f"{error}\n".encode())
        sys.stdout.flush()
        os._exit(LostProcessError.exit_code)


def _key(number: int) -> str:
    return f"llamatune/watch/{meeting_place()}/{number}"
