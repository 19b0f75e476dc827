"""run.json and the lock, where the clock or the file system is unusual."""

import os
from pathlib import Path

import pytest

from llamatune.runs.lock import RunLock


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
