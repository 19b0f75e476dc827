"""`llamatune push RUN NAME --dataset`: the rows that a stage made, with a card that says from what and how."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llamatune.errors import ModelError, RecipeError
from llamatune.hub.artefact import Artefact, finished_artefact
from llamatune.hub.card import data_cards, earlier_lines, fenced, in_line, source_lines, without_named_paths
from llamatune.hub.push import Target, check_name, deliver
from llamatune.hub.staging import (
    CARD,
    RECIPE,
    check_staged,
    own_paths,
    refuse_link,
    stage_facts,
    staging_folder,
    without_paths,
)
from llamatune.models.quiet import quiet_upstream
from llamatune.outside import open_plain
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.parsing.yaml import to_yaml
from llamatune.runs.files import jsonl_line, making_folder, remove
from llamatune.runs.handover import CONVERSATIONS, MADE_BY, PREFERENCES, PREFERENCES_TEST
from llamatune.runs.report.reading import as_mapping, as_text
from llamatune.runs.shards import Say
from llamatune.shown import CREDENTIAL
from llamatune.version import __version__
from llamatune.wording import counted, in_shell

_TASKS = {CONVERSATIONS: ["text-generation"], PREFERENCES: ["reinforcement-learning", "text-generation"]}
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


@quiet_upstream()
def push_rows(
    run: str, target: Target, *, licence: str | None = None, dry_run: bool = False, say: Say
) -> str:
    """Push the rows that a finished run made; returns where they are, or the staged folder of a dry run.

    Args:
        run: a run, for the rows that its stage is made for; or a file in it, such as RUN/preferences.jsonl.
        licence: of the rows, as the hub calls it; that of the prompts when None, where all have the same.

    Raises:
        RecipeError: E501, E504, E507, or no such run.
        ModelError: E505, the rows cannot be loaded as others will.
        HubError: E510 to E517; what was to go is still staged.
    """
    check_name(target)
    artefact = finished_artefact(run)
    if not artefact.makes_rows:
        raise RecipeError(
            "E507",
            f"`{run}` leaves a model and no rows",
            place=run,
            hint=f"leave out `--dataset`: `llamatune push {in_shell(run)} {target.name}`",
        )
    splits = _splits(artefact, Path(run).name if run.endswith(".jsonl") else artefact.result.artefact)
    staged = staging_folder(artefact, f"{target.name}.rows")
    remove(staged)
    with making_folder(staged) as folder:
        own = own_paths(artefact)
        counts = {split: _write_rows(file, folder / file.name, own, say) for split, file in splits.items()}
        stage_facts(artefact, None, folder)
        files = {split: file.name for split, file in splits.items()}
        (folder / CARD).write_text(
            _card(artefact, target, folder, files, counts, licence, say), encoding="utf-8"
        )
        _load(folder, counts)
        check_staged(folder, artefact)
    return deliver(staged, target, dry_run=dry_run, say=say)


def size_category(rows: int) -> str:
    """As the hub calls so many rows."""
    return next((name for most, name in _SIZES if rows < most), "n>10M")


def _splits(artefact: Artefact, name: str) -> dict[str, Path]:
    splits = {"train": artefact.files[name]}
    if name == PREFERENCES and PREFERENCES_TEST in artefact.files:
        splits["test"] = artefact.files[PREFERENCES_TEST]
    return splits


def _write_rows(file: Path, to: Path, own: re.Pattern[str], say: Say) -> int:
    """Copy rows without paths of this machine in what they say of their making; returns how many there are. A row whose
    text looks as if it held a credential, or such a path, is left out."""
    refuse_link(file)
    kept = left_out = 0
    with to.open("wb") as stream:
        for row in _rows(file):
            line = jsonl_line({**row, MADE_BY: without_paths(row[MADE_BY])} if MADE_BY in row else row)
            if CREDENTIAL.search(text := line.decode()) or own.search(text):
                left_out += 1
            else:
                stream.write(line)
                kept += 1
    if left_out:
        say(
            f"{file.name}: {counted(left_out, 'row')} left out, which may hold a credential or a path of yours"
        )
    return kept


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with open_plain(file) as stream:
        yield from map(json.loads, stream)


def _load(folder: Path, counts: dict[str, int]) -> None:
    """Load it as others will: the card says which file is which split."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        try:
            loaded = datasets.load_dataset(str(folder), cache_dir=cache)
            found = {split: len(rows) for split, rows in loaded.items()}
        # The library raises a dozen kinds.
        except Exception as error:
            raise ModelError(
                "E505",
                f"the rows cannot be loaded as others will: {str(error).splitlines()[0]}",
                place=str(folder),
                hint="please report this as a bug of llamatune",
            ) from error
    if found != counts:
        raise ModelError("E505", f"loading gives {found} rows, and there are {counts}", place=str(folder))


def _card(
    artefact: Artefact,
    target: Target,
    folder: Path,
    files: dict[str, str],
    counts: dict[str, int],
    licence: str | None,
    say: Say,
) -> str:
    cards = data_cards(artefact)
    terms = {as_text(source.get("licence")) for source in artefact.sources}
    same = terms.pop() if len(terms) == 1 else None
    licence = licence or same
    if not licence:
        say("the licence of the prompts is not known: `--license ID` states that of the rows")
    languages = {code for card in cards.values() for code in card.languages} - {"und"}
    total = sum(counts.values())
    data_files = [{"split": split, "path": name} for split, name in files.items()]
    metadata = {
        "license": licence,
        "language": sorted(languages),
        "task_categories": _TASKS.get(files["train"], ["text-generation"]),
        "size_categories": [size_category(total)],
        "tags": ["llamatune", artefact.stage, "synthetic"],
        "configs": [{"config_name": "default", "data_files": data_files}],
    }
    front = to_yaml({key: value for key, value in metadata.items() if value})
    page = "\n".join(_page(artefact, target, folder, files, counts))
    return without_named_paths(f"---\n{front}---\n\n{page}", artefact)


def _page(
    artefact: Artefact, target: Target, folder: Path, files: dict[str, str], counts: dict[str, int]
) -> Iterator[str]:
    split = ", ".join(f"{name}: {counted(number, 'row')}" for name, number in counts.items())
    made = artefact.stage.replace("_", " ")
    yield from (
        f"# {in_line(target.name.partition('/')[2])}",
        "",
        f"Rows that a model wrote: stage `{artefact.stage}` ({made}) of llamatune {__version__}. {split}.",
        "",
        fenced(
            f'from datasets import load_dataset\n\nrows = load_dataset("{target.name}", split="train")',
            "python",
        ),
        "",
        f"In a recipe of llamatune: `data.train: [{{hub: {target.name}}}]`.",
        "",
        "## Made from",
        "",
        "| | |",
        "|---|---|",
    )
    for what, which in _lineage(artefact):
        yield f"| {in_line(what)} | {in_line(which)} |"
    yield from ("", "Prompts:", "", *source_lines(artefact), "", "## A row", "")
    first = next(_rows(folder / files["train"]), None)
    if first is not None:
        yield fenced(json.dumps(first, indent=2, ensure_ascii=False), "json")
    yield from (
        "",
        f"`{MADE_BY}` says how the row came about; it is no part of what is learnt.",
        "",
        "## Limits",
        "",
        "- A model wrote the replies, and models or rules chose among them: they may state what is false, and carry "
        "what its training data carried.",
        "- Prompts meant to provoke may be among them, and unsafe replies among those that were not chosen.",
        "",
        "| file | sha256 |",
        "|---|---|",
        *(f"| {in_line(name)} | {file_sha256(folder / name)} |" for name in files.values()),
        "",
        "## Recipe",
        "",
        fenced((folder / RECIPE).read_text(encoding="utf-8"), "yaml"),
        "",
    )


def _lineage(artefact: Artefact) -> Iterator[tuple[str, str]]:
    """The policy and the judges, by name and by the hash of their weights."""
    facts = as_mapping(artefact.manifest.get("facts"))
    model = as_mapping(artefact.recipe.get("model"))
    for what, name, said in (
        ("base", model.get("base"), facts.get("base")),
        ("adapter", model.get("adapter"), facts.get("adapter")),
    ):
        if name:
            yield what, f"{without_paths(name)}, sha256 {as_mapping(said).get('weights')}"
    for part, judge in as_mapping(facts.get("models")).items():
        said = as_mapping(judge)
        weights = as_mapping(said.get("adapter") or said.get("base")).get("weights")
        yield f"judge: {part}", f"sha256 {weights}"
    yield from earlier_lines(artefact)
