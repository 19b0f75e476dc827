"""Data cards: reading, looking up, verifying, writing."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from llamatune.data.read.sources import card_files
from llamatune.errors import DataError
from llamatune.recipe import hashing
from llamatune.recipe.cards import find_card, read_card, split_files, verify_file, write_card
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.load import load

ROWS = b'{"text": "a"}\n{"text": "b"}\n'
CARD = f"""\
---
card_version: 1
name: sample
version: 1.0.0
description: Two rows of text.
license: {{id: cc0-1.0}}
source: {{kind: file}}
format: text
category: mixed
splits:
  train:
    files:
      - {{path: rows.jsonl, sha256: {hashlib.sha256(ROWS).hexdigest()}, bytes: 28, rows: 2}}
languages: [en]
privacy: {{pii: none}}
uses: {{intended: [tests]}}
limits: []
x_note: {{kept: true}}
---
# Sample

Body.
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    (project / "data_cards").mkdir(parents=True)
    (project / "data_cards/sample.md").write_text(CARD)
    (project / "rows.jsonl").write_bytes(ROWS)
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return project


def refusal(change: tuple[str, str]) -> list[tuple[str, str]]:
    assert change[0] in CARD
    path = Path("data_cards/sample.md")
    path.write_text(CARD.replace(*change))
    with pytest.raises(DataError) as caught:
        read_card(path)
    return [(problem.code, problem.place) for problem in caught.value.problems]


def test_read_and_write_give_the_same_card_and_body() -> None:
    card, body = read_card(Path("data_cards/sample.md"))
    assert card.splits["train"].files[0].rows == 2 and body == "# Sample\n\nBody.\n"
    assert card.model_extra == {"x_note": {"kept": True}}
    write_card(card, body, Path("other/sample.md"))
    assert read_card(Path("other/sample.md")) == (card, body)


def test_row_24_licence_missing() -> None:
    assert refusal(("license: {id: cc0-1.0}\n", "")) == [("E152", "data_cards/sample.md:1:1")]
    assert refusal(("license: {id: cc0-1.0}", "license:")) == [("E152", "data_cards/sample.md:6:9")]
    assert refusal(("{id: cc0-1.0}", "{id: ''}")) == [("E152", "data_cards/sample.md:6:15")]


@pytest.mark.parametrize(
    ("change", "code", "line"),
    [
        (("x_note", "note"), "E021", 18),
        (("category", "categry"), "E024", 1),
        (("name: sample", "name: other"), "E151", 3),
        (("pii: none", "pii: maybe"), "E023", 15),
        (("kind: file", "kind: hub, id: org/name"), "E025", 7),
        (("rows: 2", "rows: -2"), "E023", 13),
        ((", rows: 2", ""), "E025", 1),
        (("version: 1.0.0", "version: '1'"), "E023", 4),
        (("limits: []", "limits: &x []"), "E012", 17),
    ],
)
def test_what_is_wrong_with_a_card_and_where(change: tuple[str, str], code: str, line: int) -> None:
    assert (code, line) in [(code, int(place.split(":")[1])) for code, place in refusal(change)]


def test_not_a_card() -> None:
    Path("data_cards/sample.md").write_text("# Sample\n")
    with pytest.raises(DataError, match="E151.*--- *|E151"):
        find_card("sample", Path.cwd())


def test_lookup_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory's card wins over the one above the recipe."""
    recipe = tmp_path / "elsewhere/recipes/pico/sft.yaml"
    above = tmp_path / "elsewhere/data_cards/sample.md"
    for folder in (recipe.parent, above.parent):
        folder.mkdir(parents=True)
    above.write_text(CARD.replace("Two rows of text", "Above"))
    assert find_card("sample", recipe).description == "Two rows of text."
    Path("data_cards/sample.md").unlink()
    assert find_card("sample", recipe).description == "Above."
    for name in ("../data_cards/sample", "/etc/passwd", "", "Sample"):
        with pytest.raises(DataError, match="E150"):
            find_card(name, recipe)


def test_a_recipe_that_names_a_split_the_card_does_not_have() -> None:
    Path("r.yaml").write_text(
        "stage: pretrain\noutput: o\ndata:\n  train:\n    - {card: sample, split: trian}\n"
    )
    with pytest.raises(
        Exception, match=r"E155\] r.yaml:5:29: card `sample` has no split `trian`\..*\n.*`train`"
    ):
        load("r.yaml")


def test_row_24_another_hash_names_both_and_the_command() -> None:
    card = find_card("sample", Path.cwd())
    [entry] = card.splits["train"].files
    verify_file(card, entry, Path("rows.jsonl"), rows=2)
    Path("rows.jsonl").write_bytes(ROWS + b"{}\n")
    with pytest.raises(DataError) as caught:
        verify_file(card, entry, Path("rows.jsonl"))
    text = str(caught.value)
    assert caught.value.problems[0].code == "E153" and "llamatune data card sample --update" in text
    for raw in (ROWS, ROWS + b"{}\n"):
        assert hashlib.sha256(raw).hexdigest() in text


def test_row_24_other_rows() -> None:
    card = find_card("sample", Path.cwd())
    with pytest.raises(DataError, match="E154.*has 3 rows, card `sample` says 2"):
        verify_file(card, card.splits["train"].files[0], Path("rows.jsonl"), rows=3)


def test_a_split_that_is_not_in_the_card() -> None:
    with pytest.raises(DataError, match="E155(.|\n)*its splits: train"):
        split_files(find_card("sample", Path.cwd()), "test")


def test_bring_your_own_data() -> None:
    text = CARD.replace("kind: file", "kind: user, url: https://example.org/data")
    text = text.replace(f", sha256: {hashlib.sha256(ROWS).hexdigest()}, bytes: 28, rows: 2", "")
    Path("data_cards/sample.md").write_text(text)
    card = find_card("sample", Path.cwd())
    with pytest.raises(DataError, match="E156.*which bytes(.|\n)*run `llamatune data card sample --update`"):
        split_files(card, "train")
    Path("rows.jsonl").unlink()
    with pytest.raises(DataError, match="from https://example.org/data, put it there, then run"):
        split_files(card, "train")


def test_files_of_a_split() -> None:
    card = find_card("sample", Path.cwd())
    assert split_files(card, "train") == [Path("rows.jsonl")]
    outside = card.model_copy(deep=True)
    object.__setattr__(outside.splits["train"].files[0], "path", "../rows.jsonl")
    with pytest.raises(DataError, match="E032"):
        split_files(outside, "train")


def test_hashes_of_unchanged_files_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    file, reads = Path("rows.jsonl"), []
    digest = hashing.sha256
    monkeypatch.setattr(hashing, "sha256", lambda path: reads.append(1) or digest(path))
    file_sha256(file)
    file_sha256(file)
    assert len(reads) == 2, "a file changed just now is not remembered"
    old = time.time() - 60
    os.utime(file, (old, old))
    first = file_sha256(file)
    assert file_sha256(file) == first and len(reads) == 3
    assert file_sha256(file, fresh=True) == first and len(reads) == 4
    file.write_bytes(ROWS[::-1])
    assert file_sha256(file) != first
    assert file_sha256(file) == hashlib.sha256(ROWS[::-1]).hexdigest()


def test_a_damaged_note_of_a_hash_is_not_believed() -> None:
    file = Path("rows.jsonl")
    os.utime(file, (1e9, 1e9))
    digest = file_sha256(file)
    (note,) = (hashing.cache_folder() / "hashes").glob(f"*{_note_of(file)}*")
    whole = note.read_text()
    at = whole.index(digest)
    other = "0" if digest[0] != "0" else "1"
    for damaged in ("", "[broken", "[" * 100_000, "[]", whole[:-9], f"{whole[:at]}{other}{whole[at + 1 :]}"):
        note.write_text(damaged)
        assert file_sha256(file) == digest, damaged[:80]
        assert note.read_text() == whole, "it is written anew"


@pytest.mark.parametrize("other", [os.mkfifo, lambda note: note.symlink_to(Path("precious").absolute())])
def test_what_is_no_file_where_a_hash_is_noted_is_neither_waited_for_nor_followed(other) -> None:
    file, precious = Path("rows.jsonl"), Path("precious")
    precious.write_text("what the user wrote")
    os.utime(file, (1e9, 1e9))
    note = hashing.cache_folder() / "hashes" / f"{_note_of(file)}.json"
    note.parent.mkdir(parents=True)
    other(note)
    assert file_sha256(file) == hashlib.sha256(ROWS).hexdigest()
    assert precious.read_text() == "what the user wrote"


def test_a_card_of_thousands_of_files_is_verified_in_linear_time() -> None:
    """Each file was looked for among all others: two minutes for these."""
    file, number = Path("rows.jsonl"), 2000
    entry = f"{{path: f/0.jsonl, sha256: {hashlib.sha256(ROWS).hexdigest()}, rows: 2}}"
    entries = [entry.replace("0.jsonl", f"{one}.jsonl") for one in range(number)]
    Path("f").mkdir()
    for one in range(number):
        os.link(file, f"f/{one}.jsonl")
    head, _, tail = CARD.partition("      - {path")
    text = head + "".join(f"      - {one}\n" for one in entries) + tail.partition("\n")[2]
    Path("data_cards/sample.md").write_text(text)
    card, began = find_card("sample", Path.cwd()), time.process_time()
    assert len(card_files(card, "train")) == number
    assert time.process_time() - began < 5


def test_a_file_with_the_size_and_time_of_the_old_one_is_read_again() -> None:
    """As a copying tool leaves it that keeps the time of change."""
    file = Path("rows.jsonl")
    os.utime(file, (1e9, 1e9))
    file_sha256(file)
    file.write_bytes(ROWS[::-1])
    os.utime(file, (1e9, 1e9))
    assert file_sha256(file) == hashlib.sha256(ROWS[::-1]).hexdigest()


def _note_of(file: Path) -> str:
    return hashlib.sha256(os.fsencode(file.resolve())).hexdigest()


def test_an_unreadable_file() -> None:
    with pytest.raises(DataError, match="E157"):
        file_sha256(Path("absent"))
