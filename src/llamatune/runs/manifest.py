"""What a run was made from, and whether a later start of it is still the same run.

`manifest.json` holds facts in a flat mapping, key -> value: the recipe's keys as they are written there
(`optimization.learning_rate`), then `data.train[0].sha256`, `base.weights`, `template`, `processes` and so on.
A resume compares them: training that goes on with another learning rate or other rows is another training.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from llamatune.errors import Problem, RecipeError
from llamatune.outside import is_file
from llamatune.recipe.paths import MARKER
from llamatune.runs.files import read_json
from llamatune.version import __version__

_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "bitsandbytes",
)

MAY_CHANGE = ("output", "checkpoint", "generation", "guards", "hardware", "logging")
"""Recipe blocks that change what is seen, kept or spent, and not what is learnt."""
_MUST_MATCH = ("hardware.precision",)
"""Keys of these blocks that are no matter of last digits."""

_LATER = ("cards", "files", "labels")
"""Blocks of facts that were not always recorded, or are recorded at the end. A run that says nothing of one of them is
not thereby made from something else."""

_INPUTS = (".run", ".adapter", ".base")
"""What a recipe calls the runs that it starts from."""


def environment() -> dict[str, Any]:
    """Library versions and the machine; never the environment variables, which may hold secrets."""
    return {
        "machine": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            "llamatune": __version__,  # of this code: an editable install says what it was when it was installed
            **{name: _version(name) for name in _LIBRARIES},
        },
    }


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """A run's manifest.json; None where it is missing, cut off, or says something else than `recipe`, `facts`,
    `versions` and `hardware`."""
    content = read_json(directory / "manifest.json")
    if content is None:
        return None
    known = {name: content.get(name, {}) for name in ("recipe", "facts", "versions", "hardware")}
    try:
        flatten(known)
    except RecursionError:
        return None
    return known if all(isinstance(part, dict) for part in known.values()) else None


def with_runs_behind(folder: Path, seen: set[Path] | None = None) -> Iterator[Path]:
    """A run's folder, then those of the runs whose rows, adapters or models it started from, and of those behind them,
    each once and as far as they are still there; nothing where the folder is no run."""
    seen = set() if seen is None else seen
    if folder in seen or not is_file(folder / MARKER):
        return
    seen.add(folder)
    yield folder
    for key, value in flatten((read_manifest(folder) or {}).get("recipe")).items():
        if isinstance(value, str) and (key.endswith(_INPUTS) or key.startswith("keep.pool")):
            for earlier in (Path(value), Path(value).parent):
                yield from with_runs_behind(earlier, seen)


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping: {"a": {"b": [1]}} -> {"a.b[0]": 1}. None is left out."""
    if isinstance(content, Mapping):
        inner = [(f"{prefix}.{key}" if prefix else str(key), value) for key, value in content.items()]
    elif isinstance(content, (list, tuple)):
        inner = [(f"{prefix}[{index}]", value) for index, value in enumerate(content)]
    else:
        return {} if content is None else {prefix: content}
    return {key: value for name, part in inner for key, value in flatten(part, name).items()}


def must_match(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that a resume compares."""
    return {key: value for key, value in facts.items() if _block(key) not in MAY_CHANGE or key in _MUST_MATCH}


def known_then(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Today's facts in flat form, without the later blocks that a run did not record."""
    return flatten(
        {block: content for block, content in now.items() if block in recorded or block not in _LATER}
    )


def of_blocks(facts: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded facts in flat form, as far as `now` says something about their blocks."""
    return flatten({block: content for block, content in facts.items() if block in now})


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What differs between two flat mappings: key -> `old -> new`. A key that only one of them has is a difference,
    too."""
    pairs = {key: (recorded.get(key), now.get(key)) for key in sorted(recorded.keys() | now.keys())}
    return {key: f"{_shown(old)} -> {_shown(new)}" for key, (old, new) in pairs.items() if old != new}


def check_same(
    recorded: Mapping[str, Any], now: Mapping[str, Any], *, forced: Collection[str], run: str
) -> list[str]:
    """Compare what a run was started from with what it would be continued from.

    Args:
        recorded: facts of the first start; a key that only one side has is a difference, too.
        now: the same facts, now.
        forced: keys (or the beginnings of keys, up to a dot or bracket) that the user allows to change.
        run: name of the run directory, for the message.

    Returns:
        One line for each forced difference.

    Raises:
        RecipeError: a difference that was not forced; all of them at once, as old -> new.
    """
    lines = differences(recorded, now)
    refused = {key: line for key, line in lines.items() if not _is_forced(key, forced)}
    if refused:
        raise RecipeError.of(
            [
                Problem(
                    "E036",
                    f"the unfinished run in `{run}` has another `{key}`: {line}",
                    place=key,
                    why="it would go on as a different training from the one that it began as",
                    hint=f"undo the change; or --force-resume {key} to go on with it; "
                    "or --resume none to start again",
                )
                for key, line in refused.items()
            ]
        )
    return [f"{key}: {line}" for key, line in lines.items()]


def _is_forced(key: str, forced: Collection[str]) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in forced)


def _block(key: str) -> str:
    return key.partition(".")[0].partition("[")[0]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
