"""A run directory that somebody else has made or changed: no file outside it is touched, and nothing is waited for."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llamatune.errors import LlamatuneError
from llamatune.recipe.paths import LOCK
from llamatune.runs import checkpoints
from llamatune.runs.checkpoints import verify
from llamatune.runs.files import making_folder, temporary_beside
from llamatune.runs.run import GROWING, Run

PRECIOUS = "what the user wrote\n"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A file of the user's, outside every run."""
    file = tmp_path / "precious.txt"
    file.write_text(PRECIOUS)
    return file


def leave_checkpoint(about: Any) -> Any:
    """Something for a stage to do: write a checkpoint that says this of the run, and stop."""

    def until(run: Run) -> None:
        for name in GROWING:
            (run.directory / name).write_text("{}\n")
        folder = run.checkpoints / "checkpoint-2"
        folder.mkdir(parents=True)
        (folder / "weights").write_text("1")
        checkpoints.commit(folder, step=2, about=about)
        raise LlamatuneError("E901", "stopped here")

    return until


def sizes(**others: Any) -> dict[str, Any]:
    return {"sizes": {name: 3 for name in GROWING} | others, "state": {}}


@pytest.mark.parametrize(
    "about",
    [
        sizes(**{"metrics.jsonl": -1}),
        sizes(**{"metrics.jsonl": "0"}),
        sizes(**{"metrics.jsonl": True}),
        {"sizes": [["metrics.jsonl", 0]], "state": {}},
        {"sizes": {}},
        {},
    ],
)
def test_a_checkpoint_that_does_not_say_how_long_the_logs_were(stage, about: Any) -> None:
    with pytest.raises(LlamatuneError, match="stopped here"):
        stage("runs/x", until=leave_checkpoint(about))
    with pytest.raises(LlamatuneError) as caught:
        stage("runs/x")
    assert "error[E401]" in str(caught.value) and "was not written by llamatune" in str(caught.value)


@pytest.mark.parametrize("other", ["../../precious.txt", "resolved.yaml", "/etc/passwd", "run.lock"])
def test_a_checkpoint_cuts_back_no_other_file(stage, precious: Path, other: str) -> None:
    with pytest.raises(LlamatuneError, match="stopped here"):
        stage("runs/x", until=leave_checkpoint(sizes(**{other: 0})))
    before = Path("runs/x/resolved.yaml").read_text()
    stage("runs/x")
    assert precious.read_text() == PRECIOUS and Path("runs/x/resolved.yaml").read_text() == before


@pytest.mark.parametrize("name", GROWING)
def test_a_link_is_never_cut_back(stage, precious: Path, name: str) -> None:
    with pytest.raises(LlamatuneError, match="stopped here"):
        stage("runs/x", until=leave_checkpoint(sizes()))
    (Path("runs/x") / name).unlink()
    (Path("runs/x") / name).symlink_to(precious)
    with pytest.raises(LlamatuneError, match="a link, not a file"):
        stage("runs/x")
    assert precious.read_text() == PRECIOUS


@pytest.mark.parametrize("name", [LOCK, "metrics.jsonl", "events.jsonl"])
def test_a_link_is_never_written_to(stage, precious: Path, name: str) -> None:
    def until(run: Run) -> None:
        if name != LOCK:
            (run.directory / name).symlink_to(precious)
        run.log(1, {"loss": 1.0})
        run.event("warning", "beware")

    Path("runs/x").mkdir(parents=True)
    if name == LOCK:
        (Path("runs/x") / LOCK).symlink_to(precious)
    with pytest.raises(LlamatuneError, match="a link, not a file"):
        stage("runs/x", until=until)
    assert precious.read_text() == PRECIOUS


@pytest.mark.parametrize("name", [LOCK, "run.json", "manifest.json", "result.json", "metrics.jsonl"])
def test_a_pipe_is_not_waited_for(stage, name: str) -> None:
    """Opened as usual, each of them would wait for somebody to write into it."""
    stage("runs/x")
    (Path("runs/x") / name).unlink(missing_ok=True)
    os.mkfifo(Path("runs/x") / name)
    try:
        stage("runs/x")
    except LlamatuneError as error:
        assert "a pipe, not a file" in str(error) or "manifest.json" in str(error)


def forged(folder: Path, **changes: Any) -> Path:
    """A manifest with other content, and the hash that fits it: whoever changes one can hash, too."""
    file = folder / checkpoints.MANIFEST
    content = json.loads(file.read_text()) | changes
    content.pop("sha256")
    file.write_text(json.dumps(content | {"sha256": checkpoints._digest(content)}))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"files": [1]},
        {"files": {"weights": 7}},
        {"files": {"weights": {"bytes": 1}}},
        {"files": None},
        {"step": "2"},
        {"step": None},
        {"about": [1]},
        {"format": {}},
    ],
)
def test_a_forged_manifest_is_damage(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "weights").write_text("1")
    checkpoints.commit(tmp_path, step=2, about={})
    assert verify(tmp_path).step == 2
    with pytest.raises(LlamatuneError, match="E401"):
        verify(forged(tmp_path, **changes))


SAMPLE: dict[str, Any] = {"prompt_id": "a", "sample": 0, "seed": 1, "temperature": 1.0, "policy": "b"}
SAMPLE |= {"template": "c", "tokens": [5, 2], "finish_reason": "stop", "text": "Hello", "run": None}
ASKED: dict[str, Any] = {"prompt_id": "a", "prompt": [{"role": "user", "content": "Hi"}], "is_safety": False}


@pytest.mark.parametrize("name", ["samples.jsonl", "prompts.jsonl"])
def test_samples_of_another_type(stage, name: str) -> None:
    """Of a run of somebody else, whose hashes are right: its answers are to compete again."""
    from llamatune.sampling.samples import samples_of

    whole = {"samples.jsonl": json.dumps(SAMPLE), "prompts.jsonl": json.dumps(ASKED)}
    stage("whole", files={"conversations.jsonl": "", **whole})
    ((prompt, (sample,)),) = samples_of("whole")
    assert (prompt, sample.text) == (ASKED, "Hello")
    row = json.loads(whole[name])
    hostile = ["[" * 100_000, "{}", "7"]
    hostile += [json.dumps(row | {key: odd}) for key in row if key != "run" for odd in (None, [["x"]])]
    for number, text in enumerate(hostile):
        stage(f"x{number}", files={"conversations.jsonl": "", **whole, name: text})
        with pytest.raises(LlamatuneError, match="E039"):
            samples_of(f"x{number}")


@pytest.mark.parametrize(
    "changes",
    [
        {"artefact": "../../elsewhere"},
        {"artefact": "/etc"},
        {"artefact": ".."},
        {"artefact": 7},
        {"files": {"adapter": {"path": "../adapter", "sha256": "0"}}},
        {"files": {"adapter": {"path": "a/b", "sha256": "0"}}},
        {"steps": "many"},
        {"seconds": []},
    ],
)
def test_a_result_that_names_what_is_not_of_the_run(stage, changes: dict[str, Any]) -> None:
    from llamatune.errors import RecipeError
    from llamatune.models.found import find
    from llamatune.runs.handover import take

    stage("runs/x")
    file = Path("runs/x/result.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(RecipeError, match="E039"):
        take("runs/x", "adapter")
    if "artefact" in changes:
        with pytest.raises(LlamatuneError, match="E202"):
            find("runs/x")


def leave_link(run: Run) -> None:
    """Stop after checkpoint 2, with a link to another run's checkpoint where there would be one of step 3."""
    folder = run.checkpoints / "checkpoint-2"
    folder.mkdir(parents=True)
    (folder / "weights").write_text("1")
    for name in GROWING:
        (run.directory / name).write_text("{}\n")
    checkpoints.commit(folder, step=2, about=sizes())
    (run.checkpoints / "checkpoint-3").symlink_to("../../../other")
    raise LlamatuneError("E901", "stopped here")


@pytest.mark.parametrize("resume", ["auto", "none"])
def test_a_link_is_no_checkpoint(stage, resume: str) -> None:
    """Discarded, rotated or written into, it would change another run."""
    other = Path("other")
    other.mkdir()
    (other / "weights").write_text(PRECIOUS)
    checkpoints.commit(other, step=3, about=sizes())
    with pytest.raises(LlamatuneError, match="stopped here"):
        stage("runs/x", until=leave_link)
    found = Path("runs/x/checkpoints")
    assert [folder.name for folder in checkpoints.complete(found)] == ["checkpoint-2"]
    checkpoints.rotate(found, 1)
    stage("runs/x", resume=resume)
    assert verify(other).step == 3 and not os.path.lexists(found / "checkpoint-3")


def test_a_link_is_not_discarded(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "checkpoint-2"
    other.mkdir()
    (other / "weights").write_text("1")
    checkpoints.commit(other, step=2, about={})
    link.symlink_to(other)
    checkpoints.discard(link)
    assert verify(other).step == 2 and not os.path.lexists(link)


def test_a_damaged_checkpoint_is_set_aside_over_a_link(tmp_path: Path) -> None:
    folder, other = tmp_path / "checkpoint-2", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (tmp_path / "checkpoint-2.damaged").symlink_to(other)
    assert checkpoints.set_aside(folder).is_dir() and other.is_dir() and not folder.exists()


@pytest.mark.parametrize("written", ["run.json", "manifest.json", "result.json", "resolved.yaml"])
def test_a_temporary_file_is_not_written_through_a_link(stage, precious: Path, written: str) -> None:
    """Whoever guesses the number of the process can plant one."""
    stage("runs/x")
    temporary = temporary_beside(Path("runs/x") / written)
    temporary.symlink_to(precious)
    stage("runs/x", overwrite=True)
    assert precious.read_text() == PRECIOUS and not os.path.lexists(temporary)
    assert not (Path("runs/x") / written).is_symlink()


def test_a_temporary_folder_of_an_earlier_process_of_this_number(tmp_path: Path, precious: Path) -> None:
    temporary_beside(tmp_path / "a").mkdir()
    temporary_beside(tmp_path / "b").symlink_to(tmp_path)
    for name in "ab":
        with making_folder(tmp_path / name) as folder:
            (folder / "precious.txt").write_text("1")
    assert precious.read_text() == PRECIOUS
