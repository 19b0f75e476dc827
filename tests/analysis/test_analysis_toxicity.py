"""Toxicity by a classifier of the user's: by line, averaged, on a sample."""

import json
from pathlib import Path

import pytest

from llamatune.analysis.analysed import Wanted, analyse
from llamatune.analysis.toxicity import DocumentToxicity
from support import small_classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier") / "toxic-words"
    small_classifier(folder, names=("fine", "toxic"))
    return folder


def by_hand(folder: Path, text: str) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoModelForSequenceClassification.from_pretrained(str(folder), dtype=torch.float32).eval()
    with torch.inference_mode():
        chances = [
            model(**tokenizer(line, return_tensors="pt")).logits.softmax(1)[0, 1].item()
            for line in text.split("\n")
            if line.strip()
        ]
    return sum(chances) / len(chances)


def test_the_mean_over_lines(classifier: Path) -> None:
    text = "The cup is in the red box.\n\nAnna lives in a small town, and she has a long way to go.\n"
    found = DocumentToxicity(classifier)
    assert found.scores(text) == pytest.approx(by_hand(classifier, text), abs=1e-5)
    assert found.scores(" \n\n") is None


def test_in_the_figures(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [f"The cup number {number} is in the red box." for number in range(60)]
    Path("rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    wanted = Wanted(toxicity=classifier, toxicity_share=1.0)
    found = analyse("rows.jsonl", wanted, output=Path("all"), say=lambda line: None)["toxicity"]
    scores = [by_hand(classifier, text) for text in texts[:10]]
    assert found["documents"] == 60 and sum(found["histogram"]) == 60
    assert all(found["histogram"][int(score * 20)] for score in scores)
    assert found["toxic"] == sum(found["histogram"][10:]) / 60
    sample = Wanted(toxicity=classifier, toxicity_share=0.25)
    part = analyse("rows.jsonl", sample, output=Path("part"), say=lambda line: None)
    assert 5 <= part["toxicity"]["documents"] <= 26 and part["means"]["toxicity"] == "toxic-words"
