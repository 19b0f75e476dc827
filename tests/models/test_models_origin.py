"""What a run of prompts is made from is recorded as of any other stage."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.encoders import encoder_for, mix_encoder_for
from llamatune.data.prepare import prepare_prompts
from llamatune.models.facts import facts_of
from llamatune.models.load import find_start
from llamatune.models.origin import record_origin
from llamatune.recipe.hashing import sha256
from llamatune.recipe.load import loads
from llamatune.runs.display import Display
from llamatune.runs.manifest import flatten
from llamatune.runs.opening import open_run
from llamatune.runs.report.page import write_report
from support import ROOT


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def _adapter(folder: Path, *, head: bool) -> Path:
    """The files of an adapter on pico."""
    folder.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "pico", "target_modules": ["q_proj"], "r": 1}
    settings |= {"task_type": "SEQ_CLS", "modules_to_save": ["score"]} if head else {}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    part = "score" if head else "x"
    save_file({f"base_model.model.{part}.weight": torch.zeros(1, 2)}, folder / "adapter_model.safetensors")
    return folder


def test_prompts_and_the_pretraining_mix(tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": "Once upon a time."}) + "\n")
    reward = _adapter(tmp_path / "reward", head=True)
    safety = {"card": "pico-prompts-adversarial", "max_rows": 20}
    content = {
        "stage": "ppo",
        "output": str(tmp_path / "run"),
        "data": {"train": [safety], "eval_fraction": 0.2, "max_length": 256, "ptx": [{"path": str(text)}]},
        "reward": {"helpfulness": str(reward)},
        "ppo": {"ptx_coef": 0.5},
    }
    recipe = loads(json.dumps(content))
    with open_run(recipe, recipe_dir=Path()) as run, Display("ppo", quiet=True) as display:
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
    assert "pico-prompts-adversarial" in facts["cards"]
    known = facts_of(recipe, Path())
    assert {block: facts["facts"][block] for block in known} == known, (
        "what is known before anything is loaded"
    )
    assert known["data"]["ptx"] == [{"sha256": [sha256(text)]}]
    weights = known["models"]["helpfulness"]["adapter"]["weights"]
    assert weights == sha256(reward / "adapter_model.safetensors")
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


def test_each_file_that_decides_what_is_learnt_is_a_fact(tmp_path: Path) -> None:
    """Weights, config, generation config, tokenizer and template of the base; the data; what training starts from, with
    the tokenizer and the chat block that it was trained with."""
    base = shutil.copytree(ROOT / "src/llamatune/builtin/pico", tmp_path / "base")
    (base / "generation_config.json").write_text("{}")
    adapter = _adapter(tmp_path / "start", head=False)
    (adapter / "README.md").write_text("{}")
    for file in base.iterdir():
        if file.name.startswith(("tokenizer", "chat_template")):
            shutil.copy(file, adapter)
    (adapter / "llamatune.json").write_text('{"chat": {"system": "Be brief."}}')
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}")
    content = {
        "stage": "sft",
        "output": "run",
        "model": {"base": str(base), "adapter": str(adapter)},
        "data": {"train": [{"path": str(rows)}]},
    }
    recipe = loads(json.dumps(content))

    def facts() -> dict[str, object]:
        return flatten(facts_of(recipe, tmp_path))

    files = {file for folder in (base, adapter) for file in folder.iterdir() if file.name != "README.md"}
    for file in [*files, rows]:
        before, content = facts(), file.read_bytes()
        changed_content = content[:-1] + bytes([content[-1] ^ 1])
        if file.name == "llamatune.json":
            changed_content = content.replace(b"brief", b"short")
        elif file.suffix == ".json":
            changed_content = content.replace(b"{", b'{"new": 1, ', 1) if len(content) > 2 else b'{"new": 1}'
        file.write_bytes(changed_content)
        changed = {key for key in before if facts()[key] != before[key]}
        assert len(changed) == 1, f"{file.name}: {changed}"
        file.write_bytes(content)
    before = facts()
    (adapter / "README.md").write_text("a note")
    assert facts() == before
