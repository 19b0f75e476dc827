"""Small PPO runs that are made twice: by a test in one process, and under torchrun in several.

As a script: `trainings.py NAME BASE FOLDER` runs what `SCRIPTS[NAME]` says in each process; files go to FOLDER.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
RANK = int(os.environ.get("RANK", "0"))
PROMPTS = [" ".join(["say it again"] * (1 + number % 4)) + f" {number}" for number in range(7)]
SETTINGS: dict[str, Any] = {
    "batch_size": 6,
    "mini_batch_size": 3,
    "num_ppo_epochs": 2,
    "max_steps": 8,
    "per_device_train_batch_size": 2,
    "generation_batch_size": 4,
    "max_completion_length": 12,
    "stop_token_ids": list(range(5, 300)),
    "learning_rate": 1e-3,
    "kl_coef": 0.05,
    "vf_coef": 1.0,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
    "logging_nan_inf_filter": False,
    "guards": {"truncated": {"action": "ignore"}},
}


def evenness(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """A reward that each completion has of its own, and that the policy can raise."""
    return [sum(token % 2 == 0 for token in ids) / 4 - 0.1 * len(ids) for ids in completion_ids]


def make(base: Path, output: Path, reward: Any = evenness, *, lora: bool = False, **changes: Any) -> Any:
    """A trainer on a tiny model, in float32."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from llamatune.rl.config import PPOConfig
    from llamatune.rl.ppo_trainer import PPOTrainer

    given = changes.pop("given", {})
    prompts = changes.pop("prompts", PROMPTS)
    trainer = PPOTrainer(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        PPOConfig(output_dir=str(output), **(SETTINGS | changes)),
        reward,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        eval_dataset=Dataset.from_list([{"prompt": "and one held out"}]),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None,
        **given,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def weights_of(trainer: Any) -> dict[str, torch.Tensor]:
    """Every trained weight, whole."""
    from llamatune.rl.sharding import whole

    state = trainer.roles.state_dict()
    trained = [name for name, weight in trainer.roles.named_parameters() if weight.requires_grad]
    return {name: whole(state[name]).detach().clone() for name in trained}


def curve(trainer: Any) -> list[dict[str, float]]:
    """The figures of each step and evaluation, without times."""
    return [
        {name: value for name, value in line.items() if not name.endswith(("_runtime", "_second"))}
        for line in trainer.state.log_history
        if "train_runtime" not in line
    ]


def keep(folder: Path, name: str, trainer: Any) -> None:
    """Write what a process ended with, for the test to look at."""
    from llamatune.rl.roles import save_weights

    save_weights(weights_of(trainer), folder / f"{name}.{RANK}.safetensors")
    save_weights(trainer.experience.tensors(), folder / f"{name}.{RANK}.experience.safetensors")
    (folder / f"{name}.{RANK}.json").write_text(json.dumps(curve(trainer)))


@dataclass(frozen=True)
class End:
    """What a process ended with."""

    weights: dict[str, torch.Tensor]
    experience: dict[str, torch.Tensor]
    curve: list[dict[str, float]]

    @staticmethod
    def of(folder: Path, name: str, rank: int = 0) -> "End":
        from safetensors.torch import load_file

        weights, experience = (
            load_file(folder / f"{name}.{rank}{kind}.safetensors") for kind in ("", ".experience")
        )
        return End(weights, experience, json.loads((folder / f"{name}.{rank}.json").read_text()))


def torchrun(script: str, base: Path, folder: Path, processes: int = 2) -> str:
    """Run a script of this file in several processes; what they wrote to stderr."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *launch, __file__, script, str(base), str(folder)],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stderr


# ---- what one process and several do alike -------------------------------------------------------------------

ALIKE: dict[str, dict[str, Any]] = {
    "separate": {"whiten_rewards": True},
    "idle": {"batch_size": 3, "mini_batch_size": 1, "max_steps": 6, "entropy_coef": 0.01},
    "adapters": {"lora": True, "whiten_scores": "running", "eval_strategy": "steps", "eval_steps": 4},
}


def alike(base: Path, folder: Path) -> None:
    for name, changes in ALIKE.items():
        trainer = make(base, folder / name, **changes)
        trainer.train()
        keep(folder, name, trainer)


# ---- what only several can ------------------------------------------------------------------------------------


def own_rank(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float(RANK)] * len(completion_ids)


def failing_in_second(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float("nan") if RANK == 1 else 1.0] * len(completion_ids)


def shares(base: Path, folder: Path) -> None:
    """Which rows each process samples for; rewards that are the process's number."""
    from torch.nn.parallel import DistributedDataParallel

    seeds: list[int] = []
    prompts = ["say it again"] * 5 + [
        "say it again " * 12
    ]  # the process that gets the last one gets few others
    trainer = make(base, folder / "shares", own_rank, prompts=prompts, max_steps=4)
    generate = trainer.generator.generate

    def watched(prompts: Any, its_seeds: list[int]) -> Any:
        seeds.extend(its_seeds)
        return generate(prompts, its_seeds)

    trainer.generator.generate = watched
    trainer.train()
    assert isinstance(trainer.model_wrapped, DistributedDataParallel)
    assert not isinstance(trainer.roles, DistributedDataParallel)
    (folder / f"shares.{RANK}.json").write_text(json.dumps({"seeds": seeds, "curve": curve(trainer)}))


def resumed(base: Path, folder: Path) -> None:
    """An adapter, saved in the middle of an iteration, and gone on with from there."""
    trainer = make(base, folder / "whole", lora=True, save_strategy="steps", save_steps=3)
    trainer.train()
    keep(folder, "whole", trainer)
    trainer.save_model()
    again = make(base, folder / "again", lora=True)
    again.train(resume_from_checkpoint=str(folder / "whole/checkpoint-3"))
    keep(folder, "again", again)


def failures(base: Path, folder: Path) -> None:
    """What fails in one process fails in all, with the same error."""
    told = {}

    def run(what: str, trainer: Any) -> None:
        try:
            trainer.train()
        except Exception as error:
            told[what] = f"{type(error).__name__}: {error}"

    run("reward", make(base, folder / "reward", failing_in_second))
    broken = make(base, folder / "generator")
    diverged = make(base, folder / "loss")
    if RANK == 1:
        broken.generator.generate = lambda prompts, seeds: 1 / 0
        collect = diverged.collect
        diverged.collect = lambda iteration: _with_nan(collect(iteration))
    run("generator", broken)
    run("loss", diverged)
    (folder / f"failures.{RANK}.json").write_text(json.dumps(told))


def _with_nan(experience: Any) -> Any:
    return replace(experience, advantages=experience.advantages * float("nan"))


SCRIPTS = {"two processes": [alike, shares, resumed, failures]}

if __name__ == "__main__":
    from llamatune.pipeline import part_processes, quieten_upstream

    quieten_upstream()
    for part in SCRIPTS[sys.argv[1]]:
        part(Path(sys.argv[2]), Path(sys.argv[3]))
    part_processes()
