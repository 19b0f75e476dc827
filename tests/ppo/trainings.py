"""Small PPO runs that are made twice: by a test in one process, and under torchrun in several.

As a script: `trainings.py NAME BASE FOLDER` runs what `SCRIPTS[NAME]` says in each process; files go to FOLDER.
"""

import json
import os
import subprocess
import sys
from copy import deepcopy
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


def judge(base: Path) -> Any:
    """A reward model whose head is the same each time."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)


def make(base: Path, output: Path, reward: Any = evenness, *, lora: bool = False, **changes: Any) -> Any:
    """A trainer on a tiny model, in float32."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

    from llamatune.ppo.config import PPOConfig
    from llamatune.ppo.trainer import PPOTrainer

    given = {}
    if changes.get("ptx_coef"):
        given["ptx_dataset"] = Dataset.from_list([{"text": f"{prompt} is what we say"} for prompt in PROMPTS])
    prompts = changes.pop("prompts", PROMPTS)
    trainer = PPOTrainer(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        PPOConfig(output_dir=str(output), **(SETTINGS | changes)),
        [reward, judge(base)] if changes.get("reward_weights") else reward,
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
    from llamatune.forward.sharding import whole

    state = trainer.roles.state_dict()
    trained = [name for name, weight in trainer.roles.named_parameters() if weight.requires_grad]
    names = [name.replace("_checkpoint_wrapped_module.", "") for name in trained]
    return {name: whole(state[name]).detach().clone() for name in names}


def curve(trainer: Any) -> list[dict[str, float]]:
    """The figures of each step and evaluation, without times."""
    return [
        {name: value for name, value in line.items() if not name.endswith(("_runtime", "_second"))}
        for line in trainer.state.log_history
        if "train_runtime" not in line
    ]


def keep(folder: Path, name: str, trainer: Any) -> None:
    """Write what a process ended with, for the test to look at."""
    from llamatune.ppo.roles.weights import save_weights

    save_weights(weights_of(trainer), folder / f"{name}.{RANK}.safetensors")
    save_weights(trainer.progress.experience.tensors(), folder / f"{name}.{RANK}.experience.safetensors")
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

BEST = {
    "eval_strategy": "steps",
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_reward",
    "greater_is_better": True,
}
SAVED = {"save_strategy": "steps", "save_steps": 3, "eval_steps": 3}
ALIKE: dict[str, dict[str, Any]] = {
    "separate": {"max_steps": 10, "whiten_rewards": True, "reward_weights": [1.0, 2.0]},
    "idle": {
        "batch_size": 3,
        "mini_batch_size": 1,
        "num_ppo_epochs": 1,
        "max_steps": 9,
        "entropy_coef": 0.01,
        "ptx_coef": 0.1,
    },
    "adapters": {"lora": True, "whiten_scores": "running", **BEST, **SAVED},
}
"""`separate` and `idle` make three iterations. In `idle`, a mini-batch has a single row, for one of the processes; so
has the pretraining mix. `adapters` ends with its best checkpoint."""


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
    sample = trainer.sampler.sample

    def watched(prompts: Any, its_seeds: list[int], how: Any) -> Any:
        seeds.extend(its_seeds)
        return sample(prompts, its_seeds, how)

    trainer.sampler.sample = watched
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
    broken = make(base, folder / "sampler")
    diverged = make(base, folder / "loss")
    if RANK == 1:
        broken.sampler.sample = lambda prompts, seeds, how: 1 / 0
        collect = diverged.collect
        diverged.collect = lambda iteration: _with_nan(collect(iteration))
    run("sampler", broken)
    run("loss", diverged)
    try:
        make(base, folder / "fsdp", fsdp=True)  # accelerate notes it in the environment, for good
    except Exception as error:
        told["fsdp"] = f"{type(error).__name__}: {error}"
    (folder / f"failures.{RANK}.json").write_text(json.dumps(told))


def _with_nan(experience: Any) -> Any:
    return replace(experience, advantages=experience.advantages * float("nan"))


# ---- FSDP2 ----------------------------------------------------------------------------------------------------


def shard_on_cpus() -> None:
    """accelerate shards on GPUs, and passes over CPUs only because its list of devices does not name them."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    before = AcceleratorState.__init__

    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        before(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            assert self.distributed_type in (DistributedType.MULTI_CPU, DistributedType.FSDP)
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)

    AcceleratorState.__init__ = init


def sharded(base: Path, folder: Path) -> None:
    """Everything of `ALIKE` with sharded roles; saved in the middle of an iteration, and gone on with from there."""
    from llamatune.forward.sharding import whole

    shard_on_cpus()
    formats = {"separate": "FULL_STATE_DICT", "idle": "SHARDED_STATE_DICT", "adapters": "FULL_STATE_DICT"}
    for name, changes in ALIKE.items():
        asked = changes | SAVED | {"fsdp": True, "fsdp_config": {"state_dict_type": formats[name]}}
        trainer = make(base, folder / name, **deepcopy(asked))
        frozen = {
            weight: value.clone()
            for weight, value in trainer.roles.named_parameters()
            if not value.requires_grad
        }
        assert not trainer.roles.sharded
        trainer.train()
        assert_spread(trainer)
        keep(folder, name, trainer)
        state = trainer.roles.state_dict()
        assert {
            weight for weight, value in trainer.roles.named_parameters() if not value.requires_grad
        } == frozen.keys()
        assert all(torch.equal(whole(state[weight]), value) for weight, value in frozen.items())
        assert trainer.sampler.model is trainer.policy
        trainer.save_model()
        again = make(base, folder / f"{name} again", **asked)
        again.train(resume_from_checkpoint=str(folder / name / "checkpoint-3"))
        keep(folder, f"{name} again", again)


def assert_spread(trainer: Any) -> None:
    """About half of every weight is in this process."""
    assert trainer.roles.sharded
    state = trainer.roles.state_dict()
    here = sum(weight.to_local().numel() for weight in state.values())
    assert here < 0.6 * sum(weight.numel() for weight in state.values())


def half(base: Path, folder: Path) -> None:
    """Passes in 16 bits with activation checkpointing, weights in 32."""
    asked = SAVED | {
        "max_steps": 4,
        "bf16": True,
        "fsdp": True,
        "fsdp_config": {"activation_checkpointing": True},
    }
    trainer = make(base, folder / "half", **deepcopy(asked))
    sample, sampled_in = trainer.sampler.sample, set()

    def watched(prompts: Any, seeds: list[int], how: Any) -> Any:
        sampled_in.add(str(trainer.sampler.model.dtype))
        return sample(prompts, seeds, how)

    trainer.sampler.sample = watched
    trainer.train()
    assert_spread(trainer)
    assert sampled_in == {"torch.bfloat16"}
    keep(folder, "half", trainer)
    trainer.save_model()
    again = make(base, folder / "half again", **asked)
    again.train(resume_from_checkpoint=str(folder / "half/checkpoint-3"))
    keep(folder, "half again", again)


def too_early(base: Path, folder: Path) -> None:
    """What needs sharded roles before there are any."""
    from llamatune.errors import ModelError

    try:
        make(base, folder / "early", fsdp=True).evaluate()
    except ModelError as error:
        (folder / f"early.{RANK}.txt").write_text(str(error))


SCRIPTS = {"two processes": [alike, shares, resumed, failures], "sharded": [sharded, half, too_early]}

if __name__ == "__main__":
    from llamatune.launch.meeting import part_processes
    from llamatune.models.quiet import quiet_upstream

    with quiet_upstream():
        for part in SCRIPTS[sys.argv[1]]:
            part(Path(sys.argv[2]), Path(sys.argv[3]))
    part_processes()
