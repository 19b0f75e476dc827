"""`llamatune push`: a finished run's model to the hub, with a card that says what it is.

What goes is staged beside nothing else, looked through, loaded once as others will load it, and shown before it is
sent. The hub keeps what has arrived, so that the same command goes on after whatever broke it off; the run itself is
never changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.errors import HubError, ModelError, RecipeError
from llamatune.hub.answers import hub_answers
from llamatune.hub.artefact import Artefact, BaseOrigin, evaluation_of, finished_artefact, same_weights
from llamatune.hub.card import CURVES, Pushed, data_cards, write_model_card
from llamatune.hub.snippets import HubBase, execute, loading_snippet
from llamatune.hub.staging import STAGED, check_staged, stage_model, staging_folder
from llamatune.models.quiet import hub_bars, quiet_upstream
from llamatune.recipe.cards import License
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.paths import HUB
from llamatune.runs.files import making_folder, remove, size, write_atomic
from llamatune.runs.report.by_stage import look_of
from llamatune.runs.report.curves import draw_all
from llamatune.runs.report.reading import as_text
from llamatune.runs.report.series import charts, collect
from llamatune.runs.shards import Say
from llamatune.wording import counted, in_shell

if TYPE_CHECKING:
    from huggingface_hub.hf_api import CommitInfo, ModelInfo


_MERGED = "merged"
_TERMS = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_MOST_CHARTS = 4


@dataclass(frozen=True)
class Target:
    """Where to: `name` is org/name; `revision` a branch, made where it is missing."""

    name: str
    kind: str = "model"
    private: bool = True
    revision: str | None = None
    pull_request: bool = False


@quiet_upstream()
def push(
    run: str,
    target: Target,
    *,
    merge: bool = False,
    base: str | None = None,
    licence: str | None = None,
    evaluations: Sequence[str] = (),
    dry_run: bool = False,
    say: Say,
) -> str:
    """Push what a finished run trained; returns where it is, or the staged folder of a dry run.

    Args:
        merge: push the merged model in place of the adapter.
        base: the hub's name of a base that was a folder, perhaps with `@COMMIT`; its weights must be the same.
        licence: of the result, as the hub calls it; that of the base when None.
        evaluations: finished runs of stage evaluate that judged it, for the card.

    Raises:
        RecipeError: E501, E504, E507, or no such run.
        ModelError: E502, E503, E505, E506.
        HubError: E510 to E517; what was to go is still staged.
    """
    check_name(target)
    artefact = finished_artefact(run)
    if artefact.makes_rows:
        raise RecipeError(
            "E507",
            f"`{run}` leaves rows and no model",
            place=run,
            hint=f"push them as a data set: `llamatune push {in_shell(run)} {target.name} --dataset`",
        )
    origin = _origin(artefact, base, merge)
    if origin.id == target.name:
        raise RecipeError(
            "E507", f"`{target.name}` is the base that the run began from", hint="push to a name of its own"
        )
    judged = [evaluation_of(one, artefact) for one in evaluations]
    staged = staging_folder(artefact, target.name)
    weights = _weights(artefact, merge, say)
    remove(staged)
    with making_folder(staged) as folder:
        left = stage_model(artefact, origin, weights, folder)
        page = _page_of(origin, say)
        if page is not None:
            _copy_terms(page, folder)
        _draw_curves(artefact, folder)
        terms = License(id=licence) if licence else _licence_of(origin, page)
        pushed = _pushed(artefact, origin, target, folder, merge, terms, say)
        write_model_card(replace(pushed, evaluations=judged), folder)
        check_staged(folder, artefact)
    if left:
        say(f"stays here: {', '.join(left)}")
    where = deliver(staged, target, dry_run=dry_run, say=say)
    if not dry_run:
        use = "chat {}" if pushed.task == "generate" else "score {} --data FILE"
        say(f"use it anywhere: llamatune {use.format(target.name)}")
    return where


def deliver(staged: Path, target: Target, *, dry_run: bool, say: Say) -> str:
    """Show what goes, send it, and see that it has arrived."""
    files = sorted(file for file in staged.iterdir() if file.is_file())
    total = sum(file.stat().st_size for file in files)
    for file in files:
        say(f"{size(file.stat().st_size):>16}  {file.name}")
    where = target.name + (f", revision {target.revision}" if target.revision else "")
    say(f"{size(total):>16}  in {counted(len(files), 'file')} to {where}")
    if dry_run:
        say("nothing was sent (--dry-run); the folder that would go:")
        return str(staged)
    commit = _send(staged, target)
    _check_arrived(files, target, commit)
    remove(staged)
    for made in (_MERGED, f"{_MERGED}.from"):
        remove(staged.parent / made)
    with suppress(OSError):  # another push of this run is on its way
        staged.parent.rmdir()
    return str(commit.pr_url or commit)


def check_name(target: Target) -> None:
    """Raises RecipeError (E507) for a name that is none, and for two places at once."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(target.name)
        whole = target.name.count("/") == 1
    except HFValidationError:
        whole = False
    if not whole:
        raise RecipeError(
            "E507",
            f"`{target.name}` is not a name of the hub",
            hint="write org/name, or your user's name/name",
        )
    if target.pull_request and target.revision:
        raise RecipeError(
            "E507",
            "a pull request is opened against the main branch, and `--revision` names another",
            hint="leave out one of the two",
        )


# ---- what goes --------------------------------------------------------------------------------------------


def _origin(artefact: Artefact, base: str | None, merge: bool) -> BaseOrigin:
    """The run's base, as others will find it."""
    origin, is_adapter = artefact.origin, artefact.result.artefact == "adapter"
    if merge and not is_adapter:
        raise RecipeError(
            "E507",
            f"`{artefact.run}` trained all weights: there is nothing to merge",
            hint="leave out `--merge`",
        )
    if base is not None:
        if origin.id is not None or origin.name == "pico":
            raise RecipeError(
                "E507",
                f"the run began from {origin.shown}, and `--base` names another",
                hint="`--base` is for a base that was a folder: leave it out",
            )
        id, _, revision = base.removeprefix(HUB).partition("@")
        return BaseOrigin(f"{HUB}{id}", id, same_weights(origin, id, revision or None), origin.weights)
    if origin.id is None and is_adapter and not merge:
        is_pico = origin.name == "pico"
        raise ModelError(
            "E502",
            "the adapter's base is "
            + (
                "pico, which only llamatune has"
                if is_pico
                else f"a folder of this machine, {Path(origin.name).name}"
            ),
            place=str(artefact.run),
            hint="push the merged model, which needs no base: `--merge`"
            if is_pico
            else "name the same model on the hub (`--base org/name`; push it first if it is yours), or push the merged "
            "model (`--merge`)",
        )
    return origin


def _weights(artefact: Artefact, merge: bool, say: Say) -> Path:
    """The folder whose files go. A merged model is kept until it has arrived: a push that broke off does not merge
    again."""
    if not merge:
        return artefact.folder
    merged = artefact.run / STAGED / _MERGED
    made_from, key = merged.with_suffix(".from"), artefact.result.files["adapter"].sha256
    if merged.is_dir() and made_from.is_file() and made_from.read_text(encoding="utf-8") == key:
        say("the merged model is there from before")
        return merged
    from llamatune.commands.merge import merge as merge_adapter

    remove(merged)
    merge_adapter(str(artefact.run), merged, report=say)
    write_atomic(made_from, key)
    return merged


def _pushed(
    artefact: Artefact,
    origin: BaseOrigin,
    target: Target,
    staged: Path,
    merge: bool,
    terms: License | None,
    say: Say,
) -> Pushed:
    found = artefact.found
    is_adapter = (staged / "adapter_config.json").is_file()
    base = None
    if is_adapter:
        assert origin.id is not None and origin.revision is not None
        base = HubBase(origin.id, origin.revision, found.base.folder)
    chats = (staged / "chat_template.jinja").is_file()
    snippet = loading_snippet(target.name, base, task=found.task, chats=chats)
    say("loading it as others will")
    executed = execute(snippet, target.name, staged, base)
    if executed is None:
        say("not tried: this machine has not the memory for it")
    if terms is None:
        say("the licence of the base is not known: `--license ID` states that of the result")
    return Pushed(
        name=target.name,
        artefact=artefact,
        origin=origin,
        relation="adapter" if is_adapter else "finetune",
        merged=merge,
        task=found.task,
        chats=chats,
        snippet=snippet,
        executed=executed,
        licence=terms,
        cards=data_cards(artefact),
    )


def _draw_curves(artefact: Artefact, staged: Path) -> None:
    metrics = collect(artefact.said.lines("metrics.jsonl"))
    look = look_of(artefact.stage)
    known, drawn = look.series(metrics, artefact.said.mapping("evaluation.json"), artefact.recipe)
    shown = [one for one in charts(drawn, known) if one.drawable and not one.single][:_MOST_CHARTS]
    if shown:
        last = max(one.last_step for one in shown)
        (staged / CURVES).write_bytes(draw_all(shown, last))


# ---- the base's terms -------------------------------------------------------------------------------------


def _page_of(origin: BaseOrigin, say: Say) -> ModelInfo | None:
    """What the hub says of the base; None where it is not there, or where the hub cannot be asked."""
    from huggingface_hub import HfApi

    if origin.id is None:
        return None
    try:
        with hub_answers(origin.id):
            return HfApi().model_info(origin.id, revision=origin.revision)
    except HubError as error:
        say(f"the hub does not say under which licence {origin.id} is: {error.problems[0].what}")
        return None


def _licence_of(origin: BaseOrigin, page: ModelInfo | None) -> License | None:
    """As the base's page states it."""
    if origin.name == "pico":
        return License(id="apache-2.0")
    said = page.card_data if page is not None else None
    id, name, link = (
        as_text(getattr(said, key, None)) for key in ("license", "license_name", "license_link")
    )
    return License(id=id, name=name or None, link=link or None) if id else None


def _copy_terms(page: ModelInfo, staged: Path) -> None:
    """The base's licence and notices go with what is made from it."""
    from huggingface_hub import hf_hub_download

    for one in page.siblings or ():
        if "/" not in one.rfilename and any(fnmatch(one.rfilename, pattern) for pattern in _TERMS):
            with hub_answers(page.id):
                file = hf_hub_download(page.id, one.rfilename, revision=page.sha)
            shutil.copyfile(file, staged / one.rfilename)


# ---- sending ----------------------------------------------------------------------------------------------


def _send(staged: Path, target: Target) -> CommitInfo:
    """One or more commits; what the hub has already is not sent again."""
    from huggingface_hub import HfApi

    from llamatune.version import __version__

    api = HfApi(library_name="llamatune", library_version=__version__)
    with hub_answers(target.name), hub_bars():
        api.create_repo(target.name, repo_type=target.kind, private=target.private, exist_ok=True)
        if target.revision is not None and not target.revision.startswith("refs/"):
            api.create_branch(target.name, repo_type=target.kind, branch=target.revision, exist_ok=True)
        return api.upload_folder(
            repo_id=target.name,
            repo_type=target.kind,
            folder_path=staged,
            revision=target.revision,
            create_pr=target.pull_request,
            commit_message=f"From llamatune {__version__}",
        )


def _check_arrived(files: list[Path], target: Target, commit: CommitInfo) -> None:
    """Every file is there, with its size, and its hash where the hub lists one. Raises HubError (E517)."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with hub_answers(target.name):
        tree = HfApi().list_repo_tree(target.name, repo_type=target.kind, revision=commit.oid, recursive=True)
        there = {one.path: one for one in tree if isinstance(one, RepoFile)}
    for file in files:
        one = there.get(file.name)
        right = one is not None and one.size == file.stat().st_size
        if not right or (one is not None and one.lfs is not None and one.lfs.sha256 != file_sha256(file)):
            raise HubError("E517", f"`{file.name}` has not arrived as it was sent", place=target.name)
