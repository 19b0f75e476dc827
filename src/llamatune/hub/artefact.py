"""What a finished run has to give away: its model, adapter or rows, and what its folder says of how they were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from llamatune.errors import ModelError, RecipeError
from llamatune.models.base import adapter_facts
from llamatune.models.files.notes import read_note
from llamatune.models.found import Found, find
from llamatune.outside import is_folder
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.paths import FINISHED, HUB, MARKER, PIPELINE_MARKER
from llamatune.runs.handover import Result, take
from llamatune.runs.report.reading import RunFiles, as_mapping, as_rows, as_text


@dataclass(frozen=True)
class BaseOrigin:
    """The base that a run began from, as others can get it."""

    name: str
    """As the run's note has it: `pico`, a folder, or `hub:org/name`."""
    id: str | None
    """On the hub; None for a base that is not there."""
    revision: str | None
    """The commit."""
    weights: str | None
    """SHA-256 over the names and hashes of its weight files; None where they are held in 4 bits."""

    @property
    def shown(self) -> str:
        """For people, without a path of this machine."""
        return self.id or (self.name if self.name == "pico" else f"{Path(self.name).name} (not on the hub)")


@dataclass(frozen=True)
class Artefact:
    """A finished run: `files` are what its stage handed over, verified; `said` reads what its folder says."""

    run: Path
    result: Result
    files: dict[str, Path]
    said: RunFiles

    @property
    def stage(self) -> str:
        return self.result.stage

    @property
    def makes_rows(self) -> bool:
        """Whether it is a run of a stage that makes data."""
        return self.result.artefact.endswith(".jsonl")

    @property
    def folder(self) -> Path:
        """Of the adapter or model."""
        return self.files[self.result.artefact]

    @cached_property
    def found(self) -> Found:
        """Its model, with the base of an adapter. Raises ModelError where that is gone."""
        return find(str(self.run))

    @cached_property
    def origin(self) -> BaseOrigin:
        """What the model was trained from."""
        noted = as_mapping(read_note(self.folder).get("base"))
        name = as_text(noted.get("name")) or self.result.base
        is_hub = name.startswith(HUB)
        return BaseOrigin(
            name=name,
            id=name.removeprefix(HUB) if is_hub else None,
            revision=noted.get("revision") if is_hub else None,
            weights=as_mapping(noted.get("identity")).get("weights"),
        )

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """resolved.yaml, as plain data."""
        return self.said.recipe()[1]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return self.said.mapping("manifest.json")

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        """The data sets, as data.json has them."""
        return as_rows(self.said.mapping("data.json").get("sources"))


def finished_artefact(name: str) -> Artefact:
    """What a finished run, or a file of rows in it, has to give away; every file is as it was written.

    Raises:
        RecipeError: E501 it is no run; E038 it has not finished; E039 something else is there than it wrote.
    """
    path = Path(name)
    run = path.parent if path.is_file() and path.suffix == ".jsonl" else path
    if not (run / MARKER).is_file() and not (run / FINISHED).is_file():
        raise RecipeError(
            "E501",
            f"`{name}` is not a run",
            why="the card that others read is made from what a run notes: its recipe, data, base and figures",
            hint=f"it is a pipeline, whose steps are runs: name one, such as {run / 'sft'}"
            if (run / PIPELINE_MARKER).is_file()
            else "name the folder that a recipe's `output` names, such as runs/pico-sft",
        )
    result = Result.read(run)
    if result is None:
        take(str(run), "")  # says what is missing
    assert result is not None
    files = {handed: take(str(run), handed) for handed in result.files}
    if path != run and path.name not in files:
        files[path.name] = take(str(run), path.name)  # says what it leaves
    return Artefact(run, result, files, RunFiles(run))


def earlier_runs(artefact: Artefact) -> dict[str, Result]:
    """The finished runs that a run was made from, and those that these were made from, as far as they are still here:
    what a pipeline's steps, or steps by hand, have handed on."""
    found: dict[str, Result] = {}
    waiting = [artefact.recipe]
    while waiting:
        for name in _texts({key: part for key, part in waiting.pop().items() if key != "output"}):
            result = Result.read(Path(name)) if name not in found and is_folder(Path(name)) else None
            if result is not None:
                found[name] = result
                waiting.append(RunFiles(Path(name)).recipe()[1])
    return found


def _texts(value: Any) -> Iterator[str]:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(part)
    if isinstance(value, str):
        yield value


def evaluation_of(run: str, artefact: Artefact) -> tuple[str, Artefact]:
    """A finished evaluation that judged this artefact, and what the artefact is called in it: the weights that it noted
    under that name are these.

    Raises:
        RecipeError: E507, it is no evaluation, or one of other models; and what `finished_artefact` raises.
    """
    found = finished_artefact(run)
    own = artefact.found.base.identity()["weights"]
    if artefact.found.adapter is not None:
        own = adapter_facts(artefact.found.adapter)["weights"]
    judged = as_mapping(as_mapping(found.manifest.get("facts")).get("models"))
    for part, said in judged.items():
        facts = as_mapping(as_mapping(said).get("adapter") or as_mapping(said).get("base"))
        if found.stage == "evaluate" and part.startswith("models.") and facts.get("weights") == own:
            return part.split(".")[1], found
    raise RecipeError(
        "E507",
        f"`{run}` is no evaluation of `{artefact.run}`",
        why="figures of another model would be published as those of this one",
        hint="name a finished run of `stage: evaluate` that has it among its `models`",
    )


def same_weights(origin: BaseOrigin, id: str, revision: str | None) -> str:
    """The commit of a hub model that has the weights a run began from.

    Known by the hashes that the hub lists, without a download where it lists them.

    Raises:
        ModelError: E503, its weights are others; E203, the hub does not give it.
    """
    from huggingface_hub import HfApi

    from llamatune.hub.answers import hub_answers

    with hub_answers(id):
        info = HfApi().model_info(id, revision=revision, files_metadata=True)
    commit = as_text(info.sha)
    if origin.weights is None:
        return commit
    files = [one for one in info.siblings or () if one.rfilename.endswith(".safetensors")]
    plain = sorted(one.rfilename for one in files if "/" not in one.rfilename)
    listed = {one.rfilename: one.lfs.sha256 for one in files if one.lfs is not None}
    if not all(name in listed for name in plain):
        from llamatune.models.files.hub import from_hub

        folder = from_hub(id, commit).folder
        listed = {name: file_sha256(folder / name) for name in plain}
    lines = [f"{name} {listed[name]}\n" for name in plain]
    if sha256("".join(lines).encode()).hexdigest() != origin.weights:
        raise ModelError(
            "E503",
            f"the hub's `{id}` has other weights than the base that the run began from",
            place=origin.shown,
            why="whoever loads the result would put it on a model that it was not trained on",
            hint="name the right model and commit (`--base org/name@COMMIT`), or push the merged model: `--merge`",
        )
    return commit
