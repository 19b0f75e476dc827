"""The folder that is pushed: made anew from a list of what may go, and looked through before it goes.

Nothing is pushed from a run directory itself: beside the weights are logs, states of optimizers, and paths of this
machine. Weights are linked, not copied; what names a path or a base is written again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from llamatune.errors import RecipeError
from llamatune.hub.artefact import Artefact, BaseOrigin
from llamatune.models.files.notes import NOTE
from llamatune.outside import read_whole
from llamatune.recipe.parsing.yaml import to_yaml
from llamatune.recipe.paths import HUB
from llamatune.runs.files import disk_errors
from llamatune.runs.report.reading import as_mapping
from llamatune.shown import CREDENTIAL

STAGED = "hub"
"""The folder of a run in which what goes is made ready. It is removed when all has arrived."""
CARD = "README.md"
RECIPE = "recipe.yaml"
METRICS = "metrics.json"

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_MAY_GO = {
    "adapter": ("adapter_model.safetensors", "adapter_config.json", "generation_config.json", *_TOKENIZER),
    "model": ("config.json", "generation_config.json", "model.safetensors.index.json", *_TOKENIZER),
}
"""What may go of a folder of each kind, besides the note; of a model the weights `*.safetensors` too."""

_SETTINGS = (NOTE, RECIPE, "adapter_config.json", "config.json", "tokenizer_config.json")
"""Files in which a home folder is a path, and not what somebody talks about."""

_PATH = re.compile(
    r"(?:(?P<root>/)|~[^\s/\\]*[/\\]|\.\.[/\\]|[A-Za-z]:[/\\]|\\\\[^\s\\]+\\|file:/)"
    r"(?(root)(?:\S+|.*[^/\n]/.*)|.*)",
    re.IGNORECASE,
)
"""A line that is a path from the root, from somebody's home or from a folder above, as this system, Windows and
addresses of files write it. Folders may have blanks in their names; `/me waves` is no path, but what somebody says."""

_LARGEST_TEXT = 64 << 20
_HOME = re.compile(r"(?:/(?:home|Users)/|[A-Za-z]:\\+Users\\+)[A-Za-z0-9_.-]+")
"""Folders of people, on any machine."""


def staging_folder(artefact: Artefact, name: str) -> Path:
    """Where what goes under this name is made ready. Raises RecipeError (E504) where a link takes its place."""
    folder = artefact.run / STAGED
    refuse_link(folder)
    return folder / name.replace("/", "--")


def refuse_link(file: Path) -> None:
    """Raises RecipeError (E504) for a link in a run, which somebody else may have made: it could lead to any file."""
    if file.is_symlink():
        raise RecipeError(
            "E504",
            "this is a link, and what it leads to would be published",
            place=str(file),
            hint="put the file itself in its place",
        )


def stage_model(artefact: Artefact, origin: BaseOrigin, weights: Path, staged: Path) -> list[str]:
    """Fill `staged` with all but the card.

    Args:
        weights: the folder of the adapter or of a whole model.

    Returns:
        What is in that folder and does not go.

    Raises:
        RecipeError: E504, a link.
    """
    kind = "adapter" if (weights / "adapter_config.json").is_file() else "model"
    left = []
    for file in sorted(weights.iterdir()):
        refuse_link(file)
        if file.name == NOTE:
            _write_json(staged / NOTE, _note_of(file, origin))
        elif file.name == "adapter_config.json":
            _write_json(staged / file.name, _settings_of(file, origin))
        elif file.name in _MAY_GO[kind] or (kind == "model" and file.suffix == ".safetensors"):
            link(file, staged / file.name)
        else:
            left.append(file.name)
    stage_facts(artefact, origin, staged)
    return left


def stage_facts(artefact: Artefact, origin: BaseOrigin | None, staged: Path) -> None:
    """The recipe and the figures of a run, without paths of this machine."""
    recipe = without_paths(artefact.recipe)
    model = as_mapping(recipe.get("model"))
    if origin is not None and origin.id is not None and "base" in model:
        model["base"], model["revision"] = origin.id, origin.revision
    (staged / RECIPE).write_text(to_yaml(recipe), encoding="utf-8")
    figures = {
        "stage": artefact.stage,
        "steps": artefact.result.steps,
        "seconds": artefact.result.seconds,
        "figures": without_paths(artefact.result.figures),
        "evaluation": without_paths(artefact.said.mapping("evaluation.json")),
    }
    _write_json(staged / METRICS, figures)


def _note_of(file: Path, origin: BaseOrigin) -> dict[str, Any]:
    note: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    base = note["base"]
    base["name"] = f"{HUB}{origin.id}" if origin.id else PurePath(origin.name).name
    base["revision"] = origin.revision
    return note


def _settings_of(file: Path, origin: BaseOrigin) -> dict[str, Any]:
    """peft's settings, with the base that others have: by id and commit."""
    settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return settings | {
        "base_model_name_or_path": origin.id,
        "revision": origin.revision,
        "inference_mode": True,
    }


def without_paths(value: Any) -> Any:
    """The same, with each path that begins at the root or at home cut to its last part."""
    if isinstance(value, Mapping):
        return {without_paths(key): without_paths(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_paths(part) for part in value]
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        return value
    last = [part for part in re.split(r"[/\\]", value) if part not in ("", ".")]
    return last[-1] if last else value


def link(file: Path, to: Path) -> None:
    """The same file under another name, without a copy of its bytes."""
    with disk_errors(to):
        to.symlink_to(file.resolve())


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- what must not go -------------------------------------------------------------------------------------


def check_staged(staged: Path, artefact: Artefact) -> None:
    """Look through what would go for credentials and for paths of this machine.

    Raises:
        RecipeError: E504, with the file and the line.
    """
    own = own_paths(artefact)
    for file in sorted(staged.rglob("*")):
        for line, what in _found_in(file, own):
            raise RecipeError(
                "E504",
                f"{what}: it would be published",
                place=f"{file.name}:{line}",
                why="what is once on the hub is copied by others; nothing was sent",
                hint="mend the run's file of that name, or what it was made from, and push again",
            )


def named_paths(artefact: Artefact) -> list[str]:
    """The paths of this machine that a run's recipe and data name, the longest first."""
    found: set[str] = set()

    def look(value: Any) -> None:
        for part in (
            value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        ):
            look(part)
        # What is above the run's folder says nothing about the machine.
        if isinstance(value, str) and not value.startswith("..") and without_paths(value) != value:
            found.add(value)

    look([artefact.recipe, artefact.sources])
    return sorted(found, key=len, reverse=True)


def own_paths(artefact: Artefact) -> re.Pattern[str]:
    """What only this machine has: home, the working directory, that of the run, and what the run names."""
    folders = {str(Path.home()), str(Path.cwd()), str(artefact.run.resolve())} - {"/"}
    paths = {*folders, *named_paths(artefact)}
    return re.compile("|".join(rf"{re.escape(path)}(?=[/\\\"'\s]|$)" for path in sorted(paths)))


def _found_in(file: Path, own: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """(line, what) of each thing in a text file that must not go."""
    if file.suffix in (".safetensors", ".png") or not file.is_file():
        return
    text = read_whole(file, max(_LARGEST_TEXT, file.stat().st_size)).decode("utf-8", "replace")
    for pattern, what in (
        (CREDENTIAL, "this looks like a credential"),
        (own, "this is a path of this machine"),
    ):
        if found := pattern.search(text):
            yield text.count("\n", 0, found.start()) + 1, what
    if file.name in _SETTINGS and (found := _HOME.search(text)):
        yield text.count("\n", 0, found.start()) + 1, "this is somebody's home folder"
