"""Open what a recipe's `Source` names: a file, a data card, a hub data set, or the rows that another run made.

E111  a hub data set is not available
E112  the format of a card is not for this stage
E113  a generated set is not the one that its card describes
E115  a stage reads rows of a kind that no run makes
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from llamatune.data.cache import cache_key
from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.known import formats_of
from llamatune.data.formats.recognise import Recognised, check_usable, recognise_rows
from llamatune.data.formats.record import Adjusted, Raw
from llamatune.data.formats.turns import under_condition
from llamatune.data.read.json_array import excerpt
from llamatune.data.read.readers import Skip, read_rows
from llamatune.data.read.survey import Survey, stored_survey
from llamatune.data.read.tables import Rows, arrow_rows
from llamatune.data.rows import Conversation, Preference, Row, RowRejected
from llamatune.errors import DataError
from llamatune.recipe.blocks import Kind, RowFormat, Source
from llamatune.recipe.cards import DataCard, card_split, find_card, split_files, verify_file
from llamatune.recipe.hashing import cache_folder, file_sha256
from llamatune.recipe.stages.common import PromptSource
from llamatune.recipe.stages.sft import ConversationSource
from llamatune.runs.files import disk_errors, sweep, temporary_beside
from llamatune.runs.handover import CONVERSATIONS, MADE_BY, PREFERENCES, PREFERENCES_TEST, take, told


@dataclass(frozen=True)
class OpenSource:
    """A source whose files are there, verified, and whose format is known.

    `fingerprint` changes with the content and with all that decides what becomes of it. `is_safety` is None if rows
    are not prompts; `label` is the one that rows are chosen by, if any.
    """

    name: str
    files: tuple[Path, ...]
    sha256: tuple[str, ...]
    recognised: Recognised
    survey: Survey
    is_safety: bool | None = None
    label: bool | None = None
    side: Literal["chosen", "rejected"] | None = None
    """Of pairs that become conversations: which reply."""
    condition: str | None = None
    """What is put into the system message of every conversation."""
    max_rows: int | None = None
    card: str | None = None
    licence: str | None = None
    revision: str | None = None
    run: str | None = None
    """The run that made the rows."""

    @property
    def fingerprint(self) -> str:
        columns = self.recognised.columns.model_dump(exclude_none=True)
        # Named where they are given only: those of all other sources stay what they were.
        more = [one for one in (self.side, self.condition) if one is not None]
        return cache_key(
            self.sha256, self.recognised.format, columns, self.max_rows, self.is_safety, self.label, *more
        )

    def describe(self) -> Iterator[str]:
        """Lines for the user: the format, who made the rows if a stage did, one pair where a column says which reply is
        better, and the survey's warnings."""
        yield f"{self.name}: format {self.recognised}"
        made_by = self.survey.rows[0].get(MADE_BY) if self.survey.rows else None
        if isinstance(made_by, dict):
            yield f"{self.name}: made by a stage; of the first row: {told(made_by)}"
        if self.recognised.columns.better is not None:
            for row in self.survey.rows:
                with suppress(RowRejected, DataError):
                    pair = self.canonical(row, self.name)
                    assert isinstance(pair, Preference)
                    better, other = (excerpt(side[0].content) for side in (pair.chosen, pair.rejected))
                    yield f"{self.name}: of the first pair, {better} is better than {other}"
                    break
        for warning in self.survey.warnings(self.recognised):
            yield f"{self.name}: {warning}"

    def rows(self, skip: Skip = None) -> Rows:
        """`(place, raw row)` of all files, in order. Raises what the readers raise."""
        return islice(_read(self.files, self.name, skip), self.max_rows)

    def canonical(self, raw: Raw, place: str, adjusted: Adjusted = None) -> Row:
        """A row of the source as the stage needs it. Raises what `canonical.canonical` raises."""
        is_safety = bool(self.is_safety)
        row = canonical(raw, self.recognised, place, adjusted, is_safety=is_safety, label=self.label)
        if self.side is not None and isinstance(row, Preference):
            row = Conversation((*row.prompt, *getattr(row, self.side)), place)
        if self.condition is not None and isinstance(row, Conversation):
            row = replace(row, messages=tuple(under_condition(row.messages, self.condition, raw, place)))
        return row


@dataclass(frozen=True)
class FoundFiles:
    """The files of a source, there and verified, but not read yet. `name` is what the user calls them."""

    name: str
    files: tuple[Path, ...]
    card: DataCard | None = None
    revision: str | None = None

    @property
    def sha256(self) -> tuple[str, ...]:
        return tuple(file_sha256(file) for file in self.files)

    def rows(self, skip: Skip = None) -> Rows:
        """`(place, raw row)` of all files, in order. Raises what the readers raise."""
        return _read(self.files, self.name, skip)

    def recognise(self, rows: Sequence[Raw], source: Source, kind: Kind) -> Recognised:
        """The format and columns of rows of these files, as the source or its card says, or by what they look like.
        Of pairs of which a side is wanted, they are those of pairs.

        Raises:
            DataError: E112, E120 to E122, E127, E128, E135.
        """
        card, kind = self.card, _kind_read(source, kind)
        recognised = recognise_rows(
            rows,
            format=_row_format(card, kind) if card else source.format,
            columns=card.columns if card else source.columns,
            ignore=[*source.ignore, *(card.ignore if card else ())],
            label=source.label,
            kind=kind,
            place=self.name,
        )
        check_usable(recognised, source.label, self.name)
        return recognised


def is_at_hand(source: Source, recipe_dir: Path) -> bool:
    """Whether the rows of a source are here, and need neither be downloaded nor generated first.

    Raises:
        DataError: those of data cards.
    """
    if source.card is None:
        return source.hub is None
    card = find_card(source.card, recipe_dir)
    if card.source.kind == "world":
        return _world_path(card, source.split).is_file()
    return card.source.kind != "hub"


def find_files(source: Source, recipe_dir: Path, *, kind: Kind) -> FoundFiles:
    """Find, generate or download the files of a source.

    Raises:
        DataError: E111 to E115, and those of data cards.
        RecipeError: a run that is missing or unfinished (E038), or does not leave such rows (E039).
    """
    if source.path is not None:
        return FoundFiles(source.path, (Path(source.path),))
    if source.run is not None:
        name = _rows_of_run(_kind_read(source, kind), source.run, source.split)
        return FoundFiles(f"{source.run}/{name}", (take(source.run, name),))
    if source.hub is not None:
        files, revision = _hub_files(source.hub, source.revision, source.split)
        return FoundFiles(source.hub, tuple(files), revision=revision)
    assert source.card is not None
    card = find_card(source.card, recipe_dir)
    if card.source.kind != "hub":
        return FoundFiles(card.name, tuple(card_files(card, source.split)), card)
    assert card.source.id is not None
    files, revision = _hub_files(card.source.id, card.source.revision, source.split)
    return FoundFiles(card.name, tuple(files), card, revision)


def holds_out_nothing(source: Source, kind: Kind) -> bool:
    """Whether this is what a run held out for evaluation, and it held out nothing: of few comparisons, none may be.

    Raises:
        RecipeError: see `find_files`.
    """
    if source.run is None or source.split != "test" or _kind_read(source, kind) != "preferences":
        return False
    return take(source.run, PREFERENCES_TEST).stat().st_size == 0


def open_source(
    source: Source,
    recipe_dir: Path,
    *,
    kind: Kind,
    on_bad_row: Literal["error", "drop"] = "error",
    called: str | None = None,
) -> OpenSource:
    """Find, generate or download the files of a source and recognise their format.

    Args:
        kind: what the stage reads.
        on_bad_row: `drop` goes on after lines that are not rows.
        called: what messages call the source, if not by its own name.

    Raises:
        DataError: E100 to E135, and those of data cards.
        RecipeError: see `find_files`.
    """
    files = find_files(source, recipe_dir, kind=kind)
    if called is not None:
        files = replace(files, name=called)
    name, card = files.name, files.card
    skip: Skip = _pass_over if on_bad_row == "drop" else None
    rows = islice(files.rows(skip), source.max_rows)
    missing = next((file for file in files.files if not file.is_file()), None)
    if missing is not None:
        # Says what is missing, and what has a similar name.
        next(rows)
    sha256 = files.sha256
    suffixes = [file.suffixes for file in files.files]
    found = stored_survey(rows, sha256, source.max_rows, on_bad_row, suffixes)
    return OpenSource(
        name=name,
        files=files.files,
        sha256=sha256,
        recognised=files.recognise(found.rows, source, kind),
        survey=found,
        is_safety=_is_safety(source, card) if kind == "prompts" else None,
        label=source.label,
        side=source.side if isinstance(source, ConversationSource) else None,
        condition=source.condition if isinstance(source, ConversationSource) else None,
        max_rows=source.max_rows,
        card=card.name if card else None,
        licence=card.license.id if card else None,
        revision=files.revision,
        run=source.run,
    )


def _kind_read(source: Source, kind: Kind) -> Kind:
    """What the rows of a source are, before they become what the stage reads."""
    return "preferences" if isinstance(source, ConversationSource) and source.side is not None else kind


def _rows_of_run(kind: Kind, run: str, split: str) -> str:
    """The file of a run that holds rows of a kind."""
    if kind == "preferences" and split == "test":
        return PREFERENCES_TEST
    if split != "train":
        raise DataError(
            "E115",
            f"runs have no split `{split}`",
            place=run,
            hint="leave `split` out; `split: test` is what a run of stage preferences holds out",
        )
    if kind == "preferences":
        return PREFERENCES
    if kind in ("conversations", "prompts", "ptx"):
        return CONVERSATIONS
    what = "documents" if kind == "documents" else "replies with a score"
    raise DataError(
        "E115",
        f"this stage reads {what}, which no run makes",
        place=run,
        hint="name a file by `path`, or a data card",
    )


def _is_safety(source: Source, card: DataCard | None) -> bool:
    """Whether prompts are tagged as safety: the recipe's word, or the card's category."""
    if isinstance(source, PromptSource) and source.safety is not None:
        return source.safety
    return card is not None and card.category == "safety"


def _pass_over(error: DataError) -> None:
    """Lines that are not rows are counted when the source is encoded."""


def _read(files: Sequence[Path], name: str, skip: Skip) -> Rows:
    """Rows of all files; places are called as the user calls the data, and by file where there are
    several."""
    readers = (_read_file(file, name if len(files) == 1 else f"{name}/{file.name}", skip) for file in files)
    return chain.from_iterable(readers)


def _read_file(file: Path, name: str, skip: Skip) -> Rows:
    return arrow_rows(file, name) if file.suffix == ".arrow" else read_rows(file, name, skip)


def _row_format(card: DataCard, kind: Kind) -> RowFormat:
    known = [format.name for format in formats_of(kind)]
    if card.format in known:
        return card.format
    raise DataError(
        "E112",
        f"card `{card.name}` has the format `{card.format}`, which this stage does not train on",
        place=card.name,
        hint=f"formats of this stage: {', '.join(known)}",
    )


# ---- cards ------------------------------------------------------------------------------------------------


def card_files(card: DataCard, split: str) -> list[Path]:
    """The files of a card's split, each verified against the card's hash."""
    if card.source.kind == "world":
        return [_world_file(card, split)]
    files = split_files(card, split)
    for entry, file in zip(card.splits[split].files, files, strict=True):
        verify_file(card, entry, file)
    return files


def _world_path(card: DataCard, split: str) -> Path:
    expected = card.splits[split].sha256 if split in card.splits else None
    return cache_folder() / "world" / f"{card.source.set}-{split}-{(expected or 'new')[:16]}.jsonl"


def _world_file(card: DataCard, split: str) -> Path:
    """A set of the miniature world, generated into the cache folder on first use."""
    assert card.source.set is not None
    expected = card_split(card, split)
    path = _world_path(card, split)
    if path.is_file():
        try:
            verify_file(card, expected, path)
            return path
        except DataError:
            path.unlink(missing_ok=True)  # cut off or changed: the cache is ours to mend
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        handle, temporary = tempfile.mkstemp(prefix=f"{temporary_beside(path).name}-", dir=path.parent)
        os.close(handle)
        _generate(card, split, expected.sha256, Path(temporary), path)
    return path


def _generate(card: DataCard, split: str, expected: str | None, temporary: Path, path: Path) -> None:
    """Raises DataError (E113) for something else than the card describes."""
    from llamatune.world import sets

    assert card.source.set is not None
    try:
        sets.write(card.source.set, split, temporary)
        if file_sha256(temporary) != expected:
            raise DataError(
                "E113",
                f"the generated set `{card.source.set}` ({split}) is not what card `{card.name}` describes",
                why="The card and the generator belong to different versions of llamatune",
                hint=f"use the card of this version, or `llamatune data card {card.name} --update`",
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# ---- the hub ----------------------------------------------------------------------------------------------


def _hub_files(hub_id: str, revision: str | None, split: str) -> tuple[list[Path], str | None]:
    """Arrow files of a hub data set in the local cache, and the commit they came from.

    `hub_id` is `org/name`, or `org/name/config` for a data set with several configurations.
    """
    import datasets

    parts = hub_id.split("/")
    repository, config = ("/".join(parts[:2]), parts[2]) if len(parts) == 3 else (hub_id, None)
    online = _hub_answers(repository, revision)
    offline_before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = not online  # spares the retries of a network that is not there
    try:
        loaded = datasets.load_dataset(repository, config, split=split, revision=revision)
    # The library raises a dozen kinds, from the network, the repository and the parser.
    except Exception as error:
        raise _unavailable(repository, split, revision, online, error) from None
    finally:
        datasets.config.HF_HUB_OFFLINE = offline_before
    files = [Path(entry["filename"]) for entry in loaded.cache_files]
    found = files[0].parent.name if files else None
    if revision is not None and found != revision:
        reason = ValueError(f"the local cache holds commit {found}")
        raise _unavailable(repository, split, revision, online, reason)
    return files, found


def _hub_answers(repository: str, revision: str | None) -> bool:
    """Whether the hub can be asked at all, found out within two seconds; a refusal is an answer, too."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(repository, revision=revision, timeout=1.5)
    except (HfHubHTTPError, ValueError):  # ValueError: not a repository's name
        return True
    except Exception:  # offline mode, or any error of whichever HTTP library the hub's client uses
        return False
    return True


def _unavailable(
    repository: str, split: str, revision: str | None, online: bool, error: Exception
) -> DataError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    commit = f" at commit {revision}" if revision else ""
    if online:
        what, hint = (
            f"cannot load split `{split}`{commit}: {reason}",
            "check the name, the split and your access",
        )
    else:
        what = f"split `{split}`{commit} is not in the local cache, and the hub cannot be reached ({reason})"
        hint = "connect once to download it, or name a local file by `path`"
    return DataError("E111", what, place=repository, hint=hint)
