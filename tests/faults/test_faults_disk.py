"""A disk that is full, read-only or gone: a clear message, nothing half-written, and nothing lost that was saved."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from place import Ended, Place, fault

SMALL = ["model.lora.targets=[q_proj]"]
"""An adapter of 40 kB, so that the checkpoints fit on a disk of 1 MB."""
ON_DISK = [*SMALL, "output=disk/run"]


@pytest.fixture
def on_small_disk(place: Place, isolated) -> Place:
    """A place whose folder `disk` is a tmpfs of 1 MB."""
    (place / "disk").mkdir()
    pid = isolated(place, "mount -t tmpfs -o size=1m tmpfs disk")
    return replace(place, run_directory=Path(f"/proc/{pid}/root{place / 'disk/run'}"), joins={"mnt": pid})


def check_full(ended: Ended, place: Place) -> None:
    assert ended.code == 8, ended.said
    assert "error[E802]" in ended.said and "the disk is full" in ended.said, ended.said
    assert "have " in ended.said and "run the same command again" in ended.said
    assert "Traceback" not in ended.said and "weights_only" not in ended.said


def test_row_09_the_disk_is_too_small_from_the_start(on_small_disk) -> None:
    ended = on_small_disk.run("output=disk/run")
    assert ended.code == 8 and "E803" in ended.said and "sft 1/10" not in ended.said, ended.said


@pytest.mark.parametrize(
    ("moment", "leave"),
    [("save 6", 0), ("save 6", 16_384), ("save 6", 90_000), ("save 6: before the manifest", 0)],
)
def test_row_09_disk_full_while_saving(on_small_disk, reference, moment: str, leave: int) -> None:
    place = on_small_disk
    ended = place.run(*ON_DISK, faults=[fault("fill_disk", at=moment, folder="disk", leave=leave)])
    check_full(ended, place)
    assert "need " in ended.said, ended.said
    assert place.checkpoints() == ["checkpoint-3"], "what was written of checkpoint-6 is removed"
    full_again = place.run(*ON_DISK)
    assert full_again.code == 8, full_again.said
    assert place.checkpoints() == ["checkpoint-3"]
    (place.file("..") / "ballast").unlink()
    again = place.run(*ON_DISK)
    assert again.code == 0 and "going on from checkpoint-3" in again.said, again.said
    assert place.learnt() == reference(*SMALL)


@pytest.mark.parametrize("moment", ["artefact", "artefact written"])
def test_row_09_disk_full_at_the_end(on_small_disk, reference, moment: str) -> None:
    place = on_small_disk
    ended = place.run(*ON_DISK, faults=[fault("fill_disk", at=moment, folder="disk", leave=0)])
    check_full(ended, place)
    (place.file("..") / "ballast").unlink()
    again = place.run(*ON_DISK)
    assert again.code == 0 and "going on from checkpoint-9" in again.said, again.said
    assert place.learnt() == reference(*SMALL)


def test_row_09_going_on_needs_space_for_the_rest_only(on_small_disk, reference) -> None:
    """The checkpoints that are there already are counted."""
    place = on_small_disk
    assert place.run(*ON_DISK, faults=[fault("kill", at="forward 8")]).code == -9
    ended = place.run(*ON_DISK, faults=[fault("fill_disk", at=None, folder="disk", leave=300_000)])
    assert ended.code == 0, ended.said
    assert place.learnt() == reference(*SMALL)


@pytest.mark.parametrize(
    ("moment", "size"),
    [
        ("save 6", 10_000),  # the adapter
        ("save 6", 400_000),  # optimizer.pt
        ("save 6", 1_000),  # adapter_config.json
        ("step 4", 300),  # metrics.jsonl
        ("artefact", 10_000),
        ("artefact written", 100),  # result.json
    ],
)
def test_row_09_files_may_not_grow(place, reference, moment: str, size: int) -> None:
    ended = place.run_in_pipe(faults=[fault("limit_files", at=moment, size=size)])
    check_full(ended, place)
    assert set(place.checkpoints()) <= {"checkpoint-3", "checkpoint-6", "checkpoint-9"}
    assert moment[:4] != "save" or place.checkpoints() == ["checkpoint-3"]
    assert place.run().code == 0
    assert place.learnt() == reference()


def test_row_09_what_cannot_be_read_is_not_called_a_disk_that_cannot_be_written(place, reference) -> None:
    ended = place.run(faults=[fault("break_data", at_step=5)])
    assert ended.code == 1 and "Input/output error: 'rows.arrow'" in ended.said, ended.said
    assert "cannot be written" not in ended.said and "E80" not in ended.said
    assert place.run().code == 0
    assert place.learnt() == reference()


READ_ONLY = "mount --bind {0} {0} && mount -o remount,bind,ro {0}"


def test_row_10_output_is_read_only(place, isolated) -> None:
    (place / "disk").mkdir()
    ended = place.run("output=disk/run", joins={"mnt": isolated(place, READ_ONLY.format("disk"))})
    assert ended.code == 8 and "E801" in ended.said and "Read-only" in ended.said, ended.said
    assert "Traceback" not in ended.said and "sft 1/10" not in ended.said


def test_row_10_output_became_read_only_before_the_run_goes_on(killed, reference, isolated) -> None:
    ended = killed.run(joins={"mnt": isolated(killed, READ_ONLY.format("run"))})
    assert ended.code == 8 and "E801" in ended.said and "Read-only" in ended.said, ended.said
    assert "Traceback" not in ended.said and "sft 8/10" not in ended.said
    assert killed.run().code == 0
    assert killed.learnt() == reference()


@pytest.mark.parametrize(
    "moment", ["step 4", "save 6", "save 6: optimizer.pt", "evaluation 8", "trained", "end"]
)
def test_row_10_output_is_removed_during_the_run(place, moment: str) -> None:
    ended = place.run(faults=[fault("remove", at=moment, path="run")])
    assert ended.code == 8 and "the run directory has gone" in ended.said, ended.said
    assert "Traceback" not in ended.said and not ended.out
    assert not (place / "run").exists(), "half a run came back"


def test_row_10_output_is_replaced_by_another_run(place, killed, reference) -> None:
    """The directory was moved away and another run began there: that one's files are not ours to touch."""
    process = place.start(faults=[fault("pause", at="step 5", seconds=0.3)])
    process.wait_for(place / "moments", "step 5")
    process.signal(signal.SIGSTOP)
    place.file("").rename(place / "moved")
    shutil.move(killed.file(""), place.file(""))
    before = contents(place.file(""))
    process.signal(signal.SIGCONT)
    ended = process.wait()
    assert ended.code == 8 and "the run directory has gone" in ended.said, ended.said
    assert contents(place.file("")) == before, "the other run was changed"
    again = place.run()
    assert again.code == 0 and "going on from checkpoint-6" in again.said, again.said
    assert place.learnt() == reference()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
