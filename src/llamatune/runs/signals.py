"""Ask a run to stop, and let it finish its step.

SIGTERM, SIGHUP and the first Ctrl-C are requests: the step ends, everything is saved once, the process exits with
75 (130 after Ctrl-C) and the same command goes on later. A second Ctrl-C ends at once; that loses at most the
steps since the last checkpoint, because a checkpoint exists only when it is whole.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_REQUESTS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class StopRequest:
    """Whether somebody asked the run to stop. `signal` is the first signal that came, or None."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.can_wait = False
        """True while there is something to save, so that a request waits for the end of the step."""

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
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

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
            raise KeyboardInterrupt
        if not self.can_wait and not again:
            raise StoppedEarly


class StoppedEarly(BaseException):
    """A request to stop ends the work here: by itself, before there was anything to save; `str` says where. Not an
    Exception: nothing may swallow it."""

    def __init__(self, when: str = "before there was anything to save") -> None:
        super().__init__(when)
