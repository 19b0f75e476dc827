"""Golden rows: what the stages that make data leave of a few prompts, word by word.

A change here changes what llamatune samples, selects or writes. If that is meant, write them again and say why in the
commit:

    python tests/stages/test_golden_rows.py [STAGE ...]

The model and its judges were never trained, so the texts say nothing; they are the same on every machine, and numbers
are compared to 1e-4.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ROOM = 512
ASKED = [
    {"prompt": "What is the red key?", "category": "keys"},
    {"prompt": "What is in the blue box or the red box?", "category": "boxes"},
    {"prompt": "Is the lamp blue?", "category": "lamps"},
    {"prompt": "Where is the cup, and where is the key?", "category": "keys"},
    {"prompt": "What is it?", "category": "lamps"},
    {"prompt": "Is the box red or blue?", "category": "boxes"},
]
RECIPES: dict[str, dict[str, Any]] = {
    "rejection_sampling": {
        "sampling": {"samples": 4, "temperature": [0.7, 1.3], "probe": 2},
        "reward": {"helpfulness": "helpful", "safety": "safe"},
    },
    "preferences": {
        "other": {"temperature": 1.5},
        "judge": "reward_models",
        "reward": {"helpfulness": "helpful", "safety": "safe"},
        "test_share": 0.3,
    },
    "gatt": {"gatt": {"turns": [2, 3]}, "recall": {"dialogues": 2, "turns": 3}},
    "context_distillation": {
        "distillation": {"templates": {"keys": "Say first that keys are nobody's business."}},
        "reward": {"safety": "safe"},
    },
}
OPENINGS = dict.fromkeys(RECIPES, ("",)) | {"gatt": ("", "Tell me: ", "And ")}
"""What stands before the prompts: a dialogue takes several."""
LEFT = ("conversations.jsonl", "preferences.jsonl", "preferences_test.jsonl", "evaluation.json")


def left(stage: str, folder: Path) -> dict[str, Any]:
    """What a short run leaves, made in that folder, without the digests of weights."""
    from llamatune.pipeline import run
    from llamatune.recipe.load import loads
    from support import talking_base, talking_judge

    talking_base(folder / "policy", max_position_embeddings=ROOM)
    for seed, name in enumerate(("helpful", "safe")):
        talking_judge(folder / name, seed, max_position_embeddings=ROOM)
    file = folder / "asked.jsonl"
    rows = [{**row, "prompt": before + row["prompt"]} for before in OPENINGS[stage] for row in ASKED]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = json.loads(json.dumps(RECIPES[stage]))
    for name, judge in own.get("reward", {}).items():
        own["reward"][name] = str(folder / judge)
    recipe = {
        "stage": stage,
        "output": str(folder / "run"),
        "model": {"base": str(folder / "policy")},
        "data": {"train": [{"path": str(file), "safety": True}], "max_length": 256},
        **own,
    }
    recipe["sampling"] = {"max_new_tokens": 24, "batch_size": 8, **own.get("sampling", {})}
    run(loads(json.dumps(recipe)))
    found = {}
    for name in LEFT:
        made = folder / "run" / name
        if made.is_file():
            text = made.read_text().replace(str(folder), "")
            rows = made.suffix == ".jsonl"
            found[name] = _plain(
                [json.loads(line) for line in text.splitlines()] if rows else json.loads(text)
            )
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key not in ("policy", "judge")}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def same(found: Any, golden: Any) -> bool:
    """Whether all words and counts are the same, and all numbers nearly so."""
    if isinstance(golden, float):
        return found == pytest.approx(golden, rel=1e-4, abs=1e-5)
    if isinstance(golden, list):
        return len(found) == len(golden) and all(map(same, found, golden))
    if isinstance(golden, dict):
        return found.keys() == golden.keys() and all(same(found[key], one) for key, one in golden.items())
    return bool(found == golden)


@pytest.mark.parametrize("stage", RECIPES)
def test_golden_rows(stage: str, tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / f"{stage}.json").read_text())
    found = left(stage, tmp_path)
    assert found.keys() == golden.keys()
    for name, rows in golden.items():
        assert same(found[name], rows), f"{name} differs:\n{json.dumps(found[name], indent=1)}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    torch.set_num_threads(1)
    for stage in sys.argv[1:] or RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            content = left(stage, Path(folder))
        (GOLDEN / f"{stage}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
