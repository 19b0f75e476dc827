"""Cards for others: the hub's metadata, and Croissant."""

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli.application import app
from llamatune.data.read.cards import draft_card
from llamatune.hub.data_card import croissant, hub_metadata
from llamatune.recipe.cards import find_card, read_card
from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.parsing.yaml import parse
from support import ROOT

CARDS = sorted((ROOT / "data_cards").glob("*.md"))


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.stem)
def test_every_card_can_be_told_to_the_hub(file: Path) -> None:
    card, _ = read_card(file)
    found = hub_metadata(card)
    assert found["license"] == card.license.id and found["pretty_name"] == card.name
    assert "path" not in json.dumps(found) and found["task_categories"]


def test_of_a_file_of_yours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"prompt": "1 + 1?", "completion": "2"}\n' * 3)
    draft_card(Path("rows.jsonl"), Path("data_cards"), name="sums")
    text = Path("data_cards/sums.md").read_text()
    Path("data_cards/sums.md").write_text(text.replace("  id: #", "  id: cc-by-4.0 #"))
    document = croissant(find_card("sums", Path()))
    (file,) = document["distribution"]
    assert file["sha256"] == file_sha256(Path("rows.jsonl")) and file["contentUrl"] == "rows.jsonl"
    assert file["contentSize"] == f"{Path('rows.jsonl').stat().st_size} B"
    assert [field["name"] for field in document["recordSet"][0]["field"]] == ["prompt", "completion"]
    assert document["license"] == "https://spdx.org/licenses/CC-BY-4.0"
    printed = CliRunner().invoke(app, ["data", "card", "sums", "--export", "croissant"])
    assert json.loads(printed.stdout) == document
    front = CliRunner().invoke(app, ["data", "card", "sums", "--export", "hub"]).stdout
    assert parse(front.strip().strip("-"), "front").data["size_categories"] == ["n<1K"]


@pytest.mark.skipif(importlib.util.find_spec("mlcroissant") is None, reason="mlcroissant is not installed")
@pytest.mark.parametrize("name", ["pico-pretrain", "pico-preferences-safety"])
def test_croissants_own_library_reads_it(name: str, tmp_path: Path) -> None:
    import mlcroissant

    file = tmp_path / "croissant.json"
    file.write_text(json.dumps(croissant(find_card(name, ROOT / "recipes/pico"))))
    assert mlcroissant.Dataset(jsonld=file).metadata.name == name
