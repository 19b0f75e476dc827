"""One run at a time in a directory, with locks of the file system and without."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llamatune.errors import RecipeError
from llamatune.runs import lock
from llamatune.runs.lock import RunLock


def test_a_file_of_the_same_number_on_another_disk_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = RunLock.take(tmp_path)
    try:
        assert lock.is_there and lock.warning is None
        mode, number, device, *rest = (tmp_path / "run.lock").stat()
        elsewhere = os.stat_result([mode, number, device + 1, *rest])
        monkeypatch.setattr(Path, "stat", lambda self: elsewhere)
        assert not lock.is_there
    finally:
        lock.release()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lustre without `flock`, and some mounts of NFS."""

    def lockf(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", lockf)


def announce(directory: Path, process: int, **changes: object) -> Path:
    who = {"pid": process, "host": socket.gethostname(), "since": 1e9, "born": lock._born(process)} | changes
    file = directory / f"run.lock.{who['host']}-{process}"
    file.write_text(json.dumps(who))
    return file


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_file_keeps_others_out_and_that_is_said(tmp_path: Path) -> None:
    held = RunLock.take(tmp_path)
    assert held.warning and "this file system has no locks" in held.warning
    (mine,) = tmp_path.glob("run.lock.*")
    assert json.loads(mine.read_text())["pid"] == os.getpid()
    held.release()
    assert not list(tmp_path.glob("run.lock.*"))


@pytest.mark.usefixtures("no_locks")
def test_without_locks_no_link_is_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / f"run.lock.{socket.gethostname()}-{os.getpid()}").symlink_to(precious)
    RunLock.take(tmp_path).release()
    assert precious.read_text() == "mine"


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_living_process_is_respected(tmp_path: Path) -> None:
    other = announce(tmp_path, os.getppid())
    with pytest.raises(RecipeError, match=f"E035.*process {os.getppid()} on ") as caught:
        RunLock.take(tmp_path)
    assert f"if it no longer exists, remove {other}" in str(caught.value)
    assert list(tmp_path.glob("run.lock.*")) == [other], "who gives way leaves nothing"


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("reused", [False, True], ids=["dead", "its number belongs to another process now"])
def test_without_locks_a_killed_process_is_not_in_the_way(tmp_path: Path, reused: bool) -> None:
    other = announce(tmp_path, os.getppid(), born="1") if reused else announce(tmp_path, 2**22 + 1)
    RunLock.take(tmp_path).release()
    assert not other.exists()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("content", ["another host", "", "{", '{"pid": "x"}', "[]"])
def test_without_locks_nothing_is_assumed_of_what_is_not_known(tmp_path: Path, content: str) -> None:
    other = announce(tmp_path, 2**22 + 1, host="elsewhere")
    if content != "another host":
        other.write_text(content)
    with pytest.raises(RecipeError, match="E035"):
        RunLock.take(tmp_path)
    other.unlink()
    RunLock.take(tmp_path).release()


@pytest.mark.usefixtures("no_locks")
def test_a_run_tells_its_reader_that_there_are_no_locks(stage) -> None:
    notices: list[str] = []
    stage("runs/x", until=lambda run: notices.extend(run.notices))
    assert [line for line in notices if line.startswith("warning: this file system has no locks")]
    (event,) = map(json.loads, Path("runs/x/events.jsonl").read_text().splitlines())
    assert event["kind"] == "warning" and "has no locks" in event["text"]


def test_of_many_that_start_at_once_without_locks_at_most_one_goes_on(tmp_path: Path) -> None:
    code = f"""
import errno, fcntl, sys
from pathlib import Path
def lockf(*_): raise OSError(errno.ENOLCK, "no locks")
fcntl.lockf = lockf
from llamatune.errors import RecipeError
from llamatune.runs.lock import RunLock
sys.stdin.readline()
try:
    RunLock.take(Path({str(tmp_path)!r}))
    print("mine", flush=True)
except RecipeError:
    print("given way", flush=True)
sys.stdin.readline()
"""
    several = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in several:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.stdout.readline().strip() for process in several if process.stdout]
    assert said.count("mine") <= 1 and set(said) <= {"mine", "given way"}, said
    for process in several:
        process.communicate("end\n")
