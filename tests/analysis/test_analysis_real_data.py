"""`analyse` on real texts, against counts that other, slower rules make of the same files."""

import json
import re
from pathlib import Path

import pytest

from llamatune.analysis.analysed import Wanted, analyse
from support import ROOT

SHARED = ROOT.parent / "shared/data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="real data is not here (../shared/data)")

SHE = r"(?i)(?<![^\W\d_])(she|her|hers|herself)(?![^\W\d_])"
HE = r"(?i)(?<![^\W\d_])(he|him|his|himself)(?![^\W\d_])"
THEY = r"(?i)(?<![^\W\d_])(they|them|their|theirs|theirself|themself|themselves)(?![^\W\d_])"


def share(pattern: str, texts: list[str]) -> float:
    return sum(bool(re.search(pattern, text)) for text in texts) / len(texts)


def test_web_pages(tmp_path: Path) -> None:
    file = SHARED / "c4_demo.jsonl"
    texts = [json.loads(line)["text"] for line in file.read_text("utf-8").splitlines()]
    found = analyse(str(file), Wanted(without=["languages"]), output=tmp_path, say=lambda line: None)
    assert found["rows"]["looked_at"] == len(texts) == 300
    assert found["lengths"]["characters"]["total"] == sum(map(len, texts))
    assert found["lengths"]["words"]["total"] == sum(len(re.findall(r"[^\W\d_]+", text)) for text in texts)
    pronouns = found["pronouns"]
    gendered = share(f"{SHE}|{HE[4:]}|{THEY[4:]}", texts)
    assert pronouns["gendered"] == pytest.approx(gendered)
    for name, pattern in (("she", SHE), ("he", HE), ("unspecified", THEY)):
        assert pronouns[name] == pytest.approx(share(pattern, texts) / gendered), name
    religion = share(
        r"(?i)(?<![^\W\d_])(christian|catholic|protestant|evangelical|mormon|muslim|islamic|jewish|hindu|buddhist|sikh|"
        r"jain|taoist|shinto|pagan|atheist|agnostic|secular|religious|spiritual)(?![^\W\d_])",
        texts,
    )
    assert found["identity"]["religion"]["share"] == pytest.approx(religion)
    assert found["duplicates"]["exact"]["copies"] == len(texts) - len(set(texts))
    addresses = sum(bool(re.search(r"\w@[\w-]+\.\w", text)) for text in texts)
    assert found["personal_data"]["e-mail address"]["documents"] == addresses
    # most of C4 is English by its own filter
    languages = analyse(
        str(file), Wanted(without=["near-duplicates"]), output=tmp_path, say=lambda line: None
    )["languages"]
    assert languages["en"] > 0.97


def test_harmless_pairs(tmp_path: Path) -> None:
    file = SHARED / "hh_harmless_pairs.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    found = analyse(str(file), Wanted(without=["languages"]), output=tmp_path, say=lambda line: None)

    def last(text: str) -> str:
        return text.rpartition("\n\nAssistant:")[2].strip()

    used = [row for row in rows if last(row["chosen"]) and last(row["rejected"])]
    assert found["rows"]["looked_at"] == len(used) == 1490

    words = [
        [len(re.findall(r"[^\W\d_]+", last(row[side]))) for side in ("chosen", "rejected")] for row in used
    ]
    longer = [chosen > rejected for chosen, rejected in words if chosen != rejected]
    assert found["pairs"]["longer_is_right"] == pytest.approx(sum(longer) / len(longer), abs=0.01)
    assert found["pairs"]["words_of_chosen_replies"]["total"] == pytest.approx(
        sum(one for one, _ in words), rel=0.01
    )
    assert found["pairs"]["judged_again"] == 0 and found["pairs"]["ratings"] == {"unrated": 1490}
    # nearly the same exchange, by the first words of both
    for one, other in found["duplicates"]["near"]["first"]:
        first, second = (rows[int(place.rpartition(":")[2]) - 1] for place in (one, other))
        shared = set(first["chosen"].split()) & set(second["chosen"].split())
        assert len(shared) > 0.7 * min(len(set(row["chosen"].split())) for row in (first, second))
