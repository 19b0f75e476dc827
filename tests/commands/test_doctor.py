"""`llamatune doctor` says what is here, and never a secret."""

import json

import pytest
from typer.testing import CliRunner

from llamatune.cli import app


def test_what_is_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert found["versions"]["transformers"][0].isdigit() and found["devices"]
    assert found["hub_token"] is True and "xxxx" not in done.stdout
    assert "wandb" not in found["missing"] or "report_to" in found["missing"]["wandb"]


def test_it_reads_well() -> None:
    said = CliRunner().invoke(app, ["doctor"]).output
    assert "devices" in said and "free here" in said
