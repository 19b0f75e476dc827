"""What opening a run directory decides, and what it mends of what a killed process left."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy import recipe_of

from llamatune.errors import DiskError, LlamatuneError, RecipeError, StoppedError
from llamatune.models.facts import facts_of
from llamatune.runs import files
from llamatune.runs.opening import open_run
from llamatune.runs.run import Run

FACTS: dict[str, Any] = {"data": {"train": [{"sha256": ["a"]}]}, "base": {"fingerprint": "b"}}
DEAD = 2**22 + 1
"""A number that no process has."""


def records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path("runs/x") / name).read_text().splitlines()]


# ---- facts decide what is done ----------------------------------------------------------------------------


def test_a_finished_run_is_done_once(stage) -> None:
    first = stage("runs/x")
    again = stage("runs/x")
    assert again == first and again.earlier and not first.earlier
    assert again.describe().startswith("already finished on 20")
    assert first.describe() == "3 steps in 1.5 s"


@pytest.mark.parametrize(
    ("facts", "change"),
    [
        (FACTS | {"data": {"train": [{"sha256": ["c"]}]}}, "data.train[0].sha256[0]: a -> c"),
        (FACTS | {"data": {"train": []}}, "data.train[0].sha256[0]: a -> nothing"),
        (FACTS | {"base": {"fingerprint": "z"}}, "base.fingerprint: b -> z"),
        (FACTS | {"models": {"safety": {"fingerprint": "s"}}}, "models.safety.fingerprint: nothing -> s"),
    ],
)
def test_a_finished_run_of_other_facts_is_not_done(stage, facts: dict[str, Any], change: str) -> None:
    stage("runs/x", facts=FACTS)
    with pytest.raises(RecipeError) as caught:
        stage("runs/x", facts=facts)
    assert "E031" in str(caught.value) and change in str(caught.value) and "--overwrite" in str(caught.value)
    assert not stage("runs/x", facts=facts, overwrite=True).earlier
    assert stage("runs/x", facts=facts).earlier


def test_a_finished_run_of_another_recipe_says_what_is_different(stage) -> None:
    stage("runs/x")
    with pytest.raises(RecipeError, match="made from something else: seed: 0 -> 7"):
        stage("runs/x", changes={"seed": 7})
    assert stage("runs/x", changes={"logging": {"every_steps": 3}}).earlier, (
        "it is shown otherwise, and the same"
    )


def test_a_finished_run_that_cannot_say_what_it_was_made_from(stage) -> None:
    stage("runs/x")
    Path("runs/x/manifest.json").write_text("{")
    with pytest.raises(
        RecipeError, match=r"E031.*manifest\.json, which says what it was made from, cannot be read"
    ):
        stage("runs/x")


def test_facts_that_only_the_start_knew_are_not_missed(stage) -> None:
    """The tokenizer is known when it is loaded: before that, nothing is said about it."""

    def with_tokenizer(run: Run) -> None:
        run.made_from({**FACTS, "tokenizer": "t", "processes": 2})

    stage("runs/x", facts=FACTS, until=with_tokenizer)
    assert stage("runs/x", facts=FACTS).earlier


def test_every_process_of_a_run_sees_that_it_is_done(stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage("runs/x")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert stage("runs/x").earlier
    with pytest.raises(RecipeError, match="E031"):
        stage("runs/x", changes={"seed": 7})


def test_a_finished_run_is_known_without_torch(stage) -> None:
    """Through the real pipeline and the real facts; the run it finds was made by the toy stage."""
    Path("rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    stage("runs/x", facts=facts_of(recipe_of("runs/x"), Path()))
    code = """
import sys
from llamatune.errors import RecipeError
from llamatune.pipeline import run
from toy import recipe_of
recipe = recipe_of("runs/x")
assert run(recipe).earlier
with open("rows.jsonl", "a") as rows:
    rows.write("more\\n")
try:
    run(recipe)
except RecipeError as error:
    print(error)
print([name for name in ("torch", "transformers", "datasets", "peft") if name in sys.modules])
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    said, loaded = done.stdout.rsplit("\n", 2)[:2]
    assert "E031" in said and "data.train[0].sha256[0]: " in said and loaded == "[]"


def _checkpoint(run: Run) -> None:
    for step in (1, 2):
        run.log(step, {"loss": 1.0 / step})
    folder = run.checkpoints / "checkpoint-2"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("2")
    run.commit(folder, 2, {})
    run.log(3, {"loss": 0.1})
    raise KeyboardInterrupt


def unfinished(stage) -> None:
    with pytest.raises(KeyboardInterrupt):
        stage("runs/x", facts=FACTS, until=_checkpoint)


def test_a_resume_of_other_facts_is_refused_before_anything_is_loaded(stage) -> None:
    unfinished(stage)
    changed = FACTS | {"base": {"fingerprint": "z"}}
    begun = []
    with pytest.raises(RecipeError, match="E036.*`base.fingerprint`: b -> z"):
        stage("runs/x", facts=changed, until=begun.append)
    assert not begun
    stage("runs/x", facts=changed, force=["base"])
    forced = [event["text"] for event in records("events.jsonl") if event["kind"] == "forced"]
    assert forced == ["base.fingerprint: b -> z"], "it is said once, although it is compared twice"


def test_other_surroundings_are_said_at_a_resume(stage) -> None:
    """They may change, and the result is then no longer the same to the byte."""
    unfinished(stage)
    manifest = Path("runs/x/manifest.json")
    content = json.loads(manifest.read_text())
    content["versions"] |= {"python": "3.1.0", "tokenizers": "0.1"}
    manifest.write_text(json.dumps(content))
    hardware = {"micro_batch_tokens": 64, "batching": "padded"}
    stage("runs/x", facts=FACTS, changes={"hardware": hardware})
    texts = [event["text"] for event in records("events.jsonl") if event["kind"] == "warning"]
    assert [text.partition(":")[0] for text in texts] == [
        "versions.python",
        "versions.tokenizers",
        "hardware.batching",
        "hardware.micro_batch_tokens",
    ]
    assert "0.1 -> " in texts[1] and "with dropout, other numbers are drawn" in texts[2]


def test_facts_are_gathered_only_where_there_is_something_to_compare(stage) -> None:
    def facts() -> dict[str, Any]:
        raise AssertionError("nothing was begun")

    with open_run(recipe_of("runs/x"), recipe_dir=Path(), facts=facts) as run:
        assert run.checkpoint is None and run.done is None


def test_a_request_to_stop_is_told_what_it_waits_for(stage) -> None:
    """In the evaluation after the last of 2 steps, it was `finishing step 3 and saving`."""

    def ends_at(step: int, evaluating: bool) -> str:
        run.beat(step, 2)
        run.evaluating = evaluating
        return run.stop.doing()

    with open_run(recipe_of("runs/x"), recipe_dir=Path(), facts=dict) as run:
        assert run.stop.doing() == "step 1"
        assert ends_at(1, False) == "step 2" and ends_at(1, True) == "the evaluation after step 1"
        assert ends_at(2, True) == ends_at(2, False) == "the run"


# ---- what killed processes left ---------------------------------------------------------------------------


@pytest.mark.parametrize("torn", ['{"step": 1', '{"step": 1}' + "x" * 100_000])
def test_a_record_is_not_glued_to_a_torn_line(tmp_path: Path, torn: str) -> None:
    file = tmp_path / "metrics.jsonl"
    for whole in ("", '{"step": 0}\n'):
        file.write_text(whole + torn)
        files.append_line(file, {"step": 2})
        assert file.read_text() == whole + '{"step": 2}\n'


def test_metrics_that_were_cut_short_go_on_with_a_whole_line(stage) -> None:
    unfinished(stage)
    metrics = Path("runs/x/metrics.jsonl")
    os.truncate(metrics, len(metrics.read_text().splitlines(keepends=True)[0]) + 5)
    stage("runs/x", facts=FACTS, until=lambda run: run.log(3, {"loss": 0.5}))
    assert [record["step"] for record in records("metrics.jsonl")] == [1, 3]
    assert any("the lines of some steps are lost" in event["text"] for event in records("events.jsonl"))


def test_what_was_logged_after_the_checkpoint_is_cut_off(stage) -> None:
    unfinished(stage)
    stage("runs/x", facts=FACTS, until=lambda run: run.log(3, {"loss": 0.5}))
    assert [(record["step"], record["loss"]) for record in records("metrics.jsonl")] == [
        (1, 1),
        (2, 0.5),
        (3, 0.5),
    ]


def test_checkpoints_that_a_kill_kept_from_being_rotated_out_go_at_the_next_start(stage) -> None:
    """After the last one of a run there is no other to do it."""
    unfinished(stage)
    older = Path("runs/x/checkpoints/checkpoint-1")
    shutil.copytree("runs/x/checkpoints/checkpoint-2", older)
    stage("runs/x", facts=FACTS, changes={"checkpoint": {"keep": 1}})
    assert not older.exists() and Path("runs/x/checkpoints/checkpoint-2").exists()


def test_a_checkpoint_names_no_files_to_cut(stage) -> None:
    """A crafted manifest must not reach beyond the run's own logs."""
    from llamatune.runs import checkpoints

    precious = Path("precious")
    precious.write_text("mine")
    unfinished(stage)
    folder = Path("runs/x/checkpoints/checkpoint-2")
    about = checkpoints.verify(folder).about
    about["sizes"]["../../precious"] = 0
    (folder / "manifest.json").unlink()
    checkpoints.commit(folder, step=2, about=about)
    stage("runs/x", facts=FACTS)
    assert precious.read_text() == "mine"


def test_events_go_on_after_a_torn_line(stage) -> None:
    unfinished(stage)
    with Path("runs/x/events.jsonl").open("a") as stream:
        stream.write('{"kind": "warn')
    stage("runs/x", facts=FACTS)
    assert {event["kind"] for event in records("events.jsonl")} == {"resume"}


def test_a_page_that_was_not_written_is_made_at_the_next_start(stage) -> None:
    stage("runs/x")
    page, status = Path("runs/x/report.html"), Path("runs/x/run.json")
    page.unlink()
    whole = json.loads(status.read_text())
    for state in ("running", "failed"):
        status.write_text(json.dumps(whole | {"state": state}))
        assert stage("runs/x").earlier
        assert "✓ finished" in page.read_text() and json.loads(status.read_text())["state"] == "finished"


def test_temporary_files_of_dead_processes_are_swept(stage) -> None:
    unfinished(stage)
    folder = Path("runs/x")
    host = files.temporary_beside(folder).name.split(".")[2].rpartition("-")[0]
    dead = [folder / f".{name}.{host}-{DEAD}" for name in ("run.json", "manifest.json")]
    parent = folder / f".run.json.{host}-{os.getppid()}"
    elsewhere = [folder / f".run.json.elsewhere-{number}" for number in (1, 2)]
    others = [folder / name for name in (".hidden", "notes.txt", ".a.b-c")]
    for file in (*dead, parent, *elsewhere, *others):
        file.write_text("{")
    os.utime(elsewhere[0], (1e9, 1e9))
    stage("runs/x", facts=FACTS)
    assert not any(file.exists() for file in (*dead, elsewhere[0]))
    assert all(file.exists() for file in (parent, elsewhere[1], *others)), "they may be somebody's"


def test_what_a_killed_builder_left_in_the_cache_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llamatune.data.cache import stored

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = """
import os, signal
from llamatune.data.cache import stored
def build(folder):
    (folder / "rows").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
stored("rows", "key", build)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    (left,) = (tmp_path / "llamatune/rows").iterdir()

    def build(folder: Path) -> dict[str, Any]:
        assert left.name.startswith(".key.") and not left.exists()
        return {}

    stored("rows", "key", build)
    assert [path.name for path in (tmp_path / "llamatune/rows").iterdir()] == ["key"]


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "merged"
    left = files.temporary_beside(folder)
    dead = left.with_name(left.name.rpartition("-")[0] + f"-{DEAD}")
    (dead / "inner").mkdir(parents=True)
    with pytest.raises(ValueError, match="half"), files.making_folder(folder) as half:
        (half / "weights").write_text("half")
        raise ValueError("half")
    assert list(tmp_path.iterdir()) == [], "what a dead process left is swept, too"
    with files.making_folder(folder) as whole:
        (whole / "weights").write_text("whole")
        assert not folder.exists()
    assert [file.read_text() for file in folder.iterdir()] == ["whole"]
    with pytest.raises(DiskError, match=r"E801.*merged"), files.making_folder(folder) as again:
        (again / "weights").write_text("again")
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert (folder / "weights").read_text() == "whole", "what is there already is kept"


def test_errors_of_the_system_are_known_whoever_tells_them(tmp_path: Path) -> None:
    """safetensors and tokenizers are written in Rust, and raise no OSError."""
    for text, code in (
        ("I/O error: Input/output error (os error 5)", "E801"),
        ("I/O error: whatever (os error 28)", "E802"),
    ):
        with pytest.raises(DiskError, match=code), files.disk_errors(tmp_path):
            raise Exception(text)
    with pytest.raises(RuntimeError), files.disk_errors(tmp_path):
        raise RuntimeError("a bug (error 5)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("numbers", [1, 1000])
def test_a_full_disk_is_known_whether_or_not_all_fits_into_torchs_buffer(numbers: int) -> None:
    import torch

    with pytest.raises(DiskError, match="E802"), files.disk_errors(Path("/dev/full")):
        torch.save({"state": torch.zeros(numbers)}, "/dev/full")


def test_a_file_that_torch_cannot_make_is_an_error_of_the_disk(tmp_path: Path) -> None:
    import torch

    (tmp_path / "state.pt").mkdir()
    with (
        pytest.raises(DiskError, match=r"E801.*cannot be written: Is a directory\."),
        files.disk_errors(tmp_path / "state.pt"),
    ):
        torch.save({}, tmp_path / "state.pt")


# ---- how it ends ------------------------------------------------------------------------------------------


def test_a_request_to_stop_says_where_the_work_is(stage) -> None:
    from llamatune.runs.signals import StoppedEarly

    def stop(run: Run) -> None:
        with run.stop.waiting():
            os.kill(os.getpid(), signal.SIGTERM)
            raise StoppedEarly("after 3 of 10 parts")

    with pytest.raises(StoppedError, match="stopped by SIGTERM after 3 of 10 parts") as caught:
        stage("runs/x", until=stop)
    assert caught.value.exit_code == 75
    with pytest.raises(LlamatuneError, match="stopped by SIGTERM before there was anything new to save"):
        stage("runs/x", until=lambda run: os.kill(os.getpid(), signal.SIGTERM))
