"""docs/ppo_correctness.md lists every line of the acceptance list, and tests that exist."""

import re

from support import ROOT

LINES = [f"{group}{n}" for group, last in (("A", 29), ("B", 42), ("H", 9)) for n in range(1, last + 1)]
ROW = re.compile(r"^\| ([ABH]\d+) \| (.+) \| (.*) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall((ROOT / "docs/ppo_correctness.md").read_text("utf-8"))


def tests() -> set[str]:
    files = (ROOT / "tests/ppo").glob("test_*.py")
    return {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }


def test_every_line_is_listed_once_and_in_order() -> None:
    assert [line for line, _, _ in rows()] == LINES


def test_every_line_names_tests_that_exist() -> None:
    existing = tests()
    for line, _, named in rows():
        names = re.findall(r"`(test_\w+)`", named)
        assert names, line
        assert set(names) <= existing, line


def test_a_test_stands_in_the_lines_of_its_name() -> None:
    """`test_a22_...` in A22, `test_a11_b9_...` in A11 and B9; and a line names only tests that name it."""
    listed = {line: set(re.findall(r"`(test_\w+)`", named)) for line, _, named in rows()}
    expected: dict[str, set[str]] = {line: set() for line in LINES}
    for name in tests():
        if numbers := re.match(r"test_((?:[abh]\d+_)+)", name):
            for number in numbers[1].strip("_").split("_"):
                expected[number.upper()].add(name)
    assert listed == expected
