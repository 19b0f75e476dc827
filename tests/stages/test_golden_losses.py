"""Golden losses: what the first steps of pico's recipes give, to the last bit on the machine that wrote them.

A change here changes what llamatune computes. If that is meant, write them again and say why in the commit:

    python tests/stages/test_golden_losses.py
"""

import json
import platform
from pathlib import Path

import pytest
import torch

from llamatune.pipeline import run
from llamatune.recipe.load import load

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden"
RECIPES = {
    "sft": ["optimization.max_steps=6", "generation.prompts=[]"],
    "pretrain": [
        "model={base: pico, init: random}",
        "optimization.max_steps=6",
        "generation.prompts=[]",
        "data.train=[{card: pico-pretrain, max_rows: 2000}]",
        "data.eval=[]",
    ],
    "reward": [
        "model={base: pico, lora: {rank: 8}}",  # the SFT run that it begins with is not in a clean clone
        "optimization.max_steps=6",
        "data.eval=[]",
    ],
    "ppo": [
        "model={base: pico, lora: {rank: 8}}",
        "optimization.iterations=3",
        "optimization.batch_size=16",
        "ppo.mini_batch_size=8",
        "rollout.max_new_tokens=24",
        "generation.prompts=[]",
        "data.eval=[]",
        "reward.safety=null",  # and `reward.helpfulness` is trained before
    ],
}


def machine() -> dict[str, str]:
    """What floating-point results depend on besides the code."""
    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "torch": torch.__version__,
        "cpu": cpu.partition(":")[2].strip() or cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def losses(stage: str, output: Path) -> list[float]:
    name = "reward_helpful" if stage == "reward" else stage
    changes = [f"output={output}", "logging.every_steps=1", "checkpoint.every_steps=100", *RECIPES[stage]]
    if stage == "ppo":
        changes.append(f"reward.helpfulness={reward_model(output.with_name('reward'))}")
    recipe = load(ROOT / f"recipes/pico/{name}.yaml", changes, allow_outside=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums depend on how many share them
    try:
        run(recipe, recipe_dir=ROOT)
    finally:
        torch.set_num_threads(threads)
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def reward_model(output: Path) -> Path:
    """Two steps of it."""
    changes = ["optimization.max_steps=2", "optimization.batch_size=16", "data.train.0.max_rows=64"]
    recipe = load(
        ROOT / "recipes/pico/reward_helpful.yaml", [f"output={output}", *RECIPES["reward"], *changes]
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(recipe, recipe_dir=ROOT)
    finally:
        torch.set_num_threads(threads)
    return output


@pytest.mark.parametrize("stage", RECIPES)
def test_golden_losses(stage: str, tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / f"{stage}.json").read_text())
    found = losses(stage, tmp_path / "run")
    if golden["machine"] == machine():
        assert found == golden["losses"]
    else:  # a loss of PPO is a difference of about equal sums
        assert found == pytest.approx(golden["losses"], rel=1e-4, abs=1e-4 if stage == "ppo" else 0)


if __name__ == "__main__":
    import tempfile

    GOLDEN.mkdir(exist_ok=True)
    for stage in RECIPES:
        with tempfile.TemporaryDirectory() as folder:
            content = {"machine": machine(), "losses": losses(stage, Path(folder) / "run")}
        (GOLDEN / f"{stage}.json").write_text(json.dumps(content, indent=2) + "\n")
