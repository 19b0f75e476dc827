"""No public name has two meanings: each class, function and constant of a module is called as nothing else is."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src/llamatune"

# Each of these is one thing, seen from several places.
ALLOWED = {
    "run": "what starts a stage, from the command line down to the stage's file",
    "starter": "the first recipe of a stage, in the file of each",
    "section": "a part of the report, in the file of each",
    "series": "the curves of a part of the report, likewise",
    "known_series": "what is known of these curves, likewise",
    "notices": "the warnings of a part of the report, likewise",
    "logger": "as the logging module has it: one for each module",
    "Message": "a turn of a conversation; the miniature world is below the data and brings its own",
    "judge": "what scores a reply; the miniature world is below and brings its own, which knows the truth",
    "RATINGS": "the four steps of the paper; report and world are below the data",
    "SAFETY_BINS": "the three bins of the paper, likewise",
}


def public_names(file: Path) -> Iterator[str]:
    """Classes, functions, constants and type aliases at the top of a module."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def test_no_public_name_has_two_meanings() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        # A command is called as the function that does its work.
        if file.parent.name != "cli":
            for name in public_names(file):
                homes[name].add(str(file.relative_to(PACKAGE)))
    twice = {name: sorted(files) for name, files in homes.items() if len(files) > 1 and name not in ALLOWED}
    assert not twice, "\n".join(f"{name}: {', '.join(files)}" for name, files in sorted(twice.items()))
