"""`llamatune pull`: a model, an adapter with its base, or a data set from the hub, and what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from llamatune.errors import RecipeError
from llamatune.hub.answers import hub_answers
from llamatune.models.found import Found, find
from llamatune.models.quiet import hub_bars, quiet_upstream
from llamatune.recipe.paths import HUB
from llamatune.runs.files import making_folder, size
from llamatune.runs.shards import Say

_NEVER = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.gguf", "*.onnx", "*.h5", "*.msgpack", "original/*"]
"""Pickles, which run code, and copies of the weights for other programs."""


@quiet_upstream()
def pull(
    name: str,
    *,
    dataset: bool = False,
    revision: str | None = None,
    output: Path | None = None,
    say: Say,
) -> Path:
    """Download what is not here yet; returns the folder.

    Args:
        name: org/name, perhaps with `hub:` before and `@REVISION` after it.
        revision: a branch, a tag or a commit.
        output: a folder that does not exist yet, to copy it to; the hub's cache holds it in either case.

    Raises:
        HubError: the hub does not give it (E510 to E516).
        ModelError: it is there, and cannot be used.
        RecipeError: E034, `output` exists; E507, two revisions.
    """
    from huggingface_hub import snapshot_download

    id, _, named = name.removeprefix(HUB).partition("@")
    if named and revision and named != revision:
        raise RecipeError(
            "E507",
            f"`{name}` and `--revision {revision}` name two revisions",
            hint="leave out one of the two",
        )
    if output is not None and output.exists():
        raise RecipeError("E034", "already exists", place=str(output), hint="choose another folder")
    kind = "dataset" if dataset else "model"
    with hub_answers(id), hub_bars():
        folder = Path(
            snapshot_download(id, repo_type=kind, revision=named or revision, ignore_patterns=_NEVER)
        )
    commit = folder.name
    if dataset:
        say(f"{id}: a data set at commit {commit}; in a recipe: {{hub: {id}, revision: {commit}}}")
    else:
        say(_told(id, find(f"{HUB}{id}@{commit}")))
    say(f"{size(sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()))} in {folder}")
    return folder if output is None else _copied(folder, output)


def _told(id: str, found: Found) -> str:
    kind = "a reward model" if found.task == "score" else "a model"
    at = f"at commit {found.folder.name}"
    if found.adapter is None:
        return f"{id}: {kind}, {at}"
    base = f"{found.base.name}{f' at commit {found.base.revision}' if found.base.revision else ''}"
    return f"{id}: {kind}, {at}: an adapter on {base}, which is here too"


def _copied(folder: Path, output: Path) -> Path:
    """Files of their own: those of the cache are links."""
    with making_folder(output) as made:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                target = made / file.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    return output
