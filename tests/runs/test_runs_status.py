"""run.json, where the clock is unusual."""

import time
from pathlib import Path

import pytest

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
