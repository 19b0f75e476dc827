"""Whatever is in a file, its gate gives a result or an error of our own; `scripts/fuzz.py` does the same at length."""

from pathlib import Path

import pytest

from gates import HEAVY, LIGHT, execute

EXECUTIONS = {"report": 15}
"""Of a gate, always the same ones; of each other gate sixty."""
TOLERANT = ("report", "cache_entry", "template", "trained_on", "model_card")
"""Gates that do with what they can read."""


@pytest.mark.parametrize("gate", [*LIGHT, *(pytest.param(gate, marks=pytest.mark.slow) for gate in HEAVY)])
def test_any_file(gate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    refused = 0
    for number in range(EXECUTIONS.get(gate, 60)):
        try:
            refused += execute(gate, 0, number, tmp_path) is not None
        except Exception as error:
            raise AssertionError(f"python scripts/fuzz.py --gate {gate} --only {number}") from error
    assert refused or gate in TOLERANT, "otherwise nothing hostile was among them"
