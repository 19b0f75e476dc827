"""The model card: what a run's folder says, as the hub shows it. Written last, and read again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llamatune.errors import DataError, ModelError
from llamatune.hub.artefact import Artefact, BaseOrigin, earlier_runs
from llamatune.hub.staging import CARD, RECIPE, named_paths, without_paths
from llamatune.models.found import Task
from llamatune.recipe.cards import DataCard, License, find_card_file, read_card
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.parsing.yaml import to_yaml
from llamatune.recipe.recipes import STAGES
from llamatune.runs.report import words
from llamatune.runs.report.page import contents
from llamatune.runs.report.reading import as_mapping, as_number, as_text
from llamatune.runs.report.tables import Table
from llamatune.shown import masked
from llamatune.version import __version__

Relation = Literal["adapter", "finetune"]
"""What the hub calls it. A LoRA that was merged into its own base is a fine-tune; `merge` is for several models."""

CURVES = "curves.png"

_MOST_REPLIES, _LONGEST_SHOWN, _LONGEST_CELL = 6, 600, 120


@dataclass(frozen=True)
class Pushed:
    """What a card is about."""

    name: str
    """org/name on the hub."""
    artefact: Artefact
    origin: BaseOrigin
    relation: Relation
    merged: bool
    task: Task
    chats: bool
    snippet: str
    executed: str | None
    """What the snippet printed; None where the memory did not hold the model."""
    licence: License | None
    """Of the base, or what the user says."""
    cards: dict[str, DataCard] = field(default_factory=dict)
    evaluations: list[tuple[str, Artefact]] = field(default_factory=list)
    """Runs of stage evaluate that judged it, each with what it is called there."""

    @property
    def from_scratch(self) -> bool:
        """Whether the base gave its architecture only."""
        return str(as_mapping(self.artefact.recipe.get("model")).get("init", "pretrained")) != "pretrained"


def data_cards(artefact: Artefact) -> dict[str, DataCard]:
    """The cards of the run's data, where they still are what they were when it began."""
    noted = as_mapping(artefact.manifest.get("cards"))
    found = {}
    for name in {as_text(source.get("card")) for source in artefact.sources} - {""}:
        try:
            file = find_card_file(name, artefact.run)
            if file_sha256(file) == noted.get(name):
                found[name] = read_card(file)[0]
        except DataError:
            continue
    return found


def write_model_card(pushed: Pushed, staged: Path) -> Path:
    """Write README.md beside everything else, and read it again.

    Raises:
        ModelError: E506, its metadata is not what was meant.
    """
    metadata = _metadata(pushed)
    text = f"---\n{to_yaml(metadata)}---\n\n{_body(pushed, staged)}"
    file = staged / CARD
    for run in (pushed.artefact, *(evaluation for _, evaluation in pushed.evaluations)):
        text = without_named_paths(text, run)
    file.write_text(text, encoding="utf-8")
    _read_again(file, metadata)
    return file


def _read_again(file: Path, metadata: dict[str, Any]) -> None:
    from huggingface_hub import ModelCard

    read = ModelCard.load(file).data.to_dict()
    wrong = sorted(key for key in metadata if read.get(key) != metadata[key])
    if wrong:
        raise ModelError(
            "E506",
            f"the card that was written says something else in {', '.join(wrong)}",
            place=str(file),
            hint="please report this as a bug of llamatune",
        )


# ---- metadata ---------------------------------------------------------------------------------------------


def _metadata(pushed: Pushed) -> dict[str, Any]:
    """What the hub reads: ids of the hub only, never a path."""
    origin, adapter = pushed.origin, pushed.relation == "adapter"
    tags = ["llamatune", pushed.artefact.stage, *(["lora"] if adapter or pushed.merged else [])]
    if pushed.task == "score":
        tags.append("reward-model")
    if adapter:
        tags.append(f"base_model:adapter:{origin.id}")
    languages = {code for card in pushed.cards.values() for code in card.languages} - {"und"}
    datasets = dict.fromkeys(_hub_data(pushed))
    licence = pushed.licence
    said = {
        "license": licence.id if licence else None,
        "license_name": licence.name if licence else None,
        "license_link": licence.link if licence else None,
        "language": sorted(languages),
        "base_model": None if pushed.from_scratch else origin.id,
        "base_model_relation": pushed.relation if origin.id and not pushed.from_scratch else None,
        "datasets": list(datasets),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-classification" if pushed.task == "score" else "text-generation",
        "tags": tags,
    }
    return {key: value for key, value in said.items() if value}


def _hub_data(pushed: Pushed) -> Iterable[str]:
    """Ids of data sets on the hub."""
    for source in pushed.artefact.sources:
        card = pushed.cards.get(as_text(source.get("card")))
        if card is not None and card.source.id is not None:
            yield card.source.id
        elif card is None and source.get("revision") and not source.get("card"):
            yield "/".join(as_text(source.get("name")).split("/")[:2])  # without the configuration


# ---- the page ---------------------------------------------------------------------------------------------


def _body(pushed: Pushed, staged: Path) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters |= {"line": in_line, "block": fenced}
    seen = contents(pushed.artefact.run)
    stage = pushed.artefact.stage
    return environment.get_template("card.md.jinja").render(
        pushed=pushed,
        origin=pushed.origin,
        method=STAGES[stage].method if stage in STAGES else stage,
        version=__version__,
        figures=seen["figures"],
        curves=(staged / CURVES).is_file(),
        sources=source_lines(pushed.artefact),
        tables=list(_tables(seen)),
        evaluations=[
            (called, one.run.name, list(_tables(contents(one.run)))) for called, one in pushed.evaluations
        ],
        replies=_replies(seen["replies"]),
        limits=_limits(pushed),
        lineage=list(_lineage(pushed)),
        versions=seen["environment"]["versions"],
        files=[(file.name, words.number(file.stat().st_size), file_sha256(file)) for file in _hashed(staged)],
        recipe=(staged / RECIPE).read_text(encoding="utf-8"),
    )


def _hashed(staged: Path) -> list[Path]:
    """Files whose hash a reader may want to compare."""
    return sorted(file for file in staged.iterdir() if file.suffix in (".safetensors", ".json", ".jinja"))


def in_line(text: object) -> str:
    """Text as part of a line of Markdown, or of a table's cell: nothing in it is markup."""
    shown = words.visible(words.shorten(masked(str(text)), _LONGEST_SHOWN)).replace("\n", " ")
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", shown.replace("&", "&amp;").replace("<", "&lt;"))


def fenced(text: str, language: str = "") -> str:
    """Text as a fenced block, whatever is in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{words.visible(masked(text)).rstrip()}\n{fence}"


def without_named_paths(text: str, artefact: Artefact) -> str:
    """A page with each path that the run names cut to its last part, also where it is written as Markdown has it."""
    for path in named_paths(artefact):
        name = without_paths(path)
        text = text.replace(path, name).replace(in_line(path), in_line(name))
    return text


def source_lines(artefact: Artefact) -> list[str]:
    """The data sets of a run as a table of Markdown, and what their cards say of them."""
    cards = data_cards(artefact)
    sources = [_source(source, cards) for source in artefact.sources]
    columns = ("name", "role", "licence", "kept", "dropped", "sha256")
    table = ["| data | role | licence | rows used | left out | sha256 |", "|---|---|---|---|---|---|"]
    table += [f"| {' | '.join(in_line(one[column]) for column in columns)} |" for one in sources]
    about = {one["name"]: one["about"] for one in sources if one["about"]}
    return [*table, "", *(f"- {in_line(name)}: {in_line(said)}" for name, said in about.items())]


def _source(source: dict[str, Any], cards: Mapping[str, DataCard]) -> dict[str, str]:
    counts, card = as_mapping(source.get("counts")), cards.get(as_text(source.get("card")))
    dropped = sum(int(as_number(rows) or 0) for rows in as_mapping(counts.get("dropped")).values())
    hashes = source.get("sha256") or [""]
    run = source.get("run")
    name = f"made by run {without_paths(run)}" if run else without_paths(as_text(source.get("name")))
    return {
        "name": card.source.id if card is not None and card.source.id else name,
        "about": card.description if card is not None else "",
        "role": as_text(source.get("role")),
        "licence": as_text(source.get("licence")) or "not stated",
        "kept": words.number(counts.get("kept", 0)),
        "dropped": words.number(dropped),
        "sha256": as_text(hashes[0])[:12] + (f" and {len(hashes) - 1} more" if len(hashes) > 1 else ""),
    }


def _tables(seen: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The tables of a run's evaluation, but for those of whole replies, and of benchmarks that nobody has verified."""
    for table in (one for one in seen["evaluation"]["tables"] if one.published):
        longest = max((len(cell.text) for _, cells in table.rows for cell in cells), default=0)
        if longest <= _LONGEST_CELL:
            yield {"of": in_line(table.of or seen["evaluation"]["of"]), **_markdown(table)}


def _markdown(table: Table) -> dict[str, Any]:
    rows = [
        [
            in_line(name),
            *(
                in_line(" ".join(filter(None, (cell.text, *cell.lines, cell.note and f"({cell.note})"))))
                for cell in cells
            ),
        ]
        for name, cells in table.rows
    ]
    return {
        "title": in_line(table.title),
        "about": in_line(table.about),
        "columns": list(map(in_line, table.columns)),
        "rows": rows,
    }


def _replies(said: dict[str, Any]) -> list[dict[str, str]]:
    shown = []
    for prompt, first, last in said["rows"][:_MOST_REPLIES]:
        after = last or first
        if after is not None:
            shown.append(
                {"prompt": prompt, "before": first["text"] if last and first else "", "after": after["text"]}
            )
    return shown


def _limits(pushed: Pushed) -> list[str]:
    """What a user must know, from what is known."""
    found = []
    safety = [card.name for card in pushed.cards.values() if card.category in ("safety", "mixed")]
    if pushed.task == "score":
        found.append(
            "It gives a number, which compares replies to the same prompt. It is as good as its held-out accuracy "
            "above, on replies such as those it was trained on, and can be deceived by others."
        )
    elif safety:
        found.append(
            f"Its training data has rows about safety ({', '.join(safety)}); no claim follows from that."
        )
    else:
        found.append(
            "No data about safety was part of this run: what its base does with harmful requests, it may do too."
        )
    if pushed.origin.name == "pico":
        found.append(
            "pico knows only llamatune's miniature world: it is for learning the method, not for real text."
        )
    found.append("It may state what is false. Test it on your own task before you rely on it.")
    terms = {as_text(source.get("licence")) for source in pushed.artefact.sources}
    if restricted := {one for one in terms if re.search(r"(^|-)nc(-|$)", one)}:
        found.append(f"Some of its data may not be used commercially: {', '.join(sorted(restricted))}.")
    found += [f"Data {card.name}: {limit}" for card in pushed.cards.values() for limit in card.limits]
    return found


def _lineage(pushed: Pushed) -> Iterable[tuple[str, str]]:
    """(what, which) of everything that the run was made from, with hashes."""
    facts = as_mapping(pushed.artefact.manifest.get("facts"))
    at = f" at commit {pushed.origin.revision}" if pushed.origin.revision else ""
    yield "base", f"{pushed.origin.shown}{at}"
    if pushed.origin.weights:
        yield "base, sha256 of its weights", pushed.origin.weights
    started = as_mapping(pushed.artefact.recipe.get("model")).get("adapter")
    if started:
        yield "began from", f"{without_paths(started)}, sha256 {_weights_of(facts.get('adapter'))}"
    for part, judge in as_mapping(facts.get("models")).items():
        said = as_mapping(judge)
        yield f"judge: {part}", f"sha256 {_weights_of(said.get('adapter') or said.get('base'))}"
    for key in ("tokenizer", "template"):
        if facts.get(key):
            yield f"{key}, sha256", as_text(facts[key])
    yield from earlier_lines(pushed.artefact)


def earlier_lines(artefact: Artefact) -> Iterable[tuple[str, str]]:
    """(run and stage, what it handed on) of the runs before this one."""
    for name, result in earlier_runs(artefact).items():
        given = result.files.get(result.artefact)
        sha256 = f", sha256 {given.sha256}" if given is not None else ""
        yield f"run {without_paths(name)}, stage {result.stage}", f"{result.artefact}{sha256}"


def _weights_of(facts: Any) -> str:
    return as_text(as_mapping(facts).get("weights")) or "not known"
