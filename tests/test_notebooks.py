"""Every notebook runs from top to bottom, and is committed with what it shows, which is nothing but its own."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from support import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOWN = {"03_ppo": "policy and critic as in the first run, bit by bit: True"}
"""What a notebook must have shown at its end; those that run a recipe, its result."""


def test_no_notebook_is_missing() -> None:
    assert len(NOTEBOOKS) == 6


def outputs(notebook: Any) -> list[Any]:
    return [one for cell in notebook.cells for one in cell.get("outputs", [])]


def check_outputs(notebook: Any) -> None:
    """Each code cell has run, nothing of it went wrong, and no library had its say."""
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert not [one for one in outputs(notebook) if one.output_type == "error" or one.get("name") == "stderr"]
    shown = str(outputs(notebook))
    assert str(Path.home()) not in shown and "Traceback" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_gave(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    check_outputs(notebook)
    assert SHOWN.get(path.stem, "Result(stage='") in str(outputs(notebook))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    before = [
        (one.output_type, one.get("name")) for one in outputs(notebook) if one.output_type != "display_data"
    ]
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    check_outputs(notebook)
    after = [
        (one.output_type, one.get("name")) for one in outputs(notebook) if one.output_type != "display_data"
    ]
    assert set(after) == set(before)
    assert SHOWN.get(path.stem, "Result(stage='") in str(outputs(notebook))
