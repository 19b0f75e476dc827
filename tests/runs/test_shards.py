"""Shards: each part once, whatever is killed; the same bytes whoever made them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llamatune.errors import DiskError, LlamatuneError
from llamatune.runs import files
from llamatune.runs.shards import Part, Shards
from llamatune.runs.signals import StoppedEarly, StopRequest

KEY = {"policy": "abc", "temperature": 0.7, "seed": 0}
PARTS = [Part(f"{number:03d}", 1 + number % 3) for number in range(12)]
ODD = "line\u2028break\n \ud83d half \x00"


def work(part: Part) -> Iterator[dict[str, Any]]:
    for number in range(part.records):
        yield {"part": part.name, "sample": number, "text": ODD, "score": random.Random(part.name).random()}


def make(folder: Path, parts: list[Part] = PARTS, key: dict[str, Any] = KEY, work: Any = work) -> list[str]:
    said: list[str] = []
    Shards(folder, key).make(parts, work, stop=StopRequest(), say=said.append)
    return said


def joined(folder: Path, parts: list[Part] = PARTS, key: dict[str, Any] = KEY) -> bytes:
    count = Shards(folder, key).join(parts, folder / "all.jsonl")
    content = (folder / "all.jsonl").read_bytes()
    assert content.count(b"\n") == count == sum(part.records for part in parts)
    return content


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert make(folder) == []
    return joined(folder)


def test_records_come_back_in_order(tmp_path: Path, undisturbed: bytes) -> None:
    make(tmp_path)
    expected = [record for part in PARTS for record in work(part)]
    assert list(Shards(tmp_path, KEY).read(PARTS)) == expected
    assert [json.loads(line) for line in undisturbed.splitlines()] == expected


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    make(tmp_path, PARTS[:5])
    made: list[str] = []

    def noted(part: Part) -> Iterator[dict[str, Any]]:
        made.append(part.name)
        return work(part)

    done: list[tuple[int, int]] = []
    shards = Shards(tmp_path, KEY)
    shards.make(PARTS, noted, stop=StopRequest(), done=lambda *counts: done.append(counts))
    assert made == [part.name for part in PARTS[5:]], "more samples come on top"
    assert done == [(number, 12) for number in range(5, 13)]
    shards.make(PARTS, noted, stop=StopRequest())
    assert len(made) == 7


@pytest.mark.parametrize("changed", [{"temperature": 1.0}, {"policy": "abd"}, {"seed": 1}, {"top_p": 0.9}])
def test_shards_of_another_key_never_mix(tmp_path: Path, undisturbed: bytes, changed: dict[str, Any]) -> None:
    make(tmp_path)
    other = KEY | changed
    with pytest.raises(LlamatuneError, match="E931"):
        joined(tmp_path, key=other)
    make(tmp_path, key=other, work=lambda part: [{"other": True}] * part.records)
    assert set(joined(tmp_path, key=other).splitlines()) == {b'{"other": true}'}
    assert joined(tmp_path) == undisturbed
    for shard in Shards(tmp_path, other).folder.glob("0*"):  # copied by somebody who meant well
        (Shards(tmp_path, KEY).folder / shard.name).write_bytes(shard.read_bytes())
    assert len(make(tmp_path)) == len(PARTS), "they are found out and made again"
    assert joined(tmp_path) == undisturbed


def _break(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "bit":
        path.write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "a line less":
        path.write_bytes(content.split(b"\n", 1)[1])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(bytes(range(256)) * 40)
    elif how == "another part":
        path.write_bytes(path.with_name("005.jsonl").read_bytes())
    elif how == "a pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "a device":
        path.unlink()
        path.symlink_to("/dev/zero")
    else:
        path.unlink()
        path.mkdir()
        (path / "inside").touch()


@pytest.mark.parametrize(
    "how",
    ["bit", "cut", "a line less", "empty", "garbage", "another part", "a folder", "a pipe", "a device"],
)
def test_a_damaged_shard_is_told_and_made_again(tmp_path: Path, undisturbed: bytes, how: str) -> None:
    make(tmp_path)
    shard = Shards(tmp_path, KEY).folder / "002.jsonl"
    _break(shard, how)
    with pytest.raises(LlamatuneError, match="E931.*part 002 is (damaged|missing)"):
        joined(tmp_path)
    assert make(tmp_path) == ["002.jsonl is damaged: it is removed and made again"]
    assert joined(tmp_path) == undisturbed


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path, undisturbed: bytes) -> None:
    folder = Shards(tmp_path, KEY).folder
    folder.mkdir(parents=True)
    others = [folder / name for name in ("notes.txt", "013.jsonl", ".hidden", "002.json", ".x.y-z")]
    for file in others:
        file.write_bytes(b"\xff{")
    assert make(tmp_path) == []
    assert joined(tmp_path) == undisturbed and all(file.read_bytes() == b"\xff{" for file in others)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_part_that_gives_another_number_of_records(tmp_path: Path, count: int) -> None:
    with pytest.raises(LlamatuneError, match=f"E930.*part 001 gave {count} records? instead of 2"):
        make(tmp_path, [Part("001", 2)], work=lambda part: [{}] * count)
    assert not (Shards(tmp_path, KEY).folder / "001.jsonl").exists()


def test_an_error_of_the_work_is_not_a_full_disk(tmp_path: Path, undisturbed: bytes) -> None:
    def fails(part: Part) -> Iterator[dict[str, Any]]:
        yield {"first": 1}
        if part.name == "004":
            raise ConnectionError(28, "No space left on device")
        yield from list(work(part))[1:]

    with pytest.raises(ConnectionError):
        make(tmp_path, PARTS, work=fails)
    assert not list(Shards(tmp_path, KEY).folder.glob(".*"))


def test_a_request_to_stop_waits_for_the_end_of_a_part(tmp_path: Path, undisturbed: bytes) -> None:
    def asked(part: Part) -> Iterator[dict[str, Any]]:
        if part.name == "003":
            os.kill(os.getpid(), signal.SIGTERM)
        return work(part)

    stop = StopRequest()
    with stop.listening(), pytest.raises(StoppedEarly, match="after 4 of 12 parts"):
        Shards(tmp_path, KEY).make(PARTS, asked, stop=stop)
    assert len(list(Shards(tmp_path, KEY).folder.glob("0*.jsonl"))) == 4
    assert make(tmp_path) == []
    assert joined(tmp_path) == undisturbed


def test_a_request_during_the_last_part_is_heard(tmp_path: Path) -> None:
    def asked(part: Part) -> Iterator[dict[str, Any]]:
        os.kill(os.getpid(), signal.SIGINT)
        return work(part)

    stop = StopRequest()
    with stop.listening(), pytest.raises(StoppedEarly, match="after 1 of 1 part;"):
        Shards(tmp_path, KEY).make(PARTS[:1], asked, stop=stop)
    assert stop.exit_code == 130 and not stop.can_wait


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_any_number_of_processes_give_the_same_bytes(
    tmp_path: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    made: list[str] = []

    def noted(part: Part) -> Iterator[dict[str, Any]]:
        made.append(part.name)
        return work(part)

    monkeypatch.setenv("WORLD_SIZE", str(processes))
    for rank in reversed(range(processes)):
        monkeypatch.setenv("RANK", str(rank))
        make(tmp_path, work=noted)
    assert sorted(made) == [part.name for part in PARTS]
    assert joined(tmp_path) == undisturbed


# ---- processes that die -----------------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_shards import KEY, PARTS, work
from llamatune.runs.shards import Shards
from llamatune.runs.signals import StopRequest

def slow(part):
    for record in work(part):
        time.sleep(0.01)
        yield record

print("ready", flush=True)
{limit}
Shards(Path({folder!r}), KEY).make(PARTS, slow, stop=StopRequest(), say=lambda line: print(line, flush=True))
"""


def child(folder: Path, limit: str = "", **env: str) -> "subprocess.Popen[str]":
    code = CHILD.format(tests=str(Path(__file__).parent), folder=str(folder), limit=limit)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    assert process.stdout and process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def test_kills_at_random_moments(tmp_path: Path, undisturbed: bytes) -> None:
    chance, kills, finished = random.Random(0), 0, False
    while not finished:
        process = child(tmp_path)
        # Later kills may come later: the work ends however slow the machine is.
        time.sleep(chance.uniform(0, 0.06) * (1 + kills / 10))
        process.kill()
        finished = process.wait() == 0
        kills += not finished
        process.communicate()
    assert kills >= 1
    assert joined(tmp_path) == undisturbed
    assert not list(Shards(tmp_path, KEY).folder.glob(".*"))


def test_a_kill_between_writing_and_renaming(tmp_path: Path, undisturbed: bytes) -> None:
    limit = """
def replace(self, target):
    if target.name == "004.jsonl":
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, target)
plain, Path.replace = Path.replace, replace
"""
    assert child(tmp_path, limit).wait() == -signal.SIGKILL
    assert make(tmp_path) == ["004.jsonl was half written by a process that died: it is made again"]
    assert joined(tmp_path) == undisturbed


def test_a_full_disk_keeps_what_is_whole(tmp_path: Path, undisturbed: bytes) -> None:
    """A limit on the size of files stops the larger shards, as a full quota does."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400, resource.RLIM_INFINITY))"
    process = child(tmp_path, limit)
    _, error = process.communicate()
    assert process.returncode == 1 and "E802" in error and "the disk is full" in error, error
    left = sorted(path.name for path in Shards(tmp_path, KEY).folder.iterdir())
    assert left == ["000.jsonl", "001.jsonl", "key.json"]
    make(tmp_path)
    assert joined(tmp_path) == undisturbed


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DiskError, match="E801"):
        Shards(tmp_path, KEY).join(PARTS, tmp_path / "nowhere/all.jsonl")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("ranks", [("0", "1"), ("0", "0")], ids=["by rank", "both the same parts"])
def test_two_processes_side_by_side(tmp_path: Path, undisturbed: bytes, ranks: tuple[str, str]) -> None:
    size = str(len(set(ranks)))
    pair = [child(tmp_path, RANK=rank, WORLD_SIZE=size) for rank in ranks]
    for process in pair:
        said, error = process.communicate()
        assert process.returncode == 0 and said == "", (said, error)
    assert joined(tmp_path) == undisturbed


def test_half_shards_of_living_processes_are_left_to_them(tmp_path: Path) -> None:
    folder = Shards(tmp_path, KEY).folder
    folder.mkdir(parents=True)
    host = files.temporary_beside(folder / "x").name.split(".")[2].rpartition("-")[0]
    half = folder / f".001.jsonl.{host}-{os.getppid()}"
    half.write_text("half")
    assert make(tmp_path) == [] and half.read_text() == "half"
