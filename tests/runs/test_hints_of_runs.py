"""Whoever does what a hint about a run says has a run that goes on: one case a code, without a training."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from test_hostile_files import leave_checkpoint, sizes

from llamatune.errors import LlamatuneError, Problem
from llamatune.runs.files import disk_errors
from llamatune.runs.handover import take
from llamatune.runs.lock import RunLock
from llamatune.runs.report.page import write_report

OTHER: dict[str, Any] = {"data": {"train": [{"sha256": ["other"]}]}, "base": {"fingerprint": "b"}}


def refused(code: str, hint: str, act: Any) -> Problem:
    with pytest.raises(LlamatuneError) as caught:
        act()
    problem = next(one for one in caught.value.problems if one.code == code)
    assert problem.why and problem.hint and hint in problem.hint, problem
    return problem


def begun(stage: Any) -> None:
    """A run that was stopped after a checkpoint."""
    with pytest.raises(LlamatuneError, match="stopped here"):
        stage("runs/x", until=leave_checkpoint(sizes()))


@pytest.mark.parametrize("mend", [{"overwrite": True}, {"output": "runs/y"}])
def test_e031(stage: Any, mend: dict[str, Any]) -> None:
    stage("runs/x")
    refused(
        "E031",
        "--overwrite to run again and replace it, or name another",
        lambda: stage("runs/x", facts=OTHER),
    )
    stage(**{"output": "runs/x", "facts": OTHER, **mend})


def test_e035(stage: Any) -> None:
    Path("runs/x").mkdir(parents=True)
    held = RunLock.take(Path("runs/x"))
    refused("E035", "wait for it, stop it, or name another `output`", lambda: stage("runs/x"))
    stage("runs/y")
    held.release()
    shutil.rmtree("runs/x")
    stage("runs/x")


@pytest.mark.parametrize(
    "mend", [{}, {"facts": OTHER, "resume": "none"}, {"facts": OTHER, "force": ["data.train"]}]
)
def test_e036(stage: Any, mend: dict[str, Any]) -> None:
    """Undone, begun anew or forced; `--overwrite` alone, which replaces a finished run, goes on with this one."""
    begun(stage)
    problem = refused("E036", "--force-resume", lambda: stage("runs/x", facts=OTHER))
    refused("E036", "", lambda: stage("runs/x", facts=OTHER, overwrite=True))
    if "force" in mend:
        assert problem.hint is not None
        mend = {**mend, "force": [problem.hint.partition("--force-resume ")[2].split()[0]]}
    stage("runs/x", **mend)


def test_e037(stage: Any) -> None:
    stage("runs/x")
    refused("E037", "`output`", lambda: write_report(Path("runs")))
    assert write_report(Path("runs/x")).is_file()


def test_e038(stage: Any) -> None:
    refused("E038", "run the recipe with `output: runs/x` first", lambda: take("runs/x", "adapter"))
    stage("runs/x")
    take("runs/x", "adapter")


def test_e039(stage: Any) -> None:
    stage("runs/x")
    Path("runs/x/adapter/weights").write_text("changed")
    refused("E039", "--overwrite", lambda: take("runs/x", "adapter"))
    stage("runs/x", overwrite=True)
    take("runs/x", "adapter")


@pytest.mark.parametrize("mend", ["copy", "none"])
def test_e402(stage: Any, mend: str) -> None:
    begun(stage)
    weights = Path("runs/x/checkpoints/checkpoint-2/weights")
    whole = weights.read_bytes()
    weights.write_bytes(b"2")
    refused("E402", "restore one from a copy, or start again with --resume none", lambda: stage("runs/x"))
    refused("E402", "", lambda: stage("runs/x", overwrite=True))
    if mend == "copy":
        weights.write_bytes(whole)
    stage("runs/x", resume="auto" if mend == "copy" else "none")


def test_e801(tmp_path: Path) -> None:
    """A folder in the place of a file, since root may write everywhere."""
    file = tmp_path / "a.txt"

    def write() -> None:
        with disk_errors(file):
            file.write_text("1")

    file.mkdir()
    refused("E801", "check", write)
    file.rmdir()
    write()
