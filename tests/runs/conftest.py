"""Runs of a toy stage in a working directory of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from toy import toy_stage

from llamatune.runs.handover import Result


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`toy_stage`, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return toy_stage
