"""Checkpoints that are not what they were: never read, always named, and the newest good one is used."""

import shutil
from pathlib import Path

import pytest
from place import Place, fault

FILES = ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


def half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def one_byte_more(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"\n")


def flip_bit(file: Path, at: int = -100, bit: int = 0x10) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= bit
    file.write_bytes(content)


def newest(place: Place, name: str) -> Path:
    return place.file("checkpoints/checkpoint-6") / name


def check_fell_back(place: Place, why: str, learnt: object = None) -> None:
    """The run goes on from checkpoint-3 and says why. Without `learnt` it is ended as soon as it has said so."""
    said = f"checkpoint-6: {why}; using checkpoint-3"
    if learnt is None:
        place.says(said)
    else:
        ended = place.run()
        assert ended.code == 0 and said in ended.said, ended.said
        assert "going on from checkpoint-3" in ended.said
        assert any(said in event for event in place.events("resume"))
        assert place.learnt() == learnt


@pytest.mark.parametrize(
    ("name", "damage"),
    [*((name, half) for name in FILES), ("scheduler.pt", empty), ("trainer_state.json", one_byte_more)],
)
def test_row_11_truncated(killed, reference, name: str, damage) -> None:
    file = newest(killed, name)
    size = file.stat().st_size
    damage(file)
    why = f"{name} has {file.stat().st_size:,} of {size:,} bytes"
    check_fell_back(killed, why, reference() if name == "adapter_model.safetensors" else None)


@pytest.mark.parametrize("name", [*FILES, "adapter_config.json"])
def test_row_12_one_bit_flipped(killed, reference, name: str) -> None:
    flip_bit(newest(killed, name))
    why = f"{name} has changed (its sha256 is not the recorded one)"
    check_fell_back(killed, why, reference() if name == "optimizer.pt" else None)


@pytest.mark.parametrize(
    "before",
    [
        "{",
        '"step": ',
        '"optimizer.pt": {\n      "bytes": ',
        '"sha256": "',
        '"metrics.jsonl": ',
        '"last_loss": ',
        '"bud',
    ],
)
def test_row_12_one_bit_flipped_in_the_manifest(killed, before: str) -> None:
    """It also holds how long the logs were, and the state of the logs and guards: these must not lie either."""
    file = newest(killed, "manifest.json")
    flip_bit(file, file.read_text().index(before) + len(before), bit=0x01)
    ended = killed.says("using checkpoint-3")
    assert "manifest.json" in ended.said or before in ('"sha256": "', '"optimizer.pt": {\n      "bytes": '), (
        ended.said
    )


@pytest.mark.parametrize("name", [*FILES, "adapter_config.json"])
def test_row_13_missing(killed, reference, name: str) -> None:
    newest(killed, name).unlink()
    check_fell_back(
        killed, f"{name} is missing", reference() if name in ("optimizer.pt", "rng_state.pth") else None
    )


def test_row_13_optimizer_and_scheduler_missing(killed, reference) -> None:
    """What upstream takes for a wish to begin with a fresh optimizer."""
    for name in ("optimizer.pt", "scheduler.pt"):
        newest(killed, name).unlink()
    check_fell_back(killed, "optimizer.pt is missing", reference())


def test_row_14_all_checkpoints_are_bad(killed, reference) -> None:
    flip_bit(newest(killed, "optimizer.pt"))
    killed.file("checkpoints/checkpoint-3/rng_state.pth").unlink()
    ended = killed.run()
    assert ended.code == 4 and "error[E402]" in ended.said, ended.said
    assert "checkpoint-6: optimizer.pt has changed" in ended.said
    assert "checkpoint-3: rng_state.pth is missing" in ended.said
    assert "--resume none" in ended.said and "Traceback" not in ended.said
    assert killed.run().code == 4, "asking again does not help"
    again = killed.run("--resume", "none")
    assert again.code == 0, again.said
    assert killed.learnt() == reference()


def test_row_14_bad_and_unfinished_ones(killed) -> None:
    newest(killed, "manifest.json").unlink()
    half(killed.file("checkpoints/checkpoint-3/optimizer.pt"))
    ended = killed.run()
    assert ended.code == 4 and "checkpoint-3: optimizer.pt has" in ended.said, ended.said


def test_row_14_checkpoints_were_taken_away(killed, reference) -> None:
    """Without any checkpoint the run starts again, and says so."""
    shutil.rmtree(killed.file("checkpoints"))
    ended = killed.run()
    assert ended.code == 0 and "died without a word" in ended.said, ended.said
    assert "replies at step 0" in ended.said
    assert killed.learnt() == reference()


def test_row_11_metrics_cut_off(killed) -> None:
    """metrics.jsonl has lost lines that the checkpoint counts on: said, and not filled up with zeros."""
    half(killed.file("metrics.jsonl"))
    ended = killed.run()
    assert "metrics.jsonl has" in ended.said, ended.said
    assert b"\0" not in killed.file("metrics.jsonl").read_bytes()


def test_row_11_a_damaged_checkpoint_does_not_count_as_the_newest(killed, reference) -> None:
    """With `keep: 1` it would push out every checkpoint that is made after the one that was used instead."""
    flip_bit(newest(killed, "optimizer.pt"))
    often = ["checkpoint.every_steps=1", "checkpoint.keep=1"]
    assert killed.run(*often, faults=[fault("kill", at="step 5")]).code == -9
    assert killed.checkpoints() == ["checkpoint-4", "checkpoint-6.damaged"]
    again = killed.run(*often)
    assert again.code == 0 and "going on from checkpoint-4" in again.said, again.said
    assert killed.learnt() == reference()
