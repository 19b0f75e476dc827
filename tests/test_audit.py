"""What is installed is pinned with its hashes, and an audit that nobody could be asked for says so."""

import importlib.util
import re
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from support import ROOT

LOCKS = ("requirements.lock", "requirements-cpu.lock", "requirements-cuda.lock")


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts/audit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(name: str) -> dict[str, str]:
    text = "\n".join(line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#"))
    found = {one.partition("==")[0]: one for one in re.split(r"\n(?=\S)", text.strip())}
    return {name: entry for name, entry in found.items() if not name.startswith("--")}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes(lock: str) -> None:
    for name, entry in entries(lock).items():
        assert re.match(r"[\w.-]+==\S", entry) and "--hash=sha256:" in entry, f"{name} in {lock}"


def test_what_builds_and_what_a_gpu_needs_is_pinned_too() -> None:
    assert {"hatchling", "editables"} <= entries("requirements.lock").keys()
    assert {"torch", "triton"} <= entries("requirements-cuda.lock").keys()
    make = (ROOT / "Makefile").read_text()
    assert "--require-hashes --no-deps" in make and "--no-build-isolation --editable ." in make


def test_another_version_and_a_missing_hash_are_told(audit: ModuleType, tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(f"pytest=={version('pytest')}\nnumpy==0.0.1 \\\n    --hash=sha256:{'0' * 64}\n")
    assert [found.partition(":")[0] for found in audit.differences(lock)] == [
        "pytest has no hash in x.lock",
        f"numpy {version('numpy')} is installed, x.lock says 0.0.1",
    ]


def test_that_nobody_could_be_asked_is_said(
    audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "pip-audit is not installed" in audit.vulnerabilities()
    tool = tmp_path / "pip-audit"
    tool.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 1\n")
    tool.chmod(0o755)
    assert audit.vulnerabilities() == "no route to host"
    tool.write_text(
        """#!/bin/sh\necho '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}]}'\n"""
    )
    assert set(audit.vulnerabilities()) == {"a 1: CVE-1"}
