"""Files that other people wrote, through the whole of `init` and `run`: by bare file and by card."""

import json
from pathlib import Path

import pytest

from llamatune.commands.init import write_recipe
from llamatune.data.read.cards import draft_card
from llamatune.pipeline import run
from llamatune.recipe.load import load, loads
from support import ROOT

REAL_DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason="the real data sets (../shared/data) are not here"
)

SHORT = [
    "optimization.max_steps=2",
    "optimization.batch_size=4",
    "optimization.warmup=0",
    "data.train.0.max_rows=80",
]
DROP = ["data.too_long=drop", "data.max_dropped=0.9"]
RUNS = [
    ("alpaca_en_demo.json", "lora", "alpaca"),
    ("alpaca_en_demo.json", "qlora", "llama2"),
    ("alpaca_en_demo.json", "full", "tokenizer"),
    ("sharegpt_dummy_conversation.json", "lora", "vicuna"),
    ("sharegpt_dummy_conversation.json", "full", "tokenizer"),
    ("gsm8k_train_1500.jsonl", "qlora", "stable-beluga"),
    ("gsm8k_train_1500.jsonl", "lora", "tokenizer"),
]


@pytest.mark.parametrize(("file", "method", "template"), RUNS)
def test_init_and_run_on_a_bare_file(tmp_path: Path, file: str, method: str, template: str) -> None:
    recipe = tmp_path / "mine.yaml"
    write_recipe(recipe, stage="sft", base="pico", data=REAL_DATA / file, tuning=method)
    overrides = [f"output={tmp_path / 'run'}", f"chat.template={template}", *SHORT, *DROP]
    result = run(load(recipe, overrides), recipe_dir=tmp_path)
    assert result.steps == 2
    counts = json.loads((tmp_path / "run/data.json").read_text())["counts"]
    assert counts["read"] == 80 == counts["kept"] + counts["held_out"] + sum(counts["dropped"].values())
    assert list((tmp_path / "run/data_cards").glob("*.md"))


def test_run_by_a_card_that_a_user_writes(tmp_path: Path) -> None:
    card = draft_card(REAL_DATA / "gsm8k_train_1500.jsonl", tmp_path / "data_cards", name="gsm8k")
    card.write_text(card.read_text().replace("  id: #", "  id: mit #"))
    recipe = {
        "stage": "sft",
        "output": str(tmp_path / "run"),
        "model": {"lora": {"rank": 8}},
        "data": {"train": [{"card": "gsm8k"}], "max_length": 1024, "too_long": "drop", "max_dropped": 0.2},
        "optimization": {"max_steps": 1, "batch_size": 4, "warmup": 0},
    }
    run(loads(json.dumps(recipe)), recipe_dir=tmp_path)
    (source,) = json.loads((tmp_path / "run/data.json").read_text())["sources"]
    assert source["card"] == "gsm8k" and source["licence"] == "mit" and source["counts"]["read"] == 1500
    assert not (tmp_path / "run/data_cards").exists()


@pytest.mark.parametrize("file", ["wiki_demo.txt", "c4_demo.jsonl"])
def test_pretraining_on_a_bare_text_file(tmp_path: Path, file: str) -> None:
    recipe = tmp_path / "mine.yaml"
    write_recipe(recipe, stage="pretrain", base="pico", data=REAL_DATA / file, tuning=None)
    overrides = [f"output={tmp_path / 'run'}", "data.max_length=256", "data.too_long=truncate", *SHORT]
    result = run(load(recipe, overrides), recipe_dir=tmp_path)
    assert result.artefact == "model" and result.steps == 2
