"""Every notebook runs from top to bottom, and is committed with what it shows, which is nothing but its own."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from support import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOWN = {
    "01_quickstart": "held-out loss",
    "02_own_data": "My name is Robin.",
    "03_reward_models": "unsafe replies found",
    "04_rejection_sampling": "runs/rs-tuned",
    "05_ppo": "policy and critic as in the first run, bit by bit: True",
    "06_ghost_attention": "turns 5 to 8:",
    "07_safety": "and distilled:",
    "08_evaluation": "step 30:",
    "09_the_whole_method": "round-1/ppo [ppo] <- round-1/tuned, round-1/helpful, safe: runs",
}
"""The course: what each notebook must have shown at its end."""


def test_the_course_is_whole_and_in_order() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(SHOWN)
    titles = [nbformat.read(path, as_version=4).cells[0].source for path in NOTEBOOKS]
    assert [title.split()[1] for title in titles] == [f"{number}." for number in range(1, len(SHOWN) + 1)]


def outputs(notebook: Any) -> list[Any]:
    return [one for cell in notebook.cells for one in cell.get("outputs", [])]


def text_of(notebook: Any) -> str:
    """All that a notebook printed."""
    return "\n".join(
        one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs(notebook)
    )


def kinds(notebook: Any) -> set[tuple[str, Any]]:
    return {(one.output_type, one.get("name")) for one in outputs(notebook)}


def execute(notebook: Any, folder: Path) -> None:
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()


def check_outputs(name: str, notebook: Any) -> None:
    """Each code cell has run, nothing of it went wrong, and no library had its say."""
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert not [one for one in outputs(notebook) if one.output_type == "error" or one.get("name") == "stderr"]
    shown = text_of(notebook)
    assert str(Path.home()) not in shown and "Traceback" not in shown
    assert not re.search(r"[\x1b\r\x08━]|it/s\b|\w+Warning\b", shown)
    assert SHOWN[name] in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_gave(path: Path) -> None:
    check_outputs(path.stem, nbformat.read(path, as_version=4))


@pytest.mark.parametrize(
    "name",
    [
        "03_reward_models",
        "04_rejection_sampling",
        "05_ppo",
        "06_ghost_attention",
        "07_safety",
        "08_evaluation",
        "09_the_whole_method",
    ],
)
def test_what_the_prose_quotes_was_printed(name: str) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    quoting = [
        paragraph
        for cell in notebook.cells
        for paragraph in cell.source.split("\n\n")
        if cell.cell_type == "markdown" and "When this was written" in paragraph
    ]
    quoted = {number for paragraph in quoting for number in re.findall(r"-?\d+(?:\.\d+)?", paragraph)}
    assert quoted
    assert quoted <= set(re.findall(r"-?\d+(?:\.\d+)?", text_of(notebook)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    prose = "\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"
    )
    linked = re.findall(r"\]\(([^)#]+)", prose)
    assert not [link for link in linked if not (path.parent / link).is_file()]


def test_progress_is_plain_text_in_a_notebook(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell(
        "from llamatune.runs.display import Display\n\n"
        "with Display('sft') as display:\n"
        "    display.say('12 rows')\n"
        "    display.start(2)\n"
        "    display.update(1, {'loss': 2.5})\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    execute(notebook, tmp_path)
    assert kinds(notebook) == {("stream", "stdout")}
    shown = "".join(one.text for one in outputs(notebook))
    assert shown.startswith("12 rows\nsft 1/2  loss 2.5000")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    before = kinds(notebook)
    execute(notebook, tmp_path)
    check_outputs(path.stem, notebook)
    assert kinds(notebook) == before
