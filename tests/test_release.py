"""What is published: the wheel holds recipes, cards and pico, and works in an empty folder without a checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
from release import build, install, missing, try_out


@pytest.mark.slow
def test_a_stranger_installs_the_wheel(tmp_path: Path) -> None:
    dist, empty = tmp_path / "dist", tmp_path / "empty"
    empty.mkdir()
    archive, wheel = build(dist)
    assert not missing(wheel) and archive.stat().st_size < 40 << 20
    command = install(wheel, tmp_path / "environment")
    asked = {
        **os.environ,
        "_LLAMATUNE_COMPLETE": "complete_bash",
        "COMP_WORDS": "llamatune pu",
        "COMP_CWORD": "1",
    }
    asked.pop("PYTHONPATH", None)
    where = [str(command.with_name("python")), "-c", "import llamatune; print(llamatune.__file__)"]
    assert str(tmp_path) in subprocess.check_output(where, text=True, env=asked, cwd=empty)
    assert subprocess.check_output([str(command)], text=True, env=asked).split() == ["push", "pull"]
    try_out(command, empty)
    assert (empty / "runs" / "pico-sft" / "hub").is_dir()
