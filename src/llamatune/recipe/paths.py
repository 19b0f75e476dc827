"""Which folders a run may write to, and which files a recipe may name.

A relative path stays inside the working directory, also through `..` and symbolic links; an absolute path says that
leaving it is intended. A run never writes into a folder that holds other files.
"""

from __future__ import annotations

import difflib
from itertools import islice
from pathlib import Path
from typing import Literal

from llamatune.errors import Problem, RecipeError
from llamatune.outside import kind_of_file
from llamatune.shown import HIDDEN

MARKER = "resolved.yaml"
"""A folder that holds this file is a llamatune run."""
FINISHED = "result.json"
"""Written last: a run that holds it has finished."""
LOCK = "run.lock"
"""Written first, to keep a second run out."""
PIPELINE_MARKER = "pipeline.yaml"
"""A folder that holds this file holds the runs of a pipeline."""
HUB = "hub:"
"""What a name begins with that is always the hub's."""


def output_problem(
    output: str, place: str | None = None, *, holds: Literal["run", "pipeline"] = "run"
) -> Problem | None:
    """What is wrong with `output`: a dangerous place (E030), or one that holds other files (E031).

    Args:
        holds: what will be in it.
    """
    if output.startswith("~"):
        return _output(f"output `{output}`: `~` is not expanded", place, "write the path out")
    try:
        target = Path(output).resolve()
        target.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL, a name too long
        return _output(f"output {output!r} is not a path ({error})", place)
    if HIDDEN.search(output):
        return _output(f"output {output!r} has a control character in it", place)
    working, home = Path.cwd().resolve(), Path.home().resolve()
    for folder, name in ((working, "the working directory"), (home, "the home directory")):
        if target == folder or target in folder.parents:
            what = f"is {name}" if target == folder else f"holds {name}"
            return _output(f"output `{output}` {what}", place, "name a folder of its own, such as runs/first")
    if not Path(output).is_absolute() and working not in target.parents:
        hint = "name a folder below the working directory, or give the absolute path"
        return _output(f"output `{output}` leaves the working directory (it is {target})", place, hint)
    if run := _run_around(target, working):
        what = f"output `{output}` is inside another run, `{run}`"
        return _output(what, place, "name a folder outside it: --overwrite and moving a run take all of it")
    return _foreign_problem(Path(output), place, holds)


def _run_around(target: Path, working: Path) -> Path | None:
    """The run directory that a path is inside of; a recipe that was saved as resolved.yaml makes the working directory
    none."""
    above = (folder for folder in target.parents if folder != working and folder not in working.parents)
    return next((folder for folder in above if (folder / MARKER).is_file()), None)


def inside_output_problem(path: str, output: str, place: str | None = None) -> Problem | None:
    """What a recipe reads, and its own run would write over."""
    try:
        target, folder = Path(path).resolve(), Path(output).resolve()
    # Said of the path by itself.
    except (OSError, RuntimeError, ValueError):
        return None
    if target != folder and folder not in target.parents:
        return None
    what = f"`{path}` is {'the output' if target == folder else 'inside the output'} of this recipe"
    return Problem("E030", what, place, "The run would write over what it reads", "name another `output`")


def _foreign_problem(path: Path, place: str | None, holds: Literal["run", "pipeline"]) -> Problem | None:
    if path.exists() and not path.is_dir():
        return Problem("E031", f"output `{path}` is a file", place, hint="name a folder")
    if not path.exists() or not any(path.iterdir()):
        return None
    found = {name for name in (MARKER, LOCK, PIPELINE_MARKER) if (path / name).is_file()}
    other = PIPELINE_MARKER if holds == "run" else MARKER
    if found and other not in found:
        return None
    if found:
        what = f"output `{path}` holds a {'pipeline' if holds == 'run' else 'run'}"
        why = "A pipeline's runs have a folder of their own"
    else:
        marker = MARKER if holds == "run" else PIPELINE_MARKER
        what = f"output `{path}` is not empty and is not a llamatune {holds} (it has no {marker})"
        why = "A run never writes among other files, not even with --overwrite"
    return Problem("E031", what, place, why, "name another folder")


def check_output(output: str | Path) -> Path:
    """The folder of a run: absent, empty, or a llamatune run.

    Nothing is created or removed. Raises RecipeError for a dangerous place (E030) and for a folder or file that
    is not a llamatune run (E031).
    """
    if problem := output_problem(str(output)):
        raise RecipeError.of([problem])
    return Path(output)


def is_local(name: str) -> bool:
    """Whether a model's name is a path, and so never looked up on the hub: it begins with `.`, `/`, `~` or `runs/`,
    or its first part is a folder here."""
    path = Path(name)
    if name.startswith((".", "/", "~", "runs/")) or ".." in path.parts:
        return True
    try:
        return bool(path.parts) and Path(path.parts[0]).is_dir()
    # a name too long, or a NUL in it
    except (OSError, ValueError):
        return True


def outside_problem(path: str, place: str | None = None) -> Problem | None:
    """A relative path that leads out of the working directory, by `..` or by a symbolic link."""
    if path.startswith("~"):
        return Problem("E032", f"`{path}`: `~` is not expanded", place, hint="write the path out")
    if Path(path).is_absolute():
        return None
    try:
        working, target = Path.cwd().resolve(), Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        return Problem("E032", f"{path!r} is not a path ({error})", place)
    if target == working or working in target.parents:
        return None
    hint = "add --allow-outside, or give the absolute path"
    return Problem("E032", f"`{path}` leaves the working directory: it is {target}", place, hint=hint)


def missing_problem(path: str, place: str | None = None) -> Problem | None:
    """A file that is not there, with similar names from its folder."""
    try:
        target = Path(path)
        if target.is_file():
            return None
        if target.is_dir():
            return Problem("E033", f"`{path}` is a folder: name a file in it", place, hint=_files_in(target))
        if target.exists():
            what = f"`{path}` is {kind_of_file(target.stat().st_mode)}, not a file"
            why = "data is read more than once, and a pipe or device can be read only once, or for ever"
            return Problem("E033", what, place, why, "write what comes out of it to a file, and name that")
        return Problem("E033", f"file `{path}` does not exist", place, hint=_near_files(target))
    except (OSError, ValueError) as error:  # a name too long, a NUL
        return Problem("E033", f"{path[:60]!r} is not a path ({error})", place)


_MOST_LOOKED_AT = 1000
_OF_DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".gz")


_OF_DATASETS = ("dataset_info.json", "dataset_dict.json", "state.json")
"""What `save_to_disk` of datasets writes beside its `.arrow` files."""


def _files_in(folder: Path) -> str | None:
    """What could be named instead of a folder."""
    there = list(islice(folder.rglob("*"), _MOST_LOOKED_AT))
    found = (one for one in there if one.suffix.lower() in _OF_DATA and one.name not in _OF_DATASETS)
    first = sorted(str(one) for one in islice(found, 3))
    if first:
        return (
            f"each file is a source of its own under `data.train`: {' or '.join(f'`{one}`' for one in first)}"
        )
    saved = sorted({one.parent for one in there if one.suffix == ".arrow"})
    if saved:
        return (
            f"`datasets.load_from_disk('{saved[0]}').to_json('rows.jsonl')` writes a file that can be named"
        )
    return None


def _near_files(path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder `{path.parent}` does not exist either; paths start at {Path.cwd()}"
    near = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3)
    if near:
        return "did you mean " + " or ".join(f"`{path.parent / name}`" for name in near) + "?"
    return f"nothing in `{path.parent.resolve()}` has a similar name"


def _output(what: str, place: str | None, hint: str | None = None) -> Problem:
    return Problem("E030", what, place, hint=hint)
