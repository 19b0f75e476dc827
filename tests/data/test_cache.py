"""Entries of the cache: several processes that need the same one make it once, and a crafted one does no harm."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llamatune.data import cache
from llamatune.data.cache import stored
from llamatune.errors import DiskError

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


@pytest.mark.parametrize(
    "content", [{}, {"files": {}}, {"info": {}}, {"files": {}, "info": 3}, {"files": [], "info": {}}]
)
def test_an_entry_that_says_nothing_of_use_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]
) -> None:
    """With the hash that fits it: whoever changes one can hash, too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entry = cache.cache_folder() / "things/key"
    entry.mkdir(parents=True)
    (entry / cache.INFO).write_text(json.dumps(content | {"sha256": cache._digest(content)}))
    said: list[str] = []
    assert cache.stored("things", "key", lambda folder: {"count": 3}, said.append)[1] == {"count": 3}
    assert "is damaged" in said[0]


def test_a_pipe_where_the_lock_should_be_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.cache_folder().mkdir()
    os.mkfifo(cache.cache_folder() / cache.LOCKS)
    with pytest.raises(DiskError, match="a pipe, not a file"):
        cache.stored("things", "key", lambda folder: {"count": 3})
