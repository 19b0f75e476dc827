"""run.json and the lock, where the clock or the file system is unusual."""

import os
import time
from pathlib import Path

import pytest

from llamatune.runs.lock import RunLock
from llamatune.runs.status import Status


def test_heartbeats_go_on_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = Status.read(tmp_path)
    status.begin(0)
    wall, passed = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: wall - 3600)
    for step, seconds, written in [(1, 1, 0), (2, 6, 2), (3, 7, 2), (4, 12, 4)]:
        monkeypatch.setattr(time, "monotonic", lambda now=passed + seconds: now)
        status.beat(step)
        assert Status.read(tmp_path).step == written
    assert Status.read(tmp_path).heartbeat == wall - 3600, "what is written is what the clock says"


def test_a_file_of_the_same_number_on_another_disk_is_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = RunLock.take(tmp_path)
    try:
        assert lock.is_there
        mode, number, device, *rest = (tmp_path / "run.lock").stat()
        elsewhere = os.stat_result([mode, number, device + 1, *rest])
        monkeypatch.setattr(Path, "stat", lambda self: elsewhere)
        assert not lock.is_there
    finally:
        lock.release()
