"""Data cards: `data_cards/NAME.md`, whose front matter defines a data set and whose body describes it.

A recipe names a card; the card says where the data comes from, what its rows look like, under which
licence, and which bytes they are. Cards are looked for in `./data_cards`, then beside and above the recipe,
then among the cards that come with llamatune. Relative file paths in a card start at the working directory,
as they do in recipes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from llamatune.errors import DataError, Problem, RecipeError
from llamatune.outside import is_file
from llamatune.recipe.blocks import Block, Columns, Real, RowFormat, Text, Whole
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.parsing.problems import problems_of
from llamatune.recipe.parsing.secrets import refuse_secrets
from llamatune.recipe.parsing.yaml import parse, read_text, to_yaml
from llamatune.recipe.paths import outside_problem
from llamatune.recipe.shipped import shipped
from llamatune.wording import counted

_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
_SHA256 = r"^[0-9a-f]{64}$"
_FENCE = re.compile(r"---[ ]*\r?\n(.*?)^---[ ]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


class License(Block):
    """Terms of use."""

    id: Text
    """SPDX identifier in lower case, as the hub writes it (cc-by-4.0), or `other` with `name` and `link`."""
    name: Text | None = None
    link: Text | None = None


class CardSource(Block):
    """Where the data comes from."""

    kind: Literal["world", "file", "hub", "user"]
    """`world`: llamatune generates it; `file`: shipped; `hub`: on the hub; `user`: bring your own copy."""
    set: Text | None = None
    """Generated set of llamatune's miniature world (kind `world`)."""
    id: Text | None = None
    """Hub id (kind `hub`)."""
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """Commit of the hub data set, 40 hexadecimal digits."""
    url: Text | None = None
    """Page where a person finds the data."""
    derived_from: list[Text] = []
    """Data sets that this one was made from."""

    @model_validator(mode="after")
    def _complete(self) -> CardSource:
        needed = {"world": ("set",), "hub": ("id", "revision")}.get(self.kind, ())
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"kind `{self.kind}` needs {' and '.join(f'`{name}`' for name in missing)}")
        return self


class CardFile(Block):
    """One file, and which bytes it is. Hash and counts are absent until `--update` has seen a user's file."""

    path: Text
    sha256: str | None = Field(None, pattern=_SHA256)
    bytes: Whole | None = Field(None, ge=0)
    rows: Whole | None = Field(None, ge=0)


class Split(Block):
    """One split: its files, or the hash and counts of the one file that is generated or downloaded."""

    files: list[CardFile] = []
    sha256: str | None = Field(None, pattern=_SHA256)
    bytes: Whole | None = Field(None, ge=0)
    rows: Whole | None = Field(None, ge=0)


class Privacy(Block):
    """Personal data in the rows."""

    pii: Literal["none", "present", "removed", "unknown"]
    """Personally identifying information."""
    note: str | None = None


class Uses(Block):
    """What the data is for."""

    intended: list[Text] = Field(min_length=1)
    out_of_scope: list[Text] = []


class Analysis(Block):
    """What `llamatune analyse NAME --update` found in a split; shares are of its rows where nothing else is said."""

    sha256: list[Annotated[str, Field(pattern=_SHA256)]]
    """The bytes that the figures are about."""
    llamatune: Text
    """The version that looked."""
    rows: Whole = Field(ge=0)
    words: Whole = Field(ge=0)
    median_words: Whole = Field(ge=0)
    tokens: Whole | None = Field(None, ge=0)
    tokenizer: Text | None = None
    """The model whose tokenizer counted the tokens."""
    languages: dict[str, Real] = {}
    pronouns: dict[str, Real] = {}
    """Of the English rows: with gendered pronouns, and of these, with each group; the same of persons."""
    identity: dict[str, Real] = {}
    """Of the English rows: with a term of each axis."""
    toxic: Real | None = None
    """Of a sample: with a toxicity of at least 0.5."""
    exact_copies: Whole = Field(0, ge=0)
    near_copies: Whole | None = Field(None, ge=0)
    personal_data: dict[str, Whole] = {}
    """Rows with something that has the form of personal data."""
    longer_is_right: Real | None = None
    """Of the pairs whose replies differ in length: where the longer one is chosen."""
    agreement: Real | None = None
    """Of two judgements of the same pair: how often they agree."""


class DataCard(Block):
    """The front matter of a data card. Closed; keys that begin with `x_` are the author's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    card_version: Literal[1]
    name: str = Field(pattern=_NAME)
    """Equal to the file's name without `.md`."""
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    """major.minor.patch; the same data keeps major and minor."""
    description: Text
    license: License
    source: CardSource
    format: RowFormat
    """What a row looks like."""
    columns: Columns | None = None
    """Column names, where they are not the format's usual ones."""
    ignore: list[Text] = []
    """Columns to leave out, although they look like part of the prompt."""
    category: Literal["helpfulness", "safety", "mixed"]
    splits: dict[str, Split] = Field(min_length=1)
    languages: list[Text] = Field(min_length=1)
    """BCP 47 codes, such as en."""
    privacy: Privacy
    uses: Uses
    limits: list[Text]
    """What a user of the data should know."""
    analysis: dict[str, Analysis] = {}
    """What the splits hold, as `llamatune analyse NAME --update` found it."""

    @model_validator(mode="after")
    def _closed(self) -> DataCard:
        for key in self.model_extra or {}:
            if not key.startswith("x_"):
                raise PydanticCustomError("unknown_key", "unknown key", {"key": key})
        return self

    @model_validator(mode="after")
    def _hashed(self) -> DataCard:
        for name, split in self.splits.items():
            if self.source.kind in ("file", "user") and not split.files:
                raise ValueError(f"split `{name}` names no `files`")
            hashed: dict[str, list[CardFile] | list[Split]] = {"file": split.files, "world": [split]}
            if any(entry.sha256 is None or entry.rows is None for entry in hashed.get(self.source.kind, [])):
                update = f"run `llamatune data card {self.name} --update`"
                raise ValueError(f"split `{name}` has no sha256 or rows: {update}")
        return self


def read_card(path: Path) -> tuple[DataCard, str]:
    """A card and its Markdown body. Raises DataError with everything that is wrong with the card."""
    try:
        text = read_text(path)
        front = _FENCE.match(text)
        if front is None:
            what = "not a data card: a card begins with front matter between two lines `---`"
            hint = f"`llamatune data card {path.stem} --from FILE` makes a card"
            raise DataError("E151", what, place=str(path), hint=hint)
        refuse_secrets(text, str(path))
        document = parse("\n" + front.group(1), str(path))  # the fence's line keeps line numbers right
    except RecipeError as error:
        raise DataError.of(error.problems) from None

    def place(key_path: tuple[str | int, ...], of_key: bool) -> str:
        return document.place(key_path, of_key=of_key)

    try:
        card = DataCard.model_validate(document.data)
    except ValidationError as error:
        problems = problems_of(error, DataCard, document.data, place)
        raise DataError.of([_of_card(problem, path.stem) for problem in problems]) from None
    if card.name != path.stem:
        what = f"the card's name is `{card.name}`, but its file is `{path.name}`"
        raise DataError("E151", what, place=place(("name",), False), hint="make the two equal")
    return card, text[front.end() :]


def write_card(card: DataCard, body: str, path: Path) -> None:
    """Write front matter and body; `read_card` gives both back. Unset fields are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\n{to_yaml(card.model_dump(exclude_none=True))}---\n{body}", encoding="utf-8")


def find_card(name: str, start: Path) -> DataCard:
    """The card of that name, as seen from `start` (a recipe file or its folder). Raises DataError (E150)."""
    return read_card(find_card_file(name, start))[0]


def find_card_file(name: str, start: Path) -> Path:
    """Where the card of that name is. Raises DataError (E150) with similar names."""
    folders = _card_folders(start)
    if re.match(_NAME, name):
        for folder in folders:
            if (folder / f"{name}.md").is_file():
                return folder / f"{name}.md"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.md")})
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"`llamatune data card {name} --from FILE` makes one"
    if near:
        hint = "did you mean " + " or ".join(f"`{one}`" for one in near) + f"? {hint}"
    searched = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise DataError("E150", f"there is no data card `{name}`", why=f"Looked in {searched}", hint=hint)


def _card_folders(start: Path) -> list[Path]:
    """`./data_cards`, those beside the recipe and up to two folders above it, and the shipped ones."""
    here = start.resolve() if start.is_dir() else start.resolve().parent
    above = [folder / "data_cards" for folder in (here, *list(here.parents)[:2])]
    return list(dict.fromkeys([Path.cwd() / "data_cards", *above, shipped("data_cards")]))


def split_files(card: DataCard, split: str) -> list[Path]:
    """The local files of a split of kind `file` or `user`, all of them present and hashed in the card.

    Raises DataError: unknown split (E155); a file that is not there or was never hashed (E156), with the
    steps that mend it; a path that leaves the working directory (E032).
    """
    files = card_split(card, split).files
    problems = [problem for entry in files if (problem := _file_problem(card, entry))]
    if problems:
        raise DataError.of(problems)
    return [Path(entry.path) for entry in files]


def card_split(card: DataCard, split: str) -> Split:
    """A split of the card. Raises DataError (E155) where it has none of that name."""
    if split not in card.splits:
        hint = f"its splits: {', '.join(card.splits)}"
        raise DataError("E155", f"card `{card.name}` has no split `{split}`", hint=hint)
    return card.splits[split]


def _file_problem(card: DataCard, entry: CardFile) -> Problem | None:
    if problem := outside_problem(entry.path):
        return problem
    if not is_file(Path(entry.path)):
        return missing_file(card.name, card.source.kind, card.source.url, entry.path)
    if entry.sha256 is None:
        what = f"card `{card.name}` does not say yet which bytes `{entry.path}` holds"
        hint = f"run `llamatune data card {card.name} --update`: it records the file's hash and rows"
        return Problem("E156", what, hint=hint)
    return None


def missing_file(card: object, kind: object, url: object, path: str) -> Problem:
    """That a card's file is not there, and where it is to be had; of a card's parts as they were read, or as they are
    written."""
    what, place = f"data set `{card}` is not there: no file `{path}`", str(Path(path).absolute())
    if kind != "user":
        return Problem("E156", what, place, hint="restore the file")
    why = "It cannot be shipped with llamatune: bring your own copy"
    where = f" from {url}" if url else ""
    hint = f"get it{where}, put it there, then run `llamatune data card {card} --update`"
    return Problem("E156", what, place, why, hint)


def verify_file(
    card: DataCard, expected: CardFile | Split, path: Path, rows: int | None = None, *, fresh: bool = False
) -> None:
    """Check that a file is the one its card describes: its hash, and its rows when the caller counted them.

    Args:
        expected: what the card says of this file: an entry of a split, or a split that is one file.
        fresh: read the file, whatever is remembered of its hash (see `hashing`).

    Raises DataError: hash differs (E153, with both), rows differ (E154).
    """
    update = f"if the change is meant: llamatune data card {card.name} --update"
    if expected.sha256 is not None and (found := file_sha256(path, fresh=fresh)) != expected.sha256:
        what = f"this is not the data of card `{card.name}`: sha256 {found}, the card says {expected.sha256}"
        why = "The file was changed, or it is another file"
        raise DataError("E153", what, place=str(path), why=why, hint=update)
    if rows is not None and expected.rows is not None and rows != expected.rows:
        what = f"the file has {counted(rows, 'row')}, card `{card.name}` says {expected.rows}"
        raise DataError("E154", what, place=str(path), hint=update)


def _of_card(problem: Problem, name: str) -> Problem:
    """A card without a licence is refused in its own words, and one without another key with what writes it."""
    if not problem.what.startswith(("`license`", "`license.id`")):
        if problem.code != "E024":
            return problem
        return replace(
            problem, hint=f"add it; a card that `llamatune data card {name} --from FILE` makes has all keys"
        )
    return Problem(
        "E152",
        "the card names no licence",
        problem.place,
        why="Nobody may use, and nobody can push, a model whose data has unknown terms",
        hint="add `license: {id: cc-by-4.0}` (SPDX identifier), or `{id: other, name: ..., link: ...}`",
    )


def are_of_the_world(cards: Sequence[str | None], beside: Path) -> bool:
    """Whether these are cards of sets of the miniature world, at least one and all of them."""
    return bool(cards) and all(card and find_card(card, beside).source.kind == "world" for card in cards)
