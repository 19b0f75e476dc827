"""docs/plan.md has the tables that scripts/plan_page.py makes today."""

import runpy
from pathlib import Path

import pytest

from support import ROOT


def test_the_page_has_todays_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no run of a recipe is
    script = runpy.run_path(str(ROOT / "scripts/plan_page.py"))
    assert script["PAGE"].read_text("utf-8") == script["page"](), "run python scripts/plan_page.py"
