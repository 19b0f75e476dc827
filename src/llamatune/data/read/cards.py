"""Make, update and check data cards from the data itself.

E114  a card of that name is there already
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llamatune.data.counts import BENCHMARK, SourceInfo
from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.known import kind_of
from llamatune.data.formats.recognise import Recognised, recognise_rows
from llamatune.data.read.readers import read_rows
from llamatune.data.read.sources import card_files
from llamatune.data.read.survey import recognise, survey_of
from llamatune.data.rows import Adjustment, RowRejected, with_reason
from llamatune.errors import DataError
from llamatune.outside import exists, is_folder
from llamatune.recipe.blocks import Columns, Kind
from llamatune.recipe.cards import (
    CardFile,
    DataCard,
    Split,
    find_card_file,
    missing_file,
    read_card,
    verify_file,
)
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.parsing.yaml import parse, read_text, to_yaml
from llamatune.recipe.shipped import shipped
from llamatune.runs.files import disk_errors, write_atomic
from llamatune.runs.handover import rows_of_run
from llamatune.wording import counted

_DRAFT = """\
---
# A draft: hash, rows, bytes and format are measured; what only a person can know is left to you.
card_version: 1
name: {name}
version: 0.1.0
{description}\
license:
  id: # needed to name this card in a recipe, and to push a model: an SPDX identifier such as cc-by-4.0
{measured}\
category: mixed # helpfulness, safety or mixed
languages: [und] # BCP 47 codes, such as en; `und` is undetermined
privacy:
  pii: unknown # none, present, removed or unknown
uses:
  intended: [{use}]
limits: [] # what a user of the data should know
---
# {name}

Where the rows come from, how they were chosen and cleaned, and what is known to be wrong with them.
"""

_USES: dict[Kind, str] = {"preferences": "reward models", "prompts": "reinforcement learning"}

_FRONT = re.compile(r"---[ ]*\r?\n(.*?)^---[ ]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def draft_cards(sources: Sequence[SourceInfo], out_dir: Path) -> list[Path]:
    """Draft a card for each data file that a recipe named without one; one card for each file. A benchmark is no data
    to train on."""
    cards: dict[str, Path] = {}
    names = _Names()
    for source in (one for one in sources if one.role != BENCHMARK):
        for file in source.files:
            known_by = source.card or source.revision or source.run
            if known_by is None and file not in cards:
                # Perhaps only the recipe said so.
                known = Recognised(source.format, Columns(**source.columns))
                name = names.another(_card_name(Path(file)))
                cards[file] = draft_card(Path(file), out_dir, name=name, recognised=known)
    return list(cards.values())


class _Names:
    """Names of cards, each with a number where there is one of that name already."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def another(self, name: str) -> str:
        numbered = name
        while numbered in self._taken:
            self._taken[name] += 1
            numbered = f"{name}-{self._taken[name]}"
        self._taken[numbered] = 1
        return numbered


def draft_card(
    path: Path,
    out_dir: Path,
    *,
    name: str | None = None,
    recognised: Recognised | None = None,
) -> Path:
    """Write `out_dir/NAME.md`, a card of the data file with an empty licence. The format is recognised when left out.
    Of a finished run, it is a card of the rows that the run made.

    Raises:
        DataError: E114, and those of reading the file and recognising its format.
        RecipeError: E038, E039, a run that has not finished or leaves no rows.
    """
    name = name or _card_name(path)
    made_by = f", made by the run `{path}`" if is_folder(path) else ""
    path = rows_of_run(str(path)) if is_folder(path) else path
    target = out_dir / f"{name}.md"
    if exists(target):
        hint = f"`llamatune data card {name} --update` measures its files again"
        raise DataError("E114", f"there is a card `{name}` already", place=str(target), hint=hint)
    recognised = recognised or recognise(path)
    measured = {
        "source": {"kind": "user"},
        "format": recognised.format,
        "columns": recognised.columns.model_dump(exclude_none=True),
        "splits": {"train": {"files": [{"path": _card_path(path), **_measured(path)}]}},
    }
    description = {"description": f"Rows of {path.name}, format {recognised.format}{made_by}."}
    out_dir.mkdir(parents=True, exist_ok=True)
    text = _DRAFT.format(
        name=name,
        description=to_yaml(description),
        measured=to_yaml(measured),
        use=_USES.get(kind_of(recognised.format), "fine-tuning"),
    )
    target.write_text(text, encoding="utf-8")
    return target


def _card_name(path: Path) -> str:
    """The file's name as a card may be called."""
    return re.sub(r"[^a-z0-9._-]+", "-", path.name.lower().split(".")[0]).strip("-._") or "data"


def update_card(name: str, start: Path) -> Path:
    """Measure the card's files again, and write hashes, bytes and rows into it. Returns the card's path.

    An analysis of other bytes goes. Works on a card that is not complete yet; comments in the front matter are lost.
    Of a card that came with llamatune, a copy in `./data_cards` is written, which is found before it.

    Raises:
        DataError: no such card, a card without source or splits, a missing file.
        DiskError: the card cannot be written; the one before is intact.
    """
    return change_card(name, start, _measure_again)


def change_card(name: str, start: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the front matter of a card, which may be incomplete but for its sources, and write it. Returns its path;
    raises what `update_card` raises."""
    path = find_card_file(name, start)
    text = read_text(path)
    front = _FRONT.match(text)
    data = parse("\n" + front.group(1), str(path)).data if front else None
    if front is None or not _has_sources(data):
        read_card(path)  # says what is wrong
        raise AssertionError(f"{path} is valid but has no source")
    assert isinstance(data, dict)
    change(data)
    own = _own(path)
    with disk_errors(own):
        own.parent.mkdir(exist_ok=True)
    write_atomic(own, f"---\n{to_yaml(data)}---\n{text[front.end() :]}")
    return own


def _own(card: Path) -> Path:
    """Where what is said of the user's files is kept. A card that came with llamatune serves all projects, and goes
    with the version: it stays as it is."""
    came = card.parent.resolve() == shipped("data_cards").resolve()
    return Path("data_cards", card.name) if came else card


def _measure_again(data: dict[str, Any]) -> None:
    for split_name, split in data["splits"].items():
        if data["source"]["kind"] == "world":
            split.update(_measured_world(data["source"]["set"], split_name))
        files = [entry["path"] for entry in split.get("files", [])]
        if missing := [path for path in files if not exists(Path(path))]:
            source = data["source"]
            named = (data.get("name"), source.get("kind"), source.get("url"))
            raise DataError.of([missing_file(*named, path) for path in missing])
        for entry in split.get("files", []):
            entry.update(_measured(Path(entry["path"])))
    for split_name, figures in list((data.get("analysis") or {}).items()):
        if data["source"]["kind"] == "hub":
            continue  # its files are not here, and a commit says which they are
        split = data["splits"].get(split_name, {})
        hashes = [entry["sha256"] for entry in split.get("files", [])] or [split.get("sha256")]
        if figures.get("sha256") != hashes:
            del data["analysis"][split_name]
    if "analysis" in data and not data["analysis"]:
        del data["analysis"]


@dataclass(frozen=True)
class CheckedSplit:
    """A split whose files are right. `rows` is None, and `where` says what the hub calls it, where nothing is here."""

    split: str
    where: str
    rows: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """Rows left out or adjusted, by reason."""

    def __str__(self) -> str:
        if self.rows is None:
            return f"split {self.split}: on the hub, {self.where}"
        remarks = [with_reason(count, what) for what, count in self.counts.items()]
        return ", ".join(
            [f"split {self.split}: {self.where}: hash right, {counted(self.rows, 'row')}", *remarks]
        )


@dataclass(frozen=True)
class CheckedCard:
    """A card that is valid, and whose files are what it says."""

    path: str
    licence: str
    splits: list[CheckedSplit]

    def lines(self) -> list[str]:
        return [f"{self.path}: valid, licence {self.licence}", *map(str, self.splits)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_card(name: str, start: Path) -> CheckedCard:
    """Verify a card, the hash and the rows of each of its files, and that every row can be used.

    Raises:
        DataError: the first thing that is wrong.
    """
    path = find_card_file(name, start)
    card, _ = read_card(path)
    splits = []
    for split, expected in card.splits.items():
        if card.source.kind == "hub":
            splits.append(CheckedSplit(split, f"{card.source.id} at commit {card.source.revision}"))
            continue
        files = card_files(card, split)
        entries: Sequence[CardFile | Split] = expected.files or [expected]
        for entry, file in zip(entries, files, strict=True):
            rows, counts = _checked_rows(card, file)
            verify_file(card, entry, file, rows, fresh=True)
            splits.append(CheckedSplit(split, str(file), rows, counts))
    return CheckedCard(str(path), card.license.id, splits)


def _has_sources(data: Any) -> bool:
    """Whether there is enough of a card to measure its files."""
    if not isinstance(data, dict):
        return False
    source, splits = data.get("source"), data.get("splits")
    if not isinstance(source, dict) or not isinstance(splits, dict) or not splits:
        return False
    if source.get("kind") == "world" and not isinstance(source.get("set"), str):
        return False
    return all(
        isinstance(split, dict)
        and all(
            isinstance(entry, dict) and isinstance(entry.get("path"), str) for entry in split.get("files", [])
        )
        for split in splits.values()
    )


def _card_path(path: Path) -> str:
    """As a card names files: relative to the working directory if the file is below it."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd())) if resolved.is_relative_to(Path.cwd()) else str(resolved)


def _measured(path: Path) -> dict[str, Any]:
    rows = sum(1 for _ in read_rows(path))
    return {"sha256": file_sha256(path, fresh=True), "bytes": path.stat().st_size, "rows": rows}


def _measured_world(set_name: str, split: str) -> dict[str, Any]:
    from llamatune.world import sets

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{set_name}.jsonl"
        sets.write(set_name, split, path)
        return _measured(path)


def _checked_rows(card: DataCard, file: Path) -> tuple[int, dict[str, int]]:
    """How many rows a file has, and what was found in them; each row of a trainable format is converted."""
    rows = 0
    found: Counter[str] = Counter()
    adjusted: Counter[Adjustment] = Counter()
    seen = survey_of(read_rows(file)).rows
    recognised = recognise_rows(
        seen, format=card.format, columns=card.columns, ignore=card.ignore, place=str(file)
    )
    for place, raw in read_rows(file):
        rows += 1
        try:
            canonical(raw, recognised, place, adjusted)
        except RowRejected as rejected:
            found[rejected.reason.value] += 1
    found.update({adjustment.value: count for adjustment, count in adjusted.items()})
    return rows, dict(found)
