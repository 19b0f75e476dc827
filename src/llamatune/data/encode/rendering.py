"""Chat templates are programs by strangers: they run in a process of their own, which can be ended.

Jinja's sandbox keeps a template from files and from Python, but not from looping forever or from filling the memory. So
they are rendered by a child process with limits on time, memory and the length of the text. A row costs one exchange
with it, about a tenth of a millisecond.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from typing import Any

SECONDS = 10.0
"""Most seconds of a processor that the rendering of a row may take."""

_LOOK_EVERY = 0.1

MEMORY = 1 << 31
"""Address space of the child, in bytes."""

_MOST, _TIMES = 1 << 20, 16
"""A rendered text may have this many characters, plus this many times those of its messages."""


class RenderingError(Exception):
    """A template did not render. `step`: at which step, from 0; `kind`: `refused`, `changed` or `unbounded`."""

    def __init__(self, kind: str, step: int, message: str = "") -> None:
        self.kind = kind
        self.step = step
        super().__init__(message)


def render(
    template: str,
    messages: Sequence[Mapping[str, str]],
    steps: Sequence[tuple[int, bool]],
    tokens: Mapping[str, object],
) -> list[str]:
    """The text that each step adds to the one before it.

    Args:
        messages: role and content of each, as `apply_chat_template` takes them.
        steps: how many of the messages are rendered, and whether a generation prompt follows them.
        tokens: the tokenizer's `special_tokens_map`.

    Raises:
        RenderingError: the template raises, changes what an earlier step rendered, or does not end.
    """
    size = sum(len(text) for message in messages for text in message.values())
    request = {
        "template": template,
        "messages": messages,
        "steps": steps,
        "tokens": tokens,
        "most": _MOST + _TIMES * size,
    }
    reply = _child.ask(json.dumps(request, default=str))
    if "added" in reply:
        return list(reply["added"])
    if reply["error"] == "too long":
        raise RenderingError("unbounded", reply["step"], "its text grows beyond any use")
    raise RenderingError(reply["error"], reply["step"], reply.get("message", ""))


def _processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """What a process has worked. On a busy machine an honest template may have to wait, and is not to blame."""
    import psutil

    try:
        used = psutil.Process(process.pid).cpu_times()
    except psutil.Error:
        return 0.0  # it has ended, and so has its pipe
    return float(used.user + used.system)


class _Child:
    """The rendering process of this process: started when first needed, ended and restarted after trouble."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, request: str) -> dict[str, Any]:
        """One request, one answer."""
        with self._lock:
            process = self._running()
            try:
                return self._exchange(process, request.encode("ascii") + b"\n")
            except BaseException:
                # an answer that nobody waits for must not become that of the next request
                self.end()
                raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            program = str(resources.files("llamatune.data.encode").joinpath("rendering_child.py"))
            self._process = subprocess.Popen(
                [sys.executable, "-P", program, str(MEMORY)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._owner = os.getpid()
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], request: bytes) -> dict[str, Any]:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            raise RenderingError("unbounded", 0, "the process that renders it ended") from None
        until, answer = _processor_seconds(process) + SECONDS, bytearray()
        while not answer.endswith(b"\n"):
            if not select.select([process.stdout], [], [], _LOOK_EVERY)[0]:
                if _processor_seconds(process) >= until:
                    raise RenderingError("unbounded", 0, f"it does not end within {SECONDS:g} seconds")
                continue
            piece = os.read(process.stdout.fileno(), 1 << 20)
            if not piece:
                raise RenderingError("unbounded", 0, "the process that renders it ended")
            answer += piece
        return dict(json.loads(answer))

    def end(self) -> None:
        """End the process, if this process started it."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        process.wait()


_child = _Child()
atexit.register(_child.end)
