"""Run what a model has written, against a task's tests, in a process that can do nothing else.

The process has no network, cannot write to a file, start another program or signal a process (a seccomp filter), and
has limits of time and memory. It needs Linux on x86-64 or ARM. A limit that cannot be set is an error, never a run
without it; and nothing runs unless the user has said so (`benchmarks.run_code`). It is no prison for code that is out
to break the kernel: for models that nobody knows, use a machine that holds nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from llamatune.errors import ModelError

SECONDS, MEBIBYTES = 10.0, 1024
"""Limits of a program: of processor time (three times as much on the clock), and of memory."""
_CHILD = Path(__file__).with_name("code_child.py")


def passes(program: str, *, seconds: float = SECONDS, mebibytes: int = MEBIBYTES) -> bool:
    """Whether a program runs to its end, without an error and within its limits.

    Raises:
        ModelError: E241, it cannot be shut in here.
    """
    status, said = _run(program, seconds, mebibytes)
    if status == "unconfined":
        raise _cannot(said)
    return status == "passed"


@cache
def check_confinement() -> None:
    """Whether programs can be shut in here, before anything is spent.

    Raises:
        ModelError: E241, they cannot.
    """
    if not passes("pass"):
        raise _cannot("an empty program does not run to its end")
    for attempt, program in _ATTEMPTS.items():
        if passes(program):
            raise _cannot(f"a program could {attempt}")


_ATTEMPTS = {
    "open a socket": "import socket\nsocket.socket()",
    "write to a file": "open('/tmp/llamatune-confined', 'w')",
    "start another program": "import os\nos.execv('/bin/true', ['true'])",
    "start another process": "import os\nos.fork() or os._exit(0)",
}


def _run(program: str, seconds: float, mebibytes: int) -> tuple[str, str]:
    """`passed`, `failed` or `unconfined`, and what the child says of the last one."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return "unconfined", f"this is {sys.platform} on {platform.machine()}"
    # Only a program that runs to its end comes to the line that says this.
    word = secrets.token_hex(16)
    job = {"program": program, "word": word, "seconds": seconds, "mebibytes": mebibytes}
    with tempfile.TemporaryDirectory(prefix="llamatune-code-") as empty:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=empty,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            said, _ = child.communicate(json.dumps(job).encode(), timeout=3 * seconds)
        except subprocess.TimeoutExpired:
            said = b""
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    text = said.decode("utf-8", "replace")
    if text.startswith("unconfined: "):
        return "unconfined", text.removeprefix("unconfined: ")
    return ("passed" if text == word else "failed"), ""


def _cannot(why: str) -> ModelError:
    return ModelError(
        "E241",
        f"what a model has written cannot be run safely here: {why}",
        place="benchmarks.run_code",
        hint="run it on Linux (x86-64 or ARM), outside containers that forbid seccomp, or leave the task out",
    )
