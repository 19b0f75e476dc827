"""Steps of a pipeline side by side, through the real command: the same bytes as one by one, whoever is killed."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from llamatune.errors import RecipeError
from llamatune.launch.side_by_side import SideBySide
from llamatune.pipeline import run
from llamatune.recipe.load import load
from support import talking_base

RECIPES = {
    "all": """\
stage: pipeline
output: runs/all
set: {model.base: ./base}
steps:
  sft: {recipe: sft.yaml}
  other: {recipe: sft.yaml, set: {seed: 1}}
  helpful: {recipe: reward.yaml, set: {model.adapter: step:sft}}
""",
    "sft": """\
stage: sft
output: runs/sft
model: {base: pico, lora: {rank: 2}}
data: {train: [{card: pico-sft-helpful, max_rows: 24}], max_length: 256, too_long: drop, max_dropped: 1}
optimization: {max_steps: 60, batch_size: 4, warmup: 0, learning_rate: 1e-3}
generation: {prompts: []}
logging: {every_steps: 1}
checkpoint: {every_steps: 1}
""",
    "reward": """\
stage: reward
output: runs/reward
model: {base: pico, adapter: runs/sft}
data: {train: [{card: pico-preferences-helpful, max_rows: 16}], max_length: 256}
optimization: {max_steps: 2, batch_size: 4, warmup: 0, min_warmup_steps: 0}
""",
}
COMMAND = (sys.executable, "-m", "llamatune", "run", "all.yaml", "side_by_side=2")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("side-by-side")
    talking_base(folder / "base", max_position_embeddings=256)
    for name, text in RECIPES.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def one_by_one(project: Path) -> dict[str, str]:
    torch.set_num_threads(1)  # as in the processes: sums over two threads round in another way
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        run(load("all.yaml", ["output=runs/one"]))
    return hashes(project / "runs/one")


def hashes(folder: Path) -> dict[str, str]:
    weights = {str(file.relative_to(folder)): file for file in folder.glob("*/adapter/*.safetensors")}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in sorted(weights.items())}


def started(project: Path, output: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, f"output={output}"],
        cwd=project,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str], until: Callable[[str], object] | None = None) -> str:
    """What it prints, to its end or until a line of which this is true."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if until and until(line):
            break
    return "".join(lines)


def both_at_work() -> Callable[[str], bool]:
    """True of the line after which both first steps have a checkpoint, whichever of them began first."""
    waited_for = {"sft", "other"}

    def seen(line: str) -> bool:
        if found := re.match(r"(sft|other) \| sft ([3-9]|[1-5]\d)/60", line):
            waited_for.discard(found[1])
        return not waited_for

    return seen


def process_of(step: str, parent: subprocess.Popen[str]) -> psutil.Process:
    """The process in which a step runs: the one that holds the lock of its run."""
    lock = Path(f"/proc/{parent.pid}/cwd") / parent.args[-1].removeprefix("output=") / step / "run.lock"
    return psutil.Process(int(re.search(r'"pid": (\d+)', lock.read_text())[1]))


def test_steps_apart_run_at_the_same_time_and_come_to_the_same(project: Path, one_by_one) -> None:
    process = started(project, "runs/two")
    lines = said(process)
    assert process.wait() == 0, lines
    assert hashes(project / "runs/two") == one_by_one and len(one_by_one) == 3
    at = {line: number for number, line in enumerate(lines.splitlines())}
    first_end = min(number for line, number in at.items() if re.fullmatch(r"step \w+: \d+ steps in .*", line))
    assert max(at["step 1 of 3, sft: runs"], at["step 2 of 3, other: runs"]) < first_end, lines
    assert at["step 3 of 3, helpful: runs"] > first_end, "it takes from sft"
    for step in ("sft", "other", "helpful"):
        assert re.search(rf"^{step} \| {'reward' if step == 'helpful' else 'sft'} \d+/", lines, re.M), lines


def test_a_killed_step_is_named_and_the_others_finish(project: Path, one_by_one) -> None:
    process = started(project, "runs/killed")
    lines = said(process, both_at_work())
    process_of("other", process).kill()
    lines += said(process)
    assert process.wait() == 9, lines
    assert (
        "step other ended: the process of the step `other` was killed by SIGKILL\nwaiting for sft\n" in lines
    )
    assert "error[E904] runs/killed/other:" in lines and "Traceback" not in lines
    assert (project / "runs/killed/sft/result.json").is_file(), "its work is not lost"
    assert not (project / "runs/killed/helpful").exists(), "nothing more is started"
    again = started(project, "runs/killed")
    lines = said(again)
    assert again.wait() == 0 and "other: goes on" in lines and "going on from checkpoint-" in lines, lines
    assert hashes(project / "runs/killed") == one_by_one


def test_a_request_to_stop_is_heard_while_the_others_are_waited_for(project: Path) -> None:
    process = started(project, "runs/both")
    said(process, both_at_work())
    process_of("other", process).kill()
    said(process, lambda line: line.startswith("waiting for sft"))
    process.send_signal(signal.SIGTERM)
    lines = said(process)
    assert process.wait() == 9 and "error[E904] runs/both/other:" in lines, lines
    assert "sft | " in lines and not (project / "runs/both/sft/result.json").exists(), (
        "it is saved and stopped"
    )
    assert list((project / "runs/both/sft/checkpoints").glob("checkpoint-*"))


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_the_end_of_all_stops_each_step_with_everything_saved(project: Path, one_by_one, number: int) -> None:
    output = f"runs/stopped-{number}"
    process = started(project, output)
    lines = said(process, both_at_work())
    steps = [process_of(step, process) for step in ("sft", "other")]
    process.send_signal(number)
    lines += said(process)
    if number == signal.SIGTERM:
        assert process.wait() == 75, lines
        assert "stopped by SIGTERM; every step that was under way is saved; continue with:" in lines
    else:
        assert process.wait() == -signal.SIGKILL
    assert psutil.wait_procs(steps, timeout=60)[1] == [], "no process is left behind"
    # One of them may have ended before it heard of it.
    begun = [step for step in ("sft", "other") if not (project / output / step / "result.json").is_file()]
    again = started(project, output)
    lines = said(again)
    assert begun and again.wait() == 0 and lines.count("going on from checkpoint-") == len(begun), lines
    assert hashes(project / output) == one_by_one


def test_what_does_not_go_together(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match=r"E025.*`side_by_side` is 2, and 2 processes run each step"):
        run(load("all.yaml", ["side_by_side=2"]))
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    steps = SideBySide(2, Path("runs/all"), print, cpu=False)
    with steps, pytest.raises(RecipeError, match=r"E025\] side_by_side: 2 processes.*has 1 card"):
        steps.start("sft", time.monotonic)  # type: ignore[arg-type]
