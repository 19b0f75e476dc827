"""What a run of prompts is made from is recorded as of any other stage."""

import json
from pathlib import Path

import pytest

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for, mix_encoder_for
from llamatune.data.prepare import prepare_prompts
from llamatune.models.load import find_start
from llamatune.recipe.load import loads
from llamatune.runs.display import Display
from llamatune.runs.report import write_report
from llamatune.runs.run import Run
from llamatune.training.origin import record_origin


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_prompts_and_the_pretraining_mix(tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": "Once upon a time."}) + "\n")
    safety = {"card": "pico-prompts-adversarial", "max_rows": 20}
    content = {
        "stage": "ppo",
        "output": str(tmp_path / "run"),
        "data": {"train": [safety], "eval_fraction": 0.2, "max_length": 256, "ptx": [{"path": str(text)}]},
        "reward": {"helpfulness": "runs/reward"},
        "ppo": {"ptx_coef": 0.5},
    }
    recipe = loads(json.dumps(content))
    with Run.open(recipe, recipe_dir=Path()) as run, Display("ppo", quiet=True) as display:
        start = find_start(recipe.model, recipe.hardware, max_length=512)
        chat = ChatFormat(start.tokenizer, recipe.chat)
        _, encoder = encoder_for(recipe, start.tokenizer)
        mix = mix_encoder_for(recipe, start.tokenizer)
        data = prepare_prompts(
            recipe.data, encoder, mix, seed=0, recipe_dir=run.recipe_dir, report=display.say
        )
        record_origin(run, recipe, start, data, display, chat)
    folder = Path(recipe.output)
    facts = json.loads((folder / "manifest.json").read_text())
    assert facts["facts"]["data"]["train"][0]["rows"] == 20 and "pico-prompts-adversarial" in facts["cards"]
    assert facts["facts"]["data"]["ptx"][0]["rows"] == 1
    found = json.loads((folder / "data.json").read_text())
    assert [source["role"] for source in found["sources"]] == ["train", "ptx"]
    assert found["sources"][0]["is_safety"] is True and "is_safety" not in found["sources"][1]
    assert found["counts"]["kept"] + found["counts"]["held_out"] == 20
    shown = json.loads((folder / "preview.json").read_text())
    assert shown[0]["about"] == "safety prompt" and not any(trained for _, trained in shown[0]["tokens"])
    assert [card.name for card in (folder / "data_cards").iterdir()] == ["text.md"]
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert "prompts or rows" in page and "safety prompt" in page
