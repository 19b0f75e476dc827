"""Ctrl-C is answered at once, whatever the process is in the middle of."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest

CHILD = """
import hashlib, os, sys, threading
from llamatune.runs import signals

if sys.argv[1] != "c":
    signals._PATIENCE = 60  # however slow the machine is
stop = signals.StopRequest()
stop.doing = lambda: "step 3"
stop.give_up = lambda: os.write(1, b"gave up")
with stop.listening(), stop.waiting():
    print("ready", flush=True)
    if sys.argv[1] != "python":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9 if sys.argv[1] == "c" else 2 * 10**6)
    threading.Event().wait(60)
"""


@pytest.fixture
def child(request: pytest.FixtureRequest):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, request.param],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    yield process
    process.kill()
    process.communicate()


def said(process: "subprocess.Popen[str]", text: str) -> None:
    """Within a minute; it takes a few milliseconds, on a machine that does nothing else."""
    assert process.stderr
    found, deadline = "", time.monotonic() + 60
    while text not in found:
        ready = select.select([process.stderr], [], [], deadline - time.monotonic())[0]
        assert ready, f"no {text!r} in {found!r}"
        found += os.read(process.stderr.fileno(), 4096).decode()


@pytest.mark.parametrize("child", ["c"], indirect=True)
def test_the_first_ctrl_c_is_answered_and_the_second_stops_in_the_middle_of_c(child) -> None:
    child.send_signal(signal.SIGINT)
    said(child, "SIGINT: finishing step 3 and saving; again to stop at once")
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 130
    assert child.stdout.read() == "gave up", "the run's state is written first"
    said(child, "stopped\n")


@pytest.mark.parametrize("child", ["python", "c, then python"], indirect=True)
def test_python_that_hears_the_second_ctrl_c_ends_by_itself(child) -> None:
    """Both may have come before Python heard of one, and are one signal to it."""
    child.send_signal(signal.SIGINT)
    said(child, "again to stop at once")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) in (1, -signal.SIGINT), "a KeyboardInterrupt"
    assert child.stdout.read() == ""


@pytest.mark.parametrize("child", ["python"], indirect=True)
def test_sigterm_is_answered_too(child) -> None:
    child.send_signal(signal.SIGTERM)
    said(child, "SIGTERM: finishing step 3 and saving")
