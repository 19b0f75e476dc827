"""`llamatune doctor` says what is here, and never a secret."""

import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.commands import doctor
from llamatune.version import __version__


def test_what_is_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert found["versions"]["transformers"][0].isdigit() and found["devices"]
    assert found["versions"]["llamatune"] == __version__, (
        "of the code that runs, not of what was installed before"
    )
    assert found["hub_token"] is True and "xxxx" not in done.stdout
    assert "wandb" not in found["missing"] or "report_to" in found["missing"]["wandb"]


def test_it_reads_well() -> None:
    said = CliRunner().invoke(app, ["doctor"]).output
    assert "devices" in said and "free here" in said


def test_a_cache_that_others_write_to(tmp_path: Path) -> None:
    enough = threading.Event()

    def write_and_remove() -> None:
        while not enough.is_set():
            folder = tmp_path / "rows"
            folder.mkdir()
            files = [folder / str(number) for number in range(20)]
            for file in files:
                file.write_bytes(b"1")
            for file in files:
                file.unlink()
            folder.rmdir()

    other = threading.Thread(target=write_and_remove)
    other.start()
    try:
        for _ in range(300):
            doctor._folder(tmp_path)
    finally:
        enough.set()
        other.join()
