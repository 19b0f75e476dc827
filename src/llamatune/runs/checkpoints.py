"""Checkpoints that can be trusted.

A checkpoint is a folder `checkpoint-N` whose `manifest.json` is written last, after every file has reached the
disk, and lists the size and sha256 of each, and the sha256 of its own content. What has no manifest was never
finished; what differs from its manifest is damaged. Neither is ever read, so that a fresh optimizer, a flipped bit or
a planted file cannot slip in.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamatune.errors import CheckpointError, gate
from llamatune.recipe.hashing import sha256
from llamatune.runs.files import read_json, remove, sync_folder, sync_tree, write_json

MANIFEST = "manifest.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_REHEARSAL = "checkpoint-0"
"""What shows before the first step that checkpoints can be saved; nobody goes on from it."""
_PICKLE = re.compile(r"\.(bin|pt|pth|pkl|ckpt)$")
_STATE = re.compile(r"(optimizer|scheduler|scaler)\.pt|rng_state(_\d+)?\.pth")
"""State that upstream writes with torch.save; read only after its hash was verified, and as tensors and numbers
only."""
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A folder that was verified. `about` is what `commit` was given."""

    folder: Path
    step: int
    about: dict[str, Any]


@dataclass
class FoundCheckpoint:
    """What is in a `checkpoints` folder: the newest that verifies, and what is wrong with newer ones."""

    newest: Checkpoint | None = None
    damaged: list[str] = field(default_factory=list)
    """One sentence for each damaged checkpoint newer than `newest`."""


def commit(folder: Path, *, step: int, about: dict[str, Any]) -> Checkpoint:
    """Make a checkpoint of a folder whose files are complete: from here on it exists."""
    sync_tree(folder)
    files = {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in _files(folder)
    }
    manifest = {"format": _FORMAT, "step": step, "files": files, "about": about}
    write_json(folder / MANIFEST, manifest | {"sha256": _digest(manifest)})
    sync_folder(folder.parent)
    return Checkpoint(folder, step, about)


def verify(folder: Path) -> Checkpoint:
    """The checkpoint in a folder, every byte of it checked.

    Raises:
        CheckpointError: a file is missing, cut off, changed or was added after the checkpoint was made.
    """
    manifest = read_json(folder / MANIFEST)
    if manifest is None or manifest.pop("sha256", None) != _digest(manifest):
        raise _damaged(folder, f"its {MANIFEST} cannot be read or has changed")
    with gate(CheckpointError, "E401", f"{folder.name}: it cannot be verified", **_about_damage(folder)):
        return _verified(folder, manifest)


def _verified(folder: Path, manifest: dict[str, Any]) -> Checkpoint:
    if manifest["format"] != _FORMAT:
        raise _damaged(
            folder, f"its {MANIFEST} has format {manifest['format']}, this llamatune reads {_FORMAT}"
        )
    listed: dict[str, Any] = manifest["files"]
    present = {str(file.relative_to(folder)): file for file in _files(folder)}
    for name, expected in listed.items():
        if name not in present:
            raise _damaged(folder, f"{name} is missing")
        size = present[name].stat().st_size
        if size != expected["bytes"]:
            raise _damaged(folder, f"{name} has {size:,} of {expected['bytes']:,} bytes")
        if sha256(present[name]) != expected["sha256"]:
            raise _damaged(folder, f"{name} has changed (its sha256 is not the recorded one)")
    if added := sorted(set(present) - set(listed)):
        raise _damaged(folder, f"{added[0]} was not there when the checkpoint was made")
    if foreign := [name for name in present if _PICKLE.search(name) and not _STATE.fullmatch(name)]:
        raise _damaged(folder, f"{foreign[0]} is a pickle that no checkpoint of llamatune holds")
    if type(manifest["step"]) is not int or not isinstance(manifest["about"], dict):
        raise _damaged(folder, f"its {MANIFEST} was not written by llamatune")
    return Checkpoint(folder, manifest["step"], manifest["about"])


def find_checkpoint(directory: Path) -> FoundCheckpoint:
    """Look for the newest checkpoint that verifies; older ones than that are not read."""
    found = FoundCheckpoint()
    for folder in complete(directory):
        try:
            found.newest = verify(folder)
            break
        except CheckpointError as error:
            found.damaged.append(error.problems[0].what)
    return found


def rotate(directory: Path, keep: int) -> None:
    """Keep the newest `keep` checkpoints. The newest is never removed; of the others the manifest goes first, so
    that a half-removed one does not exist."""
    for folder in complete(directory)[max(keep, 1) :]:
        discard(folder)


def complete(directory: Path) -> list[Path]:
    """Folders of the checkpoints that were completed, newest first; their content is not looked at."""
    return [folder for folder in _folders(directory) if _is_complete(folder)]


def unfinished(directory: Path) -> list[Path]:
    """Folders without a manifest: a process died while it was saving or removing them. And what is no folder, such as a
    link: a save would write to where it leads. `remove` takes away either."""
    return [folder for folder in _folders(directory) if not _is_complete(folder)]


def _is_complete(folder: Path) -> bool:
    return folder.name != _REHEARSAL and not folder.is_symlink() and (folder / MANIFEST).exists()


def set_aside(folder: Path) -> Path:
    """Move a damaged checkpoint out of the way of later ones; somebody may want to see what happened to it."""
    aside = folder.with_name(f"{folder.name}.damaged")
    remove(aside)
    return folder.rename(aside)


def discard(folder: Path) -> None:
    """Remove a checkpoint, its manifest first; of a link only the link."""
    if not folder.is_symlink():
        (folder / MANIFEST).unlink(missing_ok=True)
        sync_folder(folder)
    remove(folder)


def _folders(directory: Path) -> list[Path]:
    """What is called `checkpoint-N`, highest N first."""
    if not directory.is_dir():
        return []
    numbered = [
        (int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))
    ]
    return [path for _, path in sorted(numbered, reverse=True)]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if not file.is_dir() and file != folder / MANIFEST)


def _digest(manifest: dict[str, Any]) -> str:
    """Of the manifest's content: otherwise a flipped bit in a step number or a size would be believed."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _damaged(folder: Path, what: str) -> CheckpointError:
    return CheckpointError("E401", f"{folder.name}: {what}", **_about_damage(folder))


def _about_damage(folder: Path) -> dict[str, str]:
    return {
        "place": str(folder),
        "why": "training that continues from it would not be the training that was stopped",
        "hint": "restore it from a copy, or start again with --resume none",
    }
