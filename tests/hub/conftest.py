"""Runs to push, a hub on this machine to push them to, and the real command with a home of its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llamatune.runs.handover import conversation_row, digest, preference_row, write_rows
from loopback import LoopbackHub
from support import ROOT

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hub():
    with LoopbackHub() as running:
        yield running


@pytest.fixture
def llamatune(hub: LoopbackHub, tmp_path: Path) -> Command:
    """`llamatune("push", ...)` with that hub, in a working directory and a home of its own."""

    def command(*arguments: str, token: bool = True, home: str = "home") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llamatune", *arguments],
            cwd=tmp_path,
            env=hub.environment(tmp_path / home, token=token) | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return command


@pytest.fixture
def rows_run(tmp_path: Path) -> Path:
    """A finished run of rejection sampling, by its files: rows, and beside them much that must stay here."""
    run = tmp_path / "runs" / "samples"
    run.mkdir(parents=True)
    asked = [{"role": "user", "content": "Who are you?"}]
    made_by = {"stage": "rejection_sampling", "policy": "f" * 64, "run": str(tmp_path / "runs" / "sft")}
    said = [conversation_row(asked, f"I am number {number}.", made_by) for number in range(40)]
    pairs = [preference_row(asked, f"I am {one}.", f"{one}!", made_by, rating="better") for one in range(30)]
    for name, rows in (("conversations", said), ("preferences", pairs), ("preferences_test", pairs[:5])):
        write_rows(run / f"{name}.jsonl", rows)
    names = ("conversations.jsonl", "preferences.jsonl", "preferences_test.jsonl")
    files = {name: {"path": name, "sha256": digest(run / name)} for name in names}
    result = {"stage": "rejection_sampling", "artefact": names[0], "base": "pico", "steps": 1, "seconds": 2.0}
    (run / "result.json").write_text(json.dumps({**result, "files": files, "finished": 1.8e9}))
    (run / "resolved.yaml").write_text(
        f"stage: rejection_sampling\noutput: {run}\nmodel: {{base: pico, adapter: {tmp_path}/runs/sft}}\n"
    )
    source = {
        "name": str(tmp_path / "mine.jsonl"),
        "role": "train",
        "licence": "cc0-1.0",
        "counts": {"kept": 40},
    }
    (run / "data.json").write_text(json.dumps({"sources": [source]}))
    (run / "run.json").write_text(json.dumps({"host": "secret-host"}))
    (run / ".env").write_text("TOKEN=x")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "optimizer.pt").write_bytes(b"state")
    return run


@pytest.fixture(scope="session")
def adapter_run(made_once, tiny_base) -> Path:
    """A folder with a finished LoRA run in `run`, the hub's files of its base in `base`, and the cache in `home`: the
    base is a small Llama with random weights that was downloaded from a hub."""

    def make(folder: Path) -> None:
        folder.mkdir()
        shutil.copytree(tiny_base(max_position_embeddings=512), folder / "base")
        (folder / "base" / "README.md").write_text("---\nlicense: llama2\n---\nA base.\n")
        (folder / "base" / "LICENSE.txt").write_text("Terms of the base.\n")
        recipe = {
            "stage": "sft",
            "output": str(folder / "run"),
            "model": {"base": "them/base", "lora": {"rank": 4}},
            "data": {"train": [{"card": "pico-sft-safety", "max_rows": 160}], "max_length": 512},
            "optimization": {"max_steps": 12, "batch_size": 8, "warmup": 1, "learning_rate": 4e-3},
            "generation": {"prompts": ["Who | are\n<you>?"], "max_new_tokens": 8},
            "logging": {"every_steps": 4},
        }
        (folder / "recipe.yaml").write_text(json.dumps(recipe))
        with LoopbackHub() as running:
            running.holds(folder / "base", "them/base")
            done = subprocess.run(
                [sys.executable, "-m", "llamatune", "run", str(folder / "recipe.yaml")],
                env=running.environment(folder / "home") | {"PYTHONPATH": str(ROOT / "src")},
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=600,
            )
        assert done.returncode == 0, done.stderr

    return made_once("hub-adapter", make)
