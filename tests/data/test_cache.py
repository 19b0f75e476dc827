"""Several processes that need the same entry of the cache make it once."""

import subprocess
import sys
from pathlib import Path

import pytest

from llamatune.data.cache import stored

MAKES = """
import sys, time
from pathlib import Path
from llamatune.data.cache import stored

def build(folder):
    with open(sys.argv[1], "a") as made:
        made.write("x")
    time.sleep(1)
    (folder / "rows").write_text("rows")
    return {"rows": 1}

print(stored("kind", "key", build)[1])
"""


def test_one_process_makes_an_entry_and_the_others_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "made"
    several = [
        subprocess.Popen([sys.executable, "-c", MAKES, str(made)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [one.communicate(timeout=60)[0] for one in several] == ["{'rows': 1}\n"] * 3
    assert made.read_text() == "x"
    (locks,) = (tmp_path / "cache").rglob("*.lock")
    assert locks.stat().st_size == 0


def test_without_locks_each_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("llamatune.data.cache.fcntl.lockf", none)

    def build(folder: Path) -> dict[str, int]:
        (folder / "rows").write_text("rows")
        return {"rows": 1}

    folder, info = stored("kind", "key", build)
    assert info == {"rows": 1} and (folder / "rows").read_text() == "rows"
