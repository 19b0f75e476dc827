"""The figures in the data card: with the bytes they are about, and gone when these change; `llamatune analyse`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli.application import app
from llamatune.data.read.cards import check_card, draft_card, update_card
from llamatune.recipe.cards import read_card
from llamatune.recipe.hashing import file_sha256

CARD = Path("data_cards/sample.md")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = ["She sees a female robin over there.", "It rains.", "It rains."]
    Path("rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    draft_card(Path("rows.jsonl"), Path("data_cards"), name="sample")
    CARD.write_text(CARD.read_text().replace("  id: #", "  id: cc0-1.0 #"))


def analysed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["analyse", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_figures_are_written_into_the_card_with_its_hash() -> None:
    output = analysed("sample", "--update", "--base", "pico")
    assert (
        "documents       3 of 3 rows; all usable" in output
        and "report: runs/analysis-sample/report.html" in output
    )
    card, body = read_card(CARD)
    (found,) = card.analysis.values()
    assert list(card.analysis) == ["train"] and found.sha256 == [file_sha256(Path("rows.jsonl"))]
    assert (found.rows, found.words, found.exact_copies, found.tokenizer) == (3, 11, 1, "pico")
    assert found.pronouns["she"] == 1.0 and found.identity == {"gender and sex": 0.3333}
    assert found.toxic is None and found.longer_is_right is None
    assert body.startswith("# sample") and check_card("sample", Path()).licence == "cc0-1.0"


def test_figures_of_other_bytes_go_when_the_card_is_measured_again() -> None:
    analysed("sample", "--update")
    update_card("sample", Path())
    assert read_card(CARD)[0].analysis, "the same bytes"
    with Path("rows.jsonl").open("a") as stream:
        stream.write('{"text": "Another one."}\n')
    update_card("sample", Path())
    assert read_card(CARD)[0].analysis == {}


def test_json_and_refusals() -> None:
    found = json.loads(CliRunner().invoke(app, ["analyse", "sample", "--json"]).stdout)
    assert found["data"]["card"] == "sample" and found["rows"]["looked_at"] == 3
    refused = json.loads(CliRunner().invoke(app, ["analyse", "rows.jsonl", "--update", "--json"]).stdout)
    assert refused["problems"][0]["code"] == "E181"
    unknown = CliRunner().invoke(app, ["analyse", "sample", "--without", "toxicity"])
    assert unknown.exit_code == 2 and "languages, near-duplicates" in unknown.output
