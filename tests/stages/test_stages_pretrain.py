"""Pre-training: documents share a sequence without seeing each other; text becomes a model."""

import json
from pathlib import Path

import torch

from llamatune.data.rows import IGNORED
from llamatune.forward.collate import Padded
from llamatune.models.open import open_model
from llamatune.pipeline import run
from llamatune.recipe.load import loads
from support import ROOT

DOCUMENTS = [[1, 100, 101, 102, 2], [1, 200, 201, 2], [1, 300, 301, 302, 303, 2]]


def packed(documents: list[list[int]]) -> dict:
    labels = [[IGNORED, *document[1:]] for document in documents]
    return {
        "input_ids": sum(documents, []),
        "labels": sum(labels, []),
        "seq_lengths": [len(document) for document in documents],
    }


def test_packed_documents_do_not_influence_each_other() -> None:
    """Exactly: other tokens in one document leave the logits of the others as they are, bit by bit."""
    model = open_model("pico").model
    changed = [[1, 900, 901, 902, 2], *DOCUMENTS[1:]]
    collate = Padded(pad_id=0)
    short = packed([[1, 5, 2]])  # a shorter second row, so that the batch is padded too
    with torch.no_grad():
        outputs = []
        for documents in (DOCUMENTS, changed):
            batch = collate([packed(documents), short])
            assert "attention_mask" not in batch
            outputs.append(
                model(
                    input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
                ).logits
            )
        first, second = outputs
        assert torch.equal(first[0, 5:], second[0, 5:]) and torch.equal(first[1], second[1])
        assert not torch.equal(first[0, 1:5], second[0, 1:5])
        start = 0
        for document in DOCUMENTS:
            alone = model(input_ids=torch.tensor([document]), use_cache=False).logits[0]
            torch.testing.assert_close(first[0, start : start + len(document)], alone, atol=1e-4, rtol=1e-4)
            start += len(document)


def test_nothing_is_predicted_across_a_boundary() -> None:
    batch = Padded(pad_id=0)([packed(DOCUMENTS), packed([[1, 5, 2]])])
    starts = batch["position_ids"] == 0
    assert (batch["labels"][starts] == IGNORED).all()
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert batch["position_ids"][1].tolist() == [0, 1, 2, *range(12)]


def test_packing_and_separate_rows_give_the_same_loss() -> None:
    model = open_model("pico").model
    collate = Padded(pad_id=0)
    rows = [{"input_ids": document, "labels": [IGNORED, *document[1:]]} for document in DOCUMENTS]
    with torch.no_grad():
        together = model(**collate([packed(DOCUMENTS)]), use_cache=False).loss
        apart = model(**collate(rows), use_cache=False).loss
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_a_text_file_becomes_a_model(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text(
        "\n".join(f"The {word} is in the red box." for word in ("cup", "hat", "key", "map") * 20 + ("pen",))
    )
    recipe = {
        "stage": "pretrain",
        "output": str(tmp_path / "run"),
        "model": {"base": "pico", "init": "random"},
        "data": {"train": [{"path": str(text)}], "max_length": 32, "deduplicate": False},
        "optimization": {"max_steps": 12, "batch_size": 4, "learning_rate": 3e-3, "warmup": 2},
        "generation": {"prompts": ["The cup"], "max_new_tokens": 8},
        "logging": {"every_steps": 4},
    }
    result = run(loads(json.dumps(recipe)), recipe_dir=ROOT)
    assert result.artefact == "model"
    losses = [
        json.loads(line).get("loss") for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    ]
    assert min(loss for loss in losses if loss) < 0.6 * losses[0]
    open_model(str(tmp_path / "run"))
