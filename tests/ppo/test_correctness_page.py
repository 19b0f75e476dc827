"""docs/ppo_correctness.md is what scripts/ppo_correctness.py makes of the tests' marks."""

import runpy
from pathlib import Path

import pytest

from support import ROOT

SCRIPT = runpy.run_path(str(ROOT / "scripts/ppo_correctness.py"))
MARKED = '@pytest.mark.proves("{line}")\ndef test_it(): ...\n'


def test_the_page_says_what_the_marks_say() -> None:
    assert SCRIPT["PAGE"].read_text("utf-8") == SCRIPT["page"](), "run python scripts/ppo_correctness.py"


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        (["A1"], "no test proves A2, A3"),
        (["A30"], "there is no line A30"),
        (["A1", "A2"], "test_it is a test of"),
    ],
)
def test_what_would_make_a_wrong_page_is_refused(tmp_path: Path, marked: list[str], said: str) -> None:
    """A line without a test, a mark without a line, two tests of one name."""
    for number, line in enumerate(marked):
        (tmp_path / f"test_{number}.py").write_text(MARKED.format(line=line))
    with pytest.raises(SystemExit, match=said):
        SCRIPT["page"](tmp_path)
