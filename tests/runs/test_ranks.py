"""One file reads which process of a run this is."""

import re

import pytest

from llamatune.runs import ranks
from support import ROOT


def test_nothing_else_reads_the_variables() -> None:
    readers = [
        file.relative_to(ROOT / "src/llamatune").as_posix()
        for file in (ROOT / "src").rglob("*.py")
        if re.search(r"[\"'](LOCAL_)?(RANK|WORLD_SIZE)[\"']", file.read_text("utf-8"))
    ]
    assert readers == ["runs/ranks.py"]


def test_a_process_alone_is_the_first_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (ranks.rank(), ranks.processes(), ranks.is_main()) == (0, 1, True)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (ranks.rank(), ranks.processes(), ranks.is_main()) == (2, 4, False)
