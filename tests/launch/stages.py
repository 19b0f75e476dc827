"""Every stage that trains, as small recipes; and as a script, some of them one after another in several processes.

torchrun ... stages.py straight FOLDER sft reward      trains each into FOLDER/straight/NAME
torchrun ... stages.py killed FOLDER sft               the same into FOLDER/again/NAME, until the second process is
                                                       killed (-9) at the end of step 3
torchrun ... stages.py again FOLDER sft                goes on there
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMON: dict[str, Any] = {
    "seed": 3,
    "optimization": {"max_steps": 5, "batch_size": 8, "warmup": 1, "learning_rate": 1e-3},
    "logging": {"every_steps": 1, "eval_every_steps": 2},
    "checkpoint": {"every_steps": 2},
}
CHATS = {"train": [{"card": "pico-sft-helpful", "max_rows": 80}], "max_length": 512, "eval_fraction": 0.1}
PAIRS = {
    "train": [{"card": "pico-preferences-helpful", "max_rows": 64}],
    "max_length": 512,
    "eval_fraction": 0.1,
}
LORA = {"lora": {"rank": 4, "dropout": 0.0}}
SAYS = {"prompts": ["Who are you?"], "max_new_tokens": 3}
FSDP = {"sharding": "fsdp"}
SMALL = {"micro_batch_tokens": 128}
"""Several passes a step, of which some have no row for one of the processes."""
NO_WARMUP = COMMON["optimization"] | {"min_warmup_steps": 0}

RECIPES: dict[str, dict[str, Any]] = {
    "sft": {"stage": "sft", "data": CHATS, "generation": SAYS, "hardware": SMALL},
    "sft-lora": {"stage": "sft", "model": LORA, "data": CHATS, "generation": SAYS},
    "pretrain": {
        "stage": "pretrain",
        "data": {"train": [{"card": "pico-pretrain", "max_rows": 300}], "max_length": 256},
        "generation": {"prompts": []},
    },
    "reward": {"stage": "reward", "data": PAIRS, "optimization": NO_WARMUP, "hardware": SMALL},
    "reward-lora": {"stage": "reward", "model": LORA, "data": PAIRS, "optimization": NO_WARMUP},
    "ppo": {
        "stage": "ppo",
        "model": LORA,
        "data": {"train": [{"card": "pico-prompts-helpful", "max_rows": 12}], "max_length": 160},
        "rollout": {"max_new_tokens": 10},
        "reward": {"helpfulness": "{folder}/straight/reward-lora"},
        "ppo": {"mini_batch_size": 4},
        "optimization": {"batch_size": 8, "iterations": 3, "learning_rate": 1e-3},
        "generation": SAYS,
    },
}
SHARDED = ("sft", "sft-lora", "pretrain", "reward", "reward-lora", "ppo")


def recipe(name: str, folder: Path, under: str) -> dict[str, Any]:
    """`fsdp-sft` is `sft`, sharded; the run is in `folder/under/name`."""
    base = name.removeprefix("fsdp-")
    found = COMMON | RECIPES[base] | {"output": str(folder / under / name)}
    hardware = found.get("hardware", {}) | (FSDP if name != base else {}) | {"stuck_after_minutes": 2}
    return json.loads(json.dumps(found | {"hardware": hardware}).replace("{folder}", str(folder)))


def run_all(mode: str, folder: Path, names: list[str]) -> None:
    from llamatune.pipeline import run
    from llamatune.recipe.load import loads

    if mode == "killed":
        _die_at_step(3)
    if any(name.startswith("fsdp-") for name in names):
        _shard_on_cpus()
    under = "straight" if mode == "straight" else "again"
    for name in names:
        run(loads(json.dumps(recipe(name, folder, under))), recipe_dir=ROOT)


def _die_at_step(step: int) -> None:
    from llamatune.runs.ranks import rank
    from llamatune.training.flow import Flow

    inner = Flow.on_step_end

    def dying(self: Any, args: Any, state: Any, control: Any, **more: Any) -> Any:
        if state.global_step == step and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(self, args, state, control, **more)

    Flow.on_step_end = dying


def _shard_on_cpus() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from ppo.trainings import shard_on_cpus

    shard_on_cpus()


def torchrun(mode: str, folder: Path, *names: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [sys.executable, *launch, __file__, mode, str(folder), *names],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


if __name__ == "__main__":
    from llamatune.launch.meeting import part_processes

    run_all(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
    part_processes()
