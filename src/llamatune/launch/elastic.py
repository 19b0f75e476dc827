"""Start the processes of a run on this machine, by torch elastic, and say how they ended.

Each process is `llamatune run` as it would be alone. Signals are handed on to all of them, once: they finish their step
together, save and end; then the same command goes on. A process that is killed ends the others.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from llamatune.error_codes import EXIT_CODES
from llamatune.errors import LostProcessError, RecipeError, StoppedError, WaitsForPeople
from llamatune.launch.nodes import WAIT, Nodes, address, gather
from llamatune.runs.status import Status
from llamatune.wording import counted

SAVING = 900
"""Seconds that processes have to end in once another of their machine has ended: time to write a checkpoint."""
_HANDED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1)
_LOOK = 2.0
_LEFT_ALONE = 30.0
"""Seconds after which torch elastic should know that its processes have ended, unless it waits for a machine that is
gone."""
_LOST = LostProcessError.exit_code
_STOPPED = (StoppedError.exit_code, 130, WaitsForPeople.exit_code)


@dataclass(frozen=True)
class Ended:
    """How the first process that failed did so: its number, and its exit code (negative: the signal that killed it);
    None where all went well."""

    number: int | None = None
    code: int = 0


def start(
    arguments: Sequence[str],
    *,
    devices: int,
    nodes: Nodes,
    output: Path,
    restarts: int,
    say: Callable[[str], None],
    wait: float = WAIT,
) -> int:
    """Run `llamatune run` with these arguments in `devices` processes on this machine.

    Args:
        output: the run's directory, where it is read how far a process that died had come.
        restarts: how often to start again after a process was lost; never after a request to stop or a mistake of the
            user, which would come again.

    Returns:
        The exit code: that of the processes, or what LostProcessError has if one died.

    Raises:
        LostProcessError: E904, a machine does not come, or a process died and `restarts` are used up.
        RecipeError: E905, machines that do not go together.
    """
    own, interface = address(nodes)
    if nodes.count > 1:
        say(
            f"this is machine {nodes.number} of {nodes.count}, {own} on {interface or 'an unknown interface'}"
        )
        if interface is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        if chosen := os.environ.get("NCCL_SOCKET_IFNAME"):
            say(f"NCCL_SOCKET_IFNAME is {chosen}")
    store = gather(nodes, devices, say, wait)
    threads = max((os.cpu_count() or 1) // devices, 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    logs = Path(tempfile.mkdtemp(prefix="llamatune-processes-"))
    for attempt in range(restarts + 1):
        job = _Job(_config(devices, nodes, own, attempt, wait, logs), arguments)
        ended = job.run(say)
        if ended.number is None or ended.code in _STOPPED or job.asked:
            shutil.rmtree(logs, ignore_errors=True)
            return 0 if ended.number is None else ended.code
        if not _is_loss(ended.code) or attempt == restarts:
            break
        say(f"{_what(ended, output)}; starting again from the last checkpoint")
    del store  # until here, since the first machine hosts it
    if devices > 1:
        say(f"what the processes printed that are not in view: {logs}")
    if _is_loss(ended.code) and ended.code != _LOST:
        raise LostProcessError("E904", _what(ended, output), why=job.last_words(ended), place=str(output))
    words = job.last_words(ended)
    if words and ended.number:
        say(f"process {ended.number} ended with {ended.code}; its last words:\n{words}")
    return ended.code if ended.code > 0 else 1


def devices_here(asked: int | None, *, cpu: bool, key: str = "hardware.devices") -> int:
    """How many processes to start on this machine: as asked by this key, or one for each of its cards.

    Raises:
        RecipeError: E025, nothing says how many, or there are fewer cards.
    """
    import torch

    cards = 0 if cpu else torch.cuda.device_count()
    if asked is None and not cards:
        raise RecipeError(
            "E025",
            "there is no GPU here, so nothing says how many processes to start",
            place="hardware.devices",
            hint="add --devices 2, or set `hardware.devices`",
        )
    if asked is not None and cards and asked > cards:
        raise RecipeError(
            "E025",
            f"{asked} processes, and this machine has {counted(cards, 'card')}",
            place=key,
            why="each process has a card of its own",
            hint=f"use at most {cards}, or `hardware.device=cpu`",
        )
    return asked or cards


def _config(devices: int, nodes: Nodes, own: str, attempt: int, wait: float, logs: Path) -> Any:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, Std
    from torch.distributed.launcher.api import LaunchConfig

    quiet: Any = {one: Std.ALL for one in range(1, devices)} or Std.NONE
    return LaunchConfig(
        min_nodes=nodes.count,
        max_nodes=nodes.count,
        nproc_per_node=devices,
        run_id=f"{nodes.job}-{attempt}",
        rdzv_backend="c10d",
        rdzv_endpoint=f"{nodes.host}:{nodes.port}",
        rdzv_configs={"is_host": nodes.number == 0, "join_timeout": int(wait), "timeout": int(wait)},
        max_restarts=0,
        monitor_interval=0.2,
        local_addr=own,
        logs_specs=DefaultLogsSpecs(log_dir=str(logs), redirects=quiet),
        **_if_known(LaunchConfig, shutdown_timeout=SAVING),
    )


def _if_known(kind: Any, **arguments: Any) -> dict[str, Any]:
    """Of these arguments those that the installed torch has."""
    return {name: value for name, value in arguments.items() if name in kind.__dataclass_fields__}


@dataclass
class _Job:
    """One attempt. `asked` is whether somebody asked it to stop."""

    config: Any
    arguments: Sequence[str]
    asked: bool = False
    started: bool = False
    failure: BaseException | None = None
    logs: dict[int, str] = field(default_factory=dict)

    def run(self, say: Callable[[str], None]) -> Ended:
        """torch elastic works in a thread of its own: in the main one it would take the signals to itself, and give the
        processes half a minute to save."""
        thread = threading.Thread(target=self._work, daemon=True, name="elastic")
        with self._signals():
            thread.start()
            alone_since: float | None = None
            while thread.is_alive():
                thread.join(_LOOK)
                gone = thread.is_alive() and self._seen_any() and not _workers()
                alone_since = (alone_since or time.monotonic()) if gone else None
                if alone_since is not None and time.monotonic() - alone_since > _LEFT_ALONE:
                    raise LostProcessError(
                        "E904",
                        "the processes of this machine have ended, and the first machine does not answer any more",
                        why="it is gone, or the network between them",
                        hint="what the processes have printed says when; the same command goes on",
                    )
        return self._ended()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals are handed on meanwhile. Once asked to stop, this process ends with what the others end with, however
        often it is asked again."""
        before = {number: signal.signal(number, self._hand_on) for number in _HANDED_ON}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, signal.SIG_IGN if self.asked else old)

    def _seen_any(self) -> bool:
        self.started = self.started or bool(_workers())
        return self.started

    def _work(self) -> None:
        from torch.distributed.launcher.api import elastic_launch

        try:
            elastic_launch(self.config, sys.executable)("-m", "llamatune", "run", *self.arguments)
        except BaseException as error:
            self.failure = error

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        workers = _workers()
        self.asked = True
        for worker in workers:
            worker.send_signal(number)
        if not workers:  # they are not there yet
            os._exit(130 if number == signal.SIGINT else 75)

    def _ended(self) -> Ended:
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        if self.failure is None:
            return Ended()
        if not isinstance(self.failure, ChildFailedError):
            raise LostProcessError(
                "E904",
                f"the processes could not be started: {type(self.failure).__name__}: {self.failure}",
                hint="start `llamatune launch` on all machines within the time that --wait gives",
            ) from self.failure
        codes = {number: one.exitcode for number, one in self.failure.failures.items()}
        self.logs = {number: _log_of(one) for number, one in self.failure.failures.items()}
        return first_cause(codes)

    def last_words(self, ended: Ended) -> str | None:
        """The end of what a process that was not in view has printed."""
        file = self.logs.get(ended.number or 0)
        if not file or not Path(file).is_file():
            return None
        lines = Path(file).read_text("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-12:]) or None


def _log_of(failure: Any) -> str:
    return str(Path(failure.error_file).parent / "stderr.log") if failure.error_file else ""


def first_cause(codes: Mapping[int, int]) -> Ended:
    """Of processes that failed, one whose end led to the others': killed by a signal before one that lost its
    connection to it."""

    def weight(number: int) -> tuple[int, int]:
        code = codes[number]
        killed = code < 0 and code != -signal.SIGTERM
        return (0 if killed else 3 if code == -signal.SIGTERM else 2 if code == _LOST else 1, number)

    number = min(codes, key=weight)
    return Ended(number, codes[number])


def _is_loss(code: int) -> bool:
    """Whether a process was killed, or found that another was: the same command may go well."""
    return code < 0 or code == _LOST or code not in EXIT_CODES


def _what(ended: Ended, output: Path) -> str:
    how = (
        f"was killed by {signal.Signals(-ended.code).name}" if ended.code < 0 else f"ended with {ended.code}"
    )
    status = Status.read(output)
    at = f" at about step {status.step} of {status.total_steps}" if status.total_steps else ""
    return f"process {ended.number} {how}{at}; the others were stopped"


def _workers() -> list[Any]:
    """The processes that were started here: each leads a session of its own."""
    import psutil

    found = []
    for child in psutil.Process().children():
        try:
            if os.getsid(child.pid) == child.pid and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except (OSError, psutil.Error):
            continue
    return found
