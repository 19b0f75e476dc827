"""Ask a run to stop, and let it finish its step.

SIGTERM, SIGHUP, SIGUSR1 and the first Ctrl-C are requests: the step ends, everything is saved once, the process exits
with 75 (130 after Ctrl-C), and the same command resumes the run later. A second Ctrl-C ends at once; that loses at most
the steps since the last checkpoint, because a checkpoint exists only when it is whole.

Python hears of a signal between two of its own instructions, and a step may be one long call into C. So a thread of its
own answers: it says at once what will happen, and where a second Ctrl-C is not heard, it ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_REQUESTS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT)
"""SIGUSR1 is what batch systems send some time before the limit."""
_PATIENCE = 1.0
"""Seconds in which a second Ctrl-C has to be heard."""
_REPEATED = 0.1
"""Seconds after which it is sent again: two that come before Python has heard of the first are one to it."""


class StopRequest:
    """Whether somebody asked the run to stop. `signal` is the first signal that came, or None."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.can_wait = False
        """True while there is something to save, so that a request waits for the end of the step."""
        self.doing: Callable[[], str] = lambda: "what is under way"
        """What a request waits for, in words."""
        self.give_up: Callable[[], None] = lambda: None
        """The last thing before the process is ended in the middle of a call into C."""
        self._heard = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Catch the signals; outside the main thread, where Python cannot, they keep their usual effect.

        A signal that is ignored on entry (`nohup`) stays ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before: dict[signal.Signals, Any] = {}
        for number in _REQUESTS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, self._receive)
        try:
            with self._answering():
                yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Let a thread read the numbers of signals, which C writes into a pipe as they come."""
        numbers, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        thread = threading.Thread(target=self._answer, args=(numbers,), daemon=True, name="signals")
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(wakeup)  # which ends the thread
            thread.join()
            os.close(numbers)

    def _answer(self, numbers: int) -> None:
        asked = insisted = False
        while received := os.read(numbers, 64):
            for number in received:
                if number not in _REQUESTS or signal.getsignal(number) != self._receive:
                    continue
                if not asked:
                    again = "again" if number == signal.SIGINT else "Ctrl-C"
                    then = (
                        f"finishing {self.doing()} and saving; {again} to stop at once"
                        if self.can_wait
                        else "stopping"
                    )
                    _tell(f"{signal.Signals(number).name}: {then}")
                elif number == signal.SIGINT and not insisted:
                    insisted = True
                    _tell("stopping at once")
                    self._insist()
                asked = True

    def _insist(self) -> None:
        """Make Python hear of a second Ctrl-C, or end the process."""
        main = threading.main_thread().ident
        assert main is not None, "it listens"
        last = time.monotonic() + _PATIENCE
        while not self._heard.wait(_REPEATED):
            if time.monotonic() > last:
                self.give_up()
                _tell("stopped")
                os._exit(130)
            signal.pthread_kill(main, signal.SIGINT)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While inside, a request waits until the run looks at `signal`."""
        self.can_wait = True
        try:
            yield
        finally:
            self.can_wait = False

    @property
    def exit_code(self) -> int:
        return 130 if self.signal == signal.SIGINT else 75

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = self.signal is not None
        self.signal = self.signal or signal.Signals(number)
        if number == signal.SIGINT and again:
            self._heard.set()
            raise KeyboardInterrupt
        if not self.can_wait and not again:
            raise StoppedEarly


def _tell(text: str) -> None:
    """On a line of its own, even under a progress bar; not through Python's streams, whose locks others hold."""
    # A bar hides the cursor, and nothing shows it again if this is the last line.
    line = f"\r\x1b[K\x1b[?25h{text}\n" if sys.stderr.isatty() else f"{text}\n"
    with suppress(OSError):  # nobody may be listening
        os.write(2, line.encode())


class StoppedEarly(BaseException):
    """A request to stop ends the work here: by itself, before there was anything new to save; `str` says where. Not an
    Exception: nothing may swallow it."""

    def __init__(self, when: str = "before there was anything new to save") -> None:
        super().__init__(when)
