"""Every shipped recipe runs to its end: on pico, a step or two, on rows of the miniature world in place of its data.
All else stays as it is shipped: template, loss scope, adapter, quantization, schedule, shares, sides, rewards.

Slow: `make test` trains the recipes of pico in other modules. Pipelines: tests/test_shipped_pipelines.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from llamatune.data.formats.known import kind_of
from llamatune.pipeline import run
from llamatune.recipe.cards import find_card
from llamatune.recipe.load import load, load_with_problems
from support import ROOT

NAMES = sorted(
    file.relative_to(ROOT / "recipes").with_suffix("").as_posix()
    for file in (ROOT / "recipes").rglob("*.yaml")
)
ROWS = 24

CARDS = {
    "conversations": "pico-sft",
    "preferences": "pico-preferences",
    "prompts": "pico-prompts",
    "documents": "pico-pretrain",
}
"""What stands in for a recipe's data, by what its rows are."""

OF_ALL = {
    "hardware.device": "cpu",
    "data.max_length": 512,
    "data.max_dropped": 1.0,
    "data.deduplicate": False,
}
FEW_STEPS = {
    "optimization.epochs": 1,
    "optimization.max_steps": 2,
    "optimization.batch_size": 4,
    "optimization.optimizer": "adamw",
    "optimization.warmup": 0,
    "generation.max_new_tokens": 4,
}
SHORT_ANSWERS = {"sampling.max_new_tokens": 12, "sampling.batch_size": 8, "sampling.backend": "generate"}
CHANGES: dict[str, dict[str, Any]] = {
    "pretrain": FEW_STEPS,
    "sft": FEW_STEPS,
    "reward": {key: value for key, value in FEW_STEPS.items() if not key.startswith("generation")}
    | {"optimization.min_warmup_steps": 0},
    "ppo": {
        "optimization.iterations": 1,
        "optimization.batch_size": 8,
        "optimization.optimizer": "adamw",
        "optimization.warmup": 0,
        "ppo.mini_batch_size": 4,
        "ppo.epochs": 1,
        "rollout.max_new_tokens": 8,
        "generation.max_new_tokens": 4,
        "data.too_long": "drop",
    },
    "preferences": SHORT_ANSWERS | {"judge": "oracle", "test_share": 0.0},
    "rejection_sampling": SHORT_ANSWERS
    | {"sampling.samples": 2, "sampling.temperature": 1.0, "keep.pool": []},
    "gatt": SHORT_ANSWERS | {"gatt.turns": [2, 2], "recall.dialogues": 0},
    "context_distillation": SHORT_ANSWERS,
    "self_chat": SHORT_ANSWERS | {"self_chat.turns": 2},
    "evaluate": SHORT_ANSWERS | {"recall.dialogues": 0},
}
"""By stage: so few steps, prompts and tokens that a run takes seconds."""


def test_every_stage_that_ships_has_its_changes() -> None:
    stages = {load_with_problems(name)[0].stage for name in NAMES}
    assert stages - {"pipeline"} == set(CHANGES)
    assert len(NAMES) == 76


def method_of(recipe: Any) -> str:
    if recipe.model.quantization == "nf4":
        return "qlora"
    return "lora" if recipe.model.lora or recipe.model.adapter else "full"


def in_miniature(recipe: Any, folder: Path, trained: Any, rewarded: Any) -> dict[str, Any]:
    """The overrides that make a recipe small."""
    method = method_of(recipe)
    changes: dict[str, Any] = {**OF_ALL, **CHANGES[recipe.stage], "model.base": "pico", "output": str(folder)}
    if recipe.stage == "evaluate":
        # Nothing is trained: a short set is enough, and no row is left out for its length.
        del changes["data.deduplicate"]
    if recipe.model.adapter is not None:
        changes["model.adapter"] = str(trained(method) / "adapter")
    elif recipe.stage == "self_chat":
        changes["model.base"] = str(trained("full") / "model")  # one that ends its answers
    changes["data.train"] = [stand_in(one, recipe) for one in recipe.data.train]
    if recipe.stage == "gatt":
        changes["data.eval"] = []  # they are for recall
    elif recipe.data.eval:
        changes["data.eval"] = [held_out(stand_in(one, recipe)) for one in recipe.data.eval]
    if getattr(recipe.data, "mix", None) is not None:
        changes["data.ptx"] = [{"card": "pico-pretrain", "max_rows": ROWS}]
    for name in getattr(getattr(recipe, "reward", None), "models", {}):
        changes[f"reward.{name}"] = str(rewarded(method))
    if recipe.stage == "reward" and recipe.loss.objective == "scores":
        changes["data.train"] = [{"path": str(scored(folder.parent))}]
    if recipe.stage == "evaluate":
        changes["data.train"] = []
        changes["judges"] = {"oracle": True, "helpfulness": str(rewarded(method))}
        adapter = trained("qlora" if method == "qlora" else "lora") / "adapter"
        changes["models"] = {
            name: {"adapter": str(adapter)} if one.adapter else {} for name, one in recipe.models.items()
        }
    return changes


def stand_in(source: Any, recipe: Any) -> dict[str, Any]:
    """Rows of the miniature world of the same kind, taken in the same way."""
    if source.card is None:  # the rows of an earlier run
        return {"card": "pico-sft-helpful", "max_rows": ROWS}
    card = find_card(source.card, ROOT / "recipes/pico")
    safe = card.category == "safety"
    if card.source.kind == "world":
        name = card.name
    elif recipe.stage in (
        "ppo",
        "preferences",
        "rejection_sampling",
        "gatt",
        "context_distillation",
        "self_chat",
        "evaluate",
    ):
        name = f"{CARDS['prompts']}-{'adversarial' if safe else 'helpful'}"
    else:
        kind = kind_of(card.format)
        name = CARDS[kind] if kind == "documents" else f"{CARDS[kind]}-{'safety' if safe else 'helpful'}"
    kept = source.model_dump(
        exclude_defaults=True, include={"weight", "share", "side", "condition", "safety"}
    )
    return {"card": name, "max_rows": ROWS, **kept}


def held_out(source: dict[str, Any]) -> dict[str, Any]:
    splits = find_card(source["card"], ROOT / "recipes/pico").splits
    return {**source, "split": next(name for name in ("test", "eval") if name in splits)}


def scored(folder: Path) -> Path:
    file = folder / "scored.jsonl"
    rows = [
        {"prompt": f"What is two plus {n}?", "completion": str(n + 2), "score": n / 24} for n in range(ROWS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def as_overrides(changes: dict[str, Any], recipe: Any) -> list[str]:
    """As on the command line; of blocks that the recipe has."""
    return [
        f"{path}={json.dumps(value)}"
        for path, value in changes.items()
        if hasattr(recipe, path.split(".")[0]) or path.split(".")[0] in type(recipe).model_fields
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if load_with_problems(name)[0].stage != "pipeline"])
def test_a_recipe_runs(
    name: str, tmp_path: Path, trained: Any, rewarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shipped = load_with_problems(name)[0]
    changes = in_miniature(shipped, tmp_path / "run", trained, rewarded)
    small = load(name, as_overrides(changes, shipped), allow_outside=True)
    result = run(small, recipe_dir=ROOT / "recipes" / Path(name).parent)
    assert result.stage == shipped.stage and (tmp_path / "run" / result.artefact).exists()
    if shipped.stage in ("sft", "reward", "pretrain"):
        assert result.steps == 2
    if hasattr(shipped, "chat"):
        assert small.chat == shipped.chat, "the format and what is learnt of it are the recipe's"
