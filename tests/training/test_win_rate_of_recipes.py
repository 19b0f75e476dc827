"""The win rate that a recipe asks for while a model is trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llamatune.errors import DataError, RecipeError
from llamatune.pipeline import run
from llamatune.training.win_rate import START
from support import ROOT, killed, ppo_recipe, rows_of, sft_recipe


def win_rate(rewarded: Any, **changes: Any) -> dict[str, Any]:
    prompts = [{"card": "pico-prompts-helpful", "split": "eval", "max_rows": 6}]
    return {
        "prompts": prompts,
        "judges": [str(rewarded("lora"))],
        "every_steps": 4,
        "max_new_tokens": 12,
        **changes,
    }


def measured(folder: Path) -> dict[int, float]:
    rows = rows_of(folder / "metrics.jsonl")
    found = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith("eval_win_rate_") and not name.endswith(("_low", "_high")):
                found[row["step"]] = value
    return found


def short(output: Path, rewarded: Any, **changes: Any) -> Any:
    return sft_recipe(
        output,
        {
            "generation.win_rate": win_rate(rewarded, **changes),
            "optimization.max_steps": 8,
            "logging.every_steps": 2,
        },
    )


def test_an_sft_run_measures_its_win_rate_and_trains_as_without(rewarded: Any, tmp_path: Path) -> None:
    run(short(tmp_path / "with", rewarded), recipe_dir=ROOT)
    found = measured(tmp_path / "with")
    assert set(found) == {4, 8} and all(0 <= one <= 1 for one in found.values())
    assert len(json.loads((tmp_path / "with" / START).read_text())) == 6
    plain = sft_recipe(tmp_path / "without", {"optimization.max_steps": 8, "logging.every_steps": 2})
    run(plain, recipe_dir=ROOT)
    [one] = (tmp_path / "with").glob("model*/model.safetensors")
    [other] = (tmp_path / "without").glob("model*/model.safetensors")
    assert one.read_bytes() == other.read_bytes()


def test_two_judges_whose_folders_have_one_name_both_judge(rewarded: Any, tmp_path: Path) -> None:
    judge = rewarded("lora")
    folders = [tmp_path / version / "reward" for version in ("v1", "v2")]
    for folder in folders:
        shutil.copytree(judge, folder)
    changes = {"judges": list(map(str, folders)), "every_steps": None}
    run(short(tmp_path / "run", rewarded, **changes), recipe_dir=ROOT)
    names = {name for row in rows_of(tmp_path / "run/metrics.jsonl") for name in row if "win_rate" in name}
    assert {"eval_win_rate_reward", "eval_win_rate_reward_1"} <= names


@pytest.mark.slow
def test_resumed_it_compares_with_the_same_start(rewarded: Any, tmp_path: Path) -> None:
    whole = short(tmp_path / "whole", rewarded)
    run(whole, recipe_dir=ROOT)
    recipe = short(tmp_path / "run", rewarded)
    recipe = type(recipe).model_validate({**recipe.model_dump(), "checkpoint": {"every_steps": 2}})
    killed(recipe, at=3)
    run(recipe, recipe_dir=ROOT)
    assert measured(tmp_path / "run") == measured(tmp_path / "whole")


def test_against_the_replies_of_the_rows(rewarded: Any, tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": ""}]}]
    rows[0]["messages"][1]["content"] = "I am pico."
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[0]) + "\n")
    prompts = [{"path": str(tmp_path / "rows.jsonl")}]
    run(short(tmp_path / "run", rewarded, prompts=prompts, against="replies"), recipe_dir=ROOT)
    assert set(measured(tmp_path / "run")) == {4, 8}
    assert not (tmp_path / "run" / START).exists()
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Who are you?"}\n')
    with pytest.raises(DataError, match="no reply to compare with"):
        run(short(tmp_path / "other", rewarded, prompts=prompts, against="replies"), recipe_dir=ROOT)


@pytest.mark.slow
def test_ppo_measures_it_too(rewarded: Any, tmp_path: Path) -> None:
    rewards = {"helpfulness": str(rewarded("lora"))}
    recipe = ppo_recipe(
        tmp_path / "run", rewards, {"generation.win_rate": win_rate(rewarded, every_steps=None)}
    )
    run(recipe, recipe_dir=ROOT)
    assert measured(tmp_path / "run")


def test_prompts_without_judges_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="needs `prompts` and `judges`"):
        sft_recipe(tmp_path / "run", {"generation.win_rate": {"judges": ["runs/x"]}})
