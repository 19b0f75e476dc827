"""A sequence classifier of the user's: its word is that of plain transformers on one text at a time, and which of its
labels is meant is never guessed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llamatune.errors import ModelError
from llamatune.judging.evaluation.classifier import TextClassifier
from support import small_classifier

TEXTS = [
    "The cup is in the red box.",
    "No.",
    "Anna lives in a small town, and she has a long way to go. " * 3,
    "How do I bake bread?",
    *(f"The key number {number} is lost." for number in range(40)),
]


def by_hand(folder: Path, text: str) -> list[float]:
    """Each label's chance, of one text without padding."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=64)).logits[0]
    return (logits.sigmoid() if len(logits) == 1 else logits.softmax(0)).tolist()


@pytest.mark.parametrize(("kind", "outputs"), [("llama", 2), ("llama", 1), ("roberta", 2), ("roberta", 3)])
def test_a_batch_is_classified_as_each_text_alone(tmp_path: Path, kind: str, outputs: int) -> None:
    small_classifier(tmp_path, kind=kind, names=("toxic", "fine", "unclear")[:outputs])
    found = TextClassifier(tmp_path).chances(TEXTS)
    assert found == pytest.approx([by_hand(tmp_path, text)[0] for text in TEXTS], abs=1e-5)
    assert max(found) - min(found) > 0.005, "a classifier that says the same of everything would show nothing"


def test_the_end_of_a_text_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    small_classifier(tmp_path, kind="roberta", names=("fine", "toxic"))
    long = "The lake is deep. " * 200
    assert TextClassifier(tmp_path).chances([long]) == pytest.approx([by_hand(tmp_path, long)[1]], abs=1e-5)


def test_which_label_is_meant(tmp_path: Path) -> None:
    small_classifier(tmp_path, names=("fine", "toxic"))
    assert (TextClassifier(tmp_path).at, TextClassifier(tmp_path, "Fine").at) == (1, 0)
    with pytest.raises(ModelError, match=r"E242.*no label `rude`[\s\S]*fine, toxic"):
        TextClassifier(tmp_path, "rude")


def test_labels_without_names_have_to_be_named(tmp_path: Path) -> None:
    """Those of ToxiGen's classifiers: transformers leaves LABEL_0 and LABEL_1 out of config.json."""
    small_classifier(tmp_path, kind="roberta")
    assert "id2label" not in json.loads((tmp_path / "config.json").read_text())
    with pytest.raises(ModelError, match=r"E242.*not known which label[\s\S]*label_0, label_1"):
        TextClassifier(tmp_path)
    assert TextClassifier(tmp_path, "LABEL_1").at == 1


def _is_a_base(folder: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig.from_pretrained(folder)
    RobertaModel(config).save_pretrained(folder)


def _has_no_head(folder: Path) -> None:
    """The config of a classifier beside the weights of its base."""
    config = (folder / "config.json").read_text()
    _is_a_base(folder)
    (folder / "config.json").write_text(config)


def _is_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _has_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "theirs.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "theirs"}))
    (folder / "theirs.py").write_text("raise SystemExit('ran')")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "E242.*no config.json"),
        (_is_a_base, "E242.*names no architecture"),
        (_has_no_head, r"E242.*in no file, `classifier\.dense\.bias`[\s\S]*at random"),
        (_is_pickled, "E204.*pickled"),
        (_has_code, "E242.*cannot be loaded"),
    ],
)
def test_what_is_no_classifier_is_refused(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = tmp_path / "classifier"
    small_classifier(folder, kind="roberta", names=("fine", "toxic"))
    spoil(folder)
    with pytest.raises(ModelError, match=says):
        TextClassifier(folder).chances(["Good."])
