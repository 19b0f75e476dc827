"""From a model's name to what it means: a base, perhaps with an adapter, and what they are made for.

    pico                         ships with llamatune
    ./folder, /folder, runs/x    a path; so is a name whose first part is a folder here
    hub:org/name                 a model or an adapter of the hub
    org/name                     the same, where there is no folder `org`
    org/name@REVISION            the same at a branch, a tag or a commit

A path is never looked up on the hub: whoever registers `runs` there would serve the weights. Nothing here imports
torch or transformers.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from llamatune.errors import ModelError, Problem, gate
from llamatune.models.base import BUILTIN, Base, adapter_facts, check_config
from llamatune.models.files.adapter import check_adapter
from llamatune.models.files.hub import from_hub
from llamatune.models.files.notes import read_note
from llamatune.models.files.settings import check_tokenizer_file, read_model_json
from llamatune.models.files.weights import check_weights
from llamatune.models.induction import shape_with_room
from llamatune.outside import is_folder, is_plain_name
from llamatune.recipe.blocks import Chat, Model
from llamatune.recipe.paths import FINISHED, HUB, MARKER, is_local
from llamatune.recipe.reading import models
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.shipped import recipe_that_writes, shipped_recipes, written_by
from llamatune.recipe.stages.common import ModelRecipe, StageRecipe
from llamatune.wording import in_shell

Task = Literal["generate", "score"]


@dataclass(frozen=True)
class Found:
    """What a name means. `adapter` is the folder of an adapter on the base, None for a whole model; `task` is
    `score` for a reward model."""

    name: str
    base: Base
    adapter: Path | None
    task: Task

    @property
    def folder(self) -> Path:
        """Where the artefact is: the adapter, or else the model."""
        return self.adapter or self.base.folder

    @cached_property
    def note(self) -> dict[str, Any]:
        """llamatune's note beside the artefact; empty for those of other tools."""
        return read_note(self.folder)

    @property
    def chat(self) -> Chat:
        """The block it was trained with; the template itself is saved with the tokenizer."""
        noted = self.note.get("chat")
        return Chat(system=noted.get("system")) if noted else Chat()

    @property
    def tokenizer_folder(self) -> Path:
        """Where its tokenizer is: with the adapter where one was saved there."""
        return self.folder if (self.folder / "tokenizer.json").is_file() else self.base.folder

    def facts(self) -> dict[str, Any]:
        """What identifies it: hashes of whole files, part by part, so that one can say which has changed, and the
        block that its chat format is made with."""
        base: dict[str, Any] = dict(self.base.facts())
        adapter: dict[str, Any] | None = dict(adapter_facts(self.adapter)) if self.adapter else None
        (base if adapter is None else adapter)["chat"] = self.note.get("chat")
        return {"base": base, "adapter": adapter}

    def digest(self) -> str:
        """Changes whenever any of its facts does."""
        return sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()


def find(
    name: str,
    *,
    base: str | Base | None = None,
    revision: str | None = None,
    weights: bool = True,
    key: str | None = None,
    beside: Path | None = None,
    download: bool = True,
) -> Found:
    """Resolve a model's name, and check what it means.

    Args:
        name: `pico`, a model folder, an adapter folder, a finished run, or a hub id, perhaps with `@REVISION`.
        base: the base of an adapter, if it cannot be found under the name noted with the adapter.
        revision: branch, tag or commit of a hub model, where its name gives none.
        weights: False where only the architecture and the tokenizer are wanted (`init`).
        key: the recipe's key that holds the name, for errors.
        beside: a folder of recipes, to say which of them writes a run that is missing.
        download: False asks the local cache only.

    Raises:
        ModelError: E201 to E206 not found, not usable or not safe; E207 and E234 broken weights; E232 an adapter
            without a base; E250 a run that has not finished; E253 a base that is quantised already; E254 an adapter
            with parts that only peft knows how to use.
    """
    if name == "pico":
        return _whole(Base("pico", BUILTIN / "pico"), weights)
    with gate(ModelError, "E201", f"there is no model `{name[:80]}`", place=key, hint="check the name"):
        # A name may be too long for a file, or a folder that may not be looked into.
        folder = _artefact(name, key, beside) if is_local(name) or Path(name).is_dir() else None
    if folder is not None:
        if (folder / "adapter_config.json").is_file():
            return _adapter(name, folder, base, beside, download)
        return _whole(Base(name, folder), weights)
    if (recipe := shipped_recipes().get(name)) is not None:
        raise ModelError(
            "E201",
            f"there is no model `{name}`",
            place=key,
            why="it is the name of a shipped recipe",
            hint=f"`{written_by(recipe)}` is the run that it makes; `{HUB}{name}` would be a model of the hub",
        )
    org_name, _, named = name.removeprefix(HUB).partition("@")
    if org_name.count("/") != 1:
        raise ModelError(
            "E201",
            f"there is no model `{name}`",
            place=key,
            why="it is neither `pico`, nor a folder, nor a hub id of the form org/name",
            hint=_near_folders(name),
        )
    hub = from_hub(org_name, named or revision, key=key, download=download)
    if (hub.folder / "adapter_config.json").is_file():
        return _adapter(name, hub.folder, base, beside, download, published=True)
    return _whole(hub, weights)


def find_model(settings: Model, task: Task, *, beside: Path | None = None, download: bool = True) -> Found:
    """What a recipe's `model` block names: a base, and an adapter on it if it names one.

    Args:
        task: of the stage; a reward model (`score`) may start from any model, a chat model only from a chat or base
            model.

    Raises:
        ModelError: what `find` raises; E202 where the base is an adapter, E232 where the adapter is none, E238; E257
            where `init: induction` does not fit.
    """
    found = find(
        settings.base,
        revision=settings.revision,
        weights=settings.pretrained,
        key="model.base",
        beside=beside,
        download=download,
    )
    if settings.init == "induction":
        shape_with_room(found.base.config)
    if found.adapter is not None:
        raise ModelError(
            "E202",
            f"`{settings.base}` holds an adapter, not a whole model",
            place="model.base",
            hint="name its base in `model.base` and the folder in `model.adapter`, or `llamatune merge` it first",
        )
    if task == "generate" and settings.pretrained:
        check_task(found, task, "model.base")
    if settings.adapter is None:
        return found
    adapter = find(settings.adapter, base=found.base, key="model.adapter", beside=beside, download=download)
    if adapter.adapter is None:
        raise ModelError(
            "E232",
            f"there is no adapter in `{settings.adapter}`",
            place="model.adapter",
            why="an adapter folder holds adapter_config.json and adapter_model.safetensors",
            hint="a whole model is named in `model.base`",
        )
    if task == "generate":
        check_task(adapter, task, "model.adapter")
    return adapter


_ANSWERING = ("other.", "models.")
"""Keys of models that answer; those of others judge."""


def check_models(
    recipe: StageRecipe, *, beside: Path | None = None, coming: Collection[str] = ()
) -> list[str]:
    """Find every model that a recipe names, without a network; returns what could not be checked.

    Args:
        beside: a folder of recipes, to say which of them writes a run that is missing.
        coming: runs that will be made before this one, and need not be there.

    Raises:
        ModelError: everything that is wrong with them.
    """
    problems: list[Problem] = []
    unchecked: list[str] = []
    judges = {".".join(map(str, at)): name for at, name in models(recipe) if at[0] != "model"}
    for key, name in {"model": None, **judges}.items():
        try:
            if name is not None:
                if name not in coming:
                    task: Task = "generate" if key.startswith(_ANSWERING) else "score"
                    check_task(find(name, key=key, beside=beside, download=False), task, key)
            elif isinstance(recipe, ModelRecipe) and (start := without(recipe.model, coming)):
                find_model(start, STAGES[recipe.stage].task, beside=beside, download=False)
        except ModelError as error:
            # Without a network, this code means nothing else.
            missing = [problem for problem in error.problems if problem.code == "E203"]
            unchecked += [problem.what for problem in missing]
            problems += [problem for problem in error.problems if problem not in missing]
    if problems:
        raise ModelError.of(problems)
    return unchecked


def without(settings: Model, coming: Collection[str]) -> Model | None:
    """A `model` block without an adapter that has yet to be made; None where the base has."""
    if settings.base in coming:
        return None
    return settings if settings.adapter not in coming else settings.model_copy(update={"adapter": None})


def check_task(found: Found, task: Task, place: str | None) -> None:
    """Raises ModelError (E238) for a model of the other kind than `task`."""
    if found.task == task:
        return
    kinds = ("a chat or base model", "a reward model")
    is_kind, needed = kinds if task == "score" else kinds[::-1]
    raise ModelError(
        "E238",
        f"`{found.name}` is {is_kind}, and this needs {needed}",
        place=place or str(found.folder),
        why="without its own trained head its scores would be random numbers"
        if task == "score"
        else "it gives one number and no text",
        hint="name a run of `stage: reward`" if task == "score" else "name the model that writes the replies",
    )


# ---- paths --------------------------------------------------------------------------------------------------


def _artefact(name: str, key: str | None, beside: Path | None) -> Path:
    """The folder of a model or adapter: itself, or the one that a finished run wrote."""
    folder = Path(name)
    if not folder.is_dir():
        raise ModelError(
            "E201",
            f"there is no model `{name}`",
            place=key,
            why="the name is a path, and there is no such folder here",
            hint=_writer_hint(folder, beside) or _near_folders(name),
        )
    if (folder / MARKER).is_file():
        return _of_run(folder, key)
    for candidate in (folder, folder / "adapter", folder / "model"):
        if any((candidate / file).is_file() for file in ("adapter_config.json", "config.json")):
            return candidate
    raise ModelError(
        "E202",
        f"the folder `{folder}` has no config.json",
        place=key,
        why="a model folder holds config.json, *.safetensors and a tokenizer; an adapter's holds "
        "adapter_config.json and adapter_model.safetensors",
        hint="check the path" if any(folder.iterdir()) else "the folder is empty",
    )


def _of_run(folder: Path, key: str | None) -> Path:
    if not (folder / FINISHED).is_file():
        raise ModelError(
            "E250",
            f"the run `{folder}` has not finished",
            place=key,
            why="what it trains is written at its end",
            hint=f"run `llamatune run {in_shell(folder / MARKER)}`: it goes on where the run stopped",
        )
    name = read_model_json(folder / FINISHED).get("artefact")
    if not is_plain_name(name):
        raise ModelError(
            "E202",
            f"the {FINISHED} of the run `{folder}` does not say what the run made",
            place=key,
            why="it was not written by llamatune, or was changed since",
            hint="restore it from a copy, or run the recipe again with --overwrite",
        )
    artefact = folder / str(name)
    if artefact.suffix == ".jsonl":
        raise ModelError(
            "E202",
            f"the run `{folder}` leaves rows and no model",
            place=key,
            hint=f"train on them: `data.train: [{{run: {folder}}}]`",
        )
    if not artefact.is_dir():
        raise ModelError(
            "E202",
            f"the run `{folder}` has finished, and its `{artefact.name}` is gone",
            place=key,
            hint="copy it back, or run the recipe again with --overwrite",
        )
    return artefact


def _writer_hint(folder: Path, beside: Path | None) -> str | None:
    for path in (folder, *folder.parents):
        if recipe := recipe_that_writes(path, beside):
            return f"run `llamatune run {in_shell(recipe)}` first"
    return None


def _near_folders(name: str) -> str:
    parent = Path(name).expanduser().parent
    names = [entry.name for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []
    near = difflib.get_close_matches(Path(name).name, [*names, "pico"], n=1)
    if near:
        return f"did you mean `{parent / near[0] if near[0] != 'pico' else 'pico'}`?"
    is_hub_id = is_local(name) and not name.startswith((".", "/", "~")) and name.count("/") == 1
    return f"check the path; a model of the hub is `{HUB}{name}`" if is_hub_id else "check the path"


# ---- whole models and adapters ------------------------------------------------------------------------------


def _whole(base: Base, weights: bool) -> Found:
    check_config(base)
    check_tokenizer_file(base.folder)
    if weights:
        check_weights(base.folder)
    return Found(base.name, base, None, "score" if base.has_head else "generate")


def _adapter(
    name: str,
    folder: Path,
    base: str | Base | None,
    beside: Path | None,
    download: bool,
    *,
    published: bool = False,
) -> Found:
    """An adapter with the base it was trained on, or with the one given. What is `published` on the hub names no folder
    of this machine."""
    settings = read_model_json(folder / "adapter_config.json")
    task: Task = "score" if check_adapter(folder) else "generate"
    trained_on = read_note(folder).get("base", {})
    noted = [name for name in (trained_on.get("name"), settings.get("base_model_name_or_path")) if name]
    if published:
        noted = [name for name in noted if name.startswith(HUB) or name == "pico" or not is_local(name)]
    if base is None and not noted:
        raise ModelError(
            "E232",
            "the adapter does not say which base it belongs to"
            + (", or names a folder of its author's machine" if published else ""),
            place=str(folder),
            hint="give `--base`",
        )
    if isinstance(base, Base):
        return Found(name, base, folder, task)
    # The note's name may be a path from another working directory: then take the folder that peft's file names.
    chosen = base or next((one for one in noted if not is_local(one) or is_folder(Path(one))), noted[0])
    revision = trained_on.get("revision") or settings.get("revision")
    if base is not None or not isinstance(revision, str):
        revision = None
    found = find(chosen, revision=revision, beside=beside, download=download)
    if found.adapter is not None:
        raise ModelError(
            "E202",
            f"`{chosen}` holds an adapter, not a whole model: it cannot be the base of another",
            place=str(folder),
            hint="`llamatune merge` it first",
        )
    return Found(name, found.base, folder, task)
