"""A small real run, the fork server, and comparisons with the run that nothing disturbed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from place import Place, Server, fault

RECIPE = """\
stage: sft
output: run
model: {base: pico, lora: {rank: 4, dropout: 0.1}}
data: {train: [{path: rows.jsonl}], eval: [{path: eval.jsonl}], max_length: 128}
optimization: {max_steps: 10, batch_size: 4, warmup: 2, learning_rate: 1e-3}
generation: {prompts: ["Say cup.", "Who are you?"], every_steps: 5, max_new_tokens: 4}
logging: {every_steps: 2, eval_every_steps: 4}
checkpoint: {every_steps: 3}
"""
WORDS = ["cup", "hat", "key", "map", "pen", "bag", "box", "car", "dog", "egg", "fan", "gun"]


def row(asked: str, answered: str) -> str:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return json.dumps({"messages": messages}) + "\n"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if sys.platform != "linux":
        pytest.skip("faults are made with Linux's means")
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder / "log", {**os.environ, "OMP_NUM_THREADS": "1"})
    yield server
    server.close()


@pytest.fixture(scope="session")
def new_place(server: Server, tmp_path_factory: pytest.TempPathFactory):
    """`new_place()` is a working directory with the recipe and its rows, and nothing run yet."""

    def make() -> Place:
        folder = tmp_path_factory.mktemp("place")
        (folder / "recipe.yaml").write_text(RECIPE)
        rows = [
            row(f"Say {word} {'and ' * n}", f"{word} {word}!" + " yes" * (n % 7))
            for n, word in enumerate(WORDS)
        ]
        rows += [
            row(f"Tell me about {word}.", f"A {word} " + "is " * (n % 5)) for n, word in enumerate(WORDS)
        ]
        (folder / "rows.jsonl").write_text("".join(rows))
        (folder / "eval.jsonl").write_text("".join(row(f"What is {word}?", f"{word}!") for word in WORDS[:4]))
        for file in folder.iterdir():
            os.utime(file, (1e9, 1e9))
        return Place(folder, server)

    return make


@pytest.fixture
def place(new_place) -> Place:
    return new_place()


@pytest.fixture(scope="session")
def reference(new_place):
    """What the undisturbed run learnt. `reference(overrides...)` is that of a changed recipe."""
    known: dict[tuple[str, ...], object] = {}

    def of(*overrides: str):
        if overrides not in known:
            place = new_place()
            ended = place.run(*overrides)
            assert ended.code == 0, ended.said
            known[overrides] = place.learnt()
        return known[overrides]

    return of


@pytest.fixture(scope="session")
def _killed(new_place) -> Path:
    place = new_place()
    assert place.run(faults=[fault("kill", at="forward 8")]).code == -9
    assert place.checkpoints() == ["checkpoint-3", "checkpoint-6"]
    return place.folder


@pytest.fixture
def killed(_killed: Path, new_place) -> Place:
    """A run that was killed in its eighth step, with checkpoints 3 and 6."""
    place = new_place()
    shutil.copytree(_killed, place.folder, dirs_exist_ok=True)
    return place


@pytest.fixture
def isolated() -> Iterator[Callable[[Place, str], int]]:
    """`isolated(place, commands)` is a process with mounts of its own and without a network, where the commands
    were run; those of a test can join it."""
    if subprocess.run(["unshare", "-rmn", "true"], capture_output=True).returncode != 0:
        pytest.skip("mounting needs root or user namespaces")
    holders: list[subprocess.Popen[str]] = []

    def isolate(place: Place, commands: str = "true") -> int:
        unshare = ["unshare", "-rmn", "sh", "-c", f"{commands} && echo ready && exec sleep 600"]
        holders.append(subprocess.Popen(unshare, cwd=place.folder, stdout=subprocess.PIPE, text=True))
        assert holders[-1].stdout and holders[-1].stdout.readline() == "ready\n"
        return holders[-1].pid

    yield isolate
    for holder in holders:
        holder.kill()
        holder.communicate()
