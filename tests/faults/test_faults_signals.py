"""Requests to stop: one step more, one save, the command that goes on; and never less than that."""

import random
import signal
import subprocess
import time
from itertools import count
from pathlib import Path

import pytest
from place import Ended, Place, fault

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL

MOMENTS = {
    "forward 5": 5,
    "gradients 5": 5,
    "evaluation 4": 4,
    "replies 5: token 2": 5,
    "save 6: optimizer.pt": 6,
    "save 6: manifest.json": 6,
}
"""Where a signal comes, and the step after which the run stops."""


def check_stopped(ended: Ended, place: Place, name: str, code: int) -> None:
    """The exit code, the message with the command, and nothing that looks like a crash."""
    assert ended.code == code, ended.said
    assert f"stopped by {name} at step" in ended.said
    assert "continue with:\n  llamatune run recipe.yaml\n" in ended.said
    assert "Traceback" not in ended.said and not ended.out
    assert not any(name.endswith(".incomplete") for name in place.checkpoints())


@pytest.mark.parametrize("moment", MOMENTS)
def test_row_04_sigterm_in_the_middle_of_something(place, reference, moment: str) -> None:
    ended = place.run(faults=[fault("send", at=moment, signals=[TERM])])
    check_stopped(ended, place, "SIGTERM", 75)
    step = MOMENTS[moment]
    assert f"at step {step}; checkpoint-{step} is saved" in ended.said
    assert place.saves() == sorted({3, step}), "each checkpoint is saved once"
    again = place.run()
    assert again.code == 0 and f"going on from checkpoint-{step}" in again.said, again.said
    assert place.learnt() == reference()


def test_row_04_sigterm_before_the_first_step(place, reference) -> None:
    ended = place.run(faults=[fault("send", at="replies 0: token 2", signals=[TERM])])
    assert ended.code == 75 and "stopped by SIGTERM before there was anything new to save" in ended.said
    assert "continue with:" in ended.said and "Traceback" not in ended.said
    assert place.run().code == 0
    assert place.learnt() == reference()


def test_row_04_sigterm_when_the_last_step_is_done(place, reference) -> None:
    """What is left takes less time than a resume: the run finishes."""
    ended = place.run(faults=[fault("send", at="artefact", signals=[TERM])])
    assert ended.code == 0, ended.said
    assert place.learnt() == reference()


@pytest.mark.parametrize("number", [TERM, HUP, INT])
def test_row_04_signal_while_the_report_is_written(place, reference, number: int) -> None:
    """Of a run that has finished: then there is nothing left to stop."""
    ended = place.run(faults=[fault("send", at="report", signals=[number])])
    assert ended.code == 0 and ended.out == "run/adapter\n", ended.said
    assert place.file("report.html").is_file()
    assert place.learnt() == reference()


def test_row_05_sigterm_again_while_the_report_is_written(place, reference) -> None:
    faults = [fault("send", at="forward 5", signals=[TERM]), fault("send", at="report", signals=[TERM])]
    check_stopped(place.run(faults=faults), place, "SIGTERM", 75)
    assert place.file("report.html").is_file()
    assert place.run().code == 0
    assert place.learnt() == reference()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_row_04_sigterm_at_a_random_time(place, reference, seed: int) -> None:
    """The run is slowed down to about two seconds of training; signals come at random times until it is done, later and
    later: a slow machine must get to its first step."""
    chance = random.Random(seed)
    for latest in count(1):
        if place.file("result.json").is_file():
            break
        process = place.start(faults=[fault("slow_down", seconds=0.03)])
        process.wait_for(process.err, "model    pico")
        time.sleep(chance.uniform(0, latest))
        process.signal(TERM)
        ended = process.wait()
        last_word = bool(ended.out) or "continue with:" in ended.said  # then only the interpreter itself ends
        assert ended.code == (0 if ended.out else 75) or (ended.code == -TERM and last_word), ended.said
        assert "Traceback" not in ended.said
    assert place.saves() == sorted(set(place.saves())), "no checkpoint is saved twice"
    assert place.learnt() == reference()


@pytest.mark.parametrize("moment", ["forward 5", "save 6: optimizer.pt"])
def test_row_05_sigterm_twice(place, reference, moment: str) -> None:
    ended = place.run(faults=[fault("send", at=moment, signals=[TERM, TERM, HUP])])
    check_stopped(ended, place, "SIGTERM", 75)
    assert place.run().code == 0
    assert place.learnt() == reference()


@pytest.mark.parametrize("moment", ["forward 5", "save 6: optimizer.pt"])
def test_row_05_sigterm_then_sigkill(place, reference, moment: str) -> None:
    ended = place.run(faults=[fault("send", at=moment, signals=[TERM, KILL], apart=0.1)])
    assert ended.code == -9
    again = place.run()
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert place.learnt() == reference()


@pytest.mark.parametrize("moment", ["forward 5", "save 6: optimizer.pt"])
def test_row_06_ctrl_c_once(place, reference, moment: str) -> None:
    ended = place.run(faults=[fault("send", at=moment, signals=[INT])])
    check_stopped(ended, place, "SIGINT", 130)
    assert place.run().code == 0
    assert place.learnt() == reference()


@pytest.mark.parametrize("moment", ["forward 5", "save 6: optimizer.pt", "replies 5: token 2"])
def test_row_06_ctrl_c_twice(place, reference, moment: str) -> None:
    started = time.monotonic()
    ended = place.run(
        faults=[fault("send", at=moment, signals=[INT, INT]), fault("pause", at="step 7", seconds=9)]
    )
    assert ended.code == 130, ended.said
    assert "Traceback" not in ended.said and not ended.out
    assert time.monotonic() - started < 9, "it ends at once"
    assert place.saves() == [3]
    again = place.run()
    assert again.code == 0 and "interrupted at once by a second Ctrl-C" in again.said, again.said
    assert place.learnt() == reference()


def test_row_06_ctrl_c_while_things_are_loaded(place, reference) -> None:
    ended = place.run(faults=[fault("send", at="replies 0: token 2", signals=[INT])])
    assert ended.code == 130 and "Traceback" not in ended.said, ended.said
    assert "continue with:\n  llamatune run recipe.yaml" in ended.said
    assert place.run().code == 0
    assert place.learnt() == reference()


def test_row_28_sighup(place, reference) -> None:
    ended = place.run(faults=[fault("send", at="forward 5", signals=[HUP])])
    check_stopped(ended, place, "SIGHUP", 75)
    assert place.run().code == 0
    assert place.learnt() == reference()


def test_row_28_nohup(place, reference) -> None:
    faults = [fault("ignore", number=HUP), fault("send", at="forward 5", signals=[HUP])]
    assert place.run(faults=faults).code == 0
    assert place.learnt() == reference()


@pytest.mark.parametrize("streams", ["stdout", "stderr", "both"])
def test_row_28_pipe_into_head(place, reference, streams: str, mkfifo) -> None:
    """`llamatune run recipe.yaml | head -1`, `2>&1 >/dev/null | head -1` and `2>&1 | head -1`."""
    pipe = mkfifo(place / "pipe")
    with subprocess.Popen(["head", "-1", pipe], stdout=subprocess.PIPE, text=True) as head:
        which = {"stdout": ["stdout"], "stderr": ["stderr"], "both": ["stdout", "stderr"]}[streams]
        ended = place.run(**{name: pipe for name in which}, whole_end=True)
        line = head.communicate(timeout=120)[0]
    assert line == (
        "run/adapter\n" if streams == "stdout" else "rows.jsonl: format messages (columns messages)\n"
    )
    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said and "Exception ignored" not in ended.said
    assert place.learnt() == reference()


def test_row_28_pipe_whose_reader_is_gone_at_the_end(place, reference, mkfifo) -> None:
    """`llamatune run recipe.yaml | true`."""
    pipe = mkfifo(place / "pipe")
    with subprocess.Popen(["sh", "-c", f"exec < {pipe}"]):
        ended = place.run(stdout=pipe, whole_end=True)
    assert ended.code == 0, ended.said
    assert "Traceback" not in ended.said and "Exception ignored" not in ended.said
    assert place.learnt() == reference()


def test_row_28_stopped_after_the_reader_has_gone(place, reference, mkfifo) -> None:
    pipe = mkfifo(place / "pipe")
    with subprocess.Popen(["head", "-1", pipe], stdout=subprocess.DEVNULL):
        ended = place.run(stderr=pipe, faults=[fault("send", at="forward 5", signals=[TERM])])
    assert ended.code == 75
    assert place.checkpoints() == ["checkpoint-3", "checkpoint-5"]
    assert place.run().code == 0
    assert place.learnt() == reference()


@pytest.fixture
def mkfifo():
    import os

    def make(path: Path) -> Path:
        os.mkfifo(path)
        return path

    return make
