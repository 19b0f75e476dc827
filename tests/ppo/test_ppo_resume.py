"""A run that goes on from a checkpoint is, to the last bit, the run that nothing disturbed.

Kills, signals and full disks: tests/faults/test_faults_ppo.py.
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file
from tiny_ppo import both, logged, lora, policy_of, shaken, texts, trained, trainer_of, weights_of

STEPS = 24
"""Six iterations of four steps: two mini-batches, twice. A checkpoint every 3 steps: in the middle of an iteration as
well as between two."""


def noisy(completion_ids: list[list[int]], **others: Any) -> list[float]:
    """A reward that draws from the random states of torch, numpy and Python, as a resumed run must, too."""
    drawn = [float(torch.rand(1)) + random.random() + float(np.random.rand()) for _ in completion_ids]
    return [sum(ids) / len(ids) / 20 - 1 + noise for ids, noise in zip(completion_ids, drawn, strict=True)]


def trainer_in(folder: Path, method: str) -> Any:
    model = policy_of()
    if method == "adapters":  # one that was itself trained as an adapter: the reference is an adapter, too
        torch.manual_seed(3)
        model = shaken(get_peft_model(model, lora(lora_dropout=0.1)), 3)
    return trainer_of(
        folder,
        model=model,
        prompts=texts(13),
        eval_dataset=texts(20).select(range(16, 20)),
        reward_funcs=noisy,
        max_steps=STEPS,
        num_ppo_epochs=2,
        learning_rate=5e-3,
        critic_learning_rate=1e-2,
        lr_scheduler_type="cosine",
        warmup_steps=3,
        kl_controller="adaptive",
        kl_target=0.5,
        kl_horizon=50,
        whiten_scores="running",
        missing_eos_penalty=0.3,
        logging_steps=2,
        save_strategy="steps",
        save_steps=3,
        eval_strategy="steps",
        eval_steps=4,
        log_completions=True,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of each method that nothing disturbed."""
    folders: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in folders:
            folders[method] = tmp_path_factory.mktemp("undisturbed") / method
            trainer_in(folders[method], method).train()
        return folders[method]

    return of


def left_at(step: int, run: Path, folder: Path) -> Path:
    """What a run leaves that was killed after this checkpoint: the later ones are missing, its completions are not."""
    shutil.copytree(run, folder)
    for later in folder.glob("checkpoint-*"):
        if int(later.name.split("-")[1]) > step:
            shutil.rmtree(later)
    return folder


def files_of(folder: Path) -> dict[str, Any]:
    """Everything that the last checkpoint says, as numbers: no file holds a time that a test could not leave out."""
    last = folder / f"checkpoint-{STEPS}"
    found: dict[str, Any] = {}
    for file in sorted(last.rglob("*.safetensors")):
        found |= {f"{file.relative_to(last)}/{name}": weight for name, weight in load_file(file).items()}
    optimizer = torch.load(last / "optimizer.pt", weights_only=True)
    for number, state in optimizer["state"].items():
        found |= {f"adam/{number}/{name}": value for name, value in state.items()}
    found["groups"] = optimizer["param_groups"]
    found["scheduler"] = torch.load(last / "scheduler.pt", weights_only=True)
    random = torch.load(last / "rng_state.pth", weights_only=False)
    found |= {f"random/{name}": repr(state) for name, state in random.items()}
    found["ppo"] = json.loads((last / "ppo_state.json").read_text())
    state = json.loads((last / "trainer_state.json").read_text())
    timed = ("runtime", "per_second", "flos")
    found["history"] = [
        {name: value for name, value in line.items() if not any(word in name for word in timed)}
        for line in state["log_history"]
    ]
    found["completions"] = (folder / "completions.jsonl").read_text()
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
        assert same, name


@pytest.mark.proves("B25")
@pytest.mark.parametrize("step", [12, 18, 21])
@both
def test_resumed_bitwise_equal(
    undisturbed: Callable[[str], Path], tmp_path: Path, method: str, step: int
) -> None:
    """Weights of all roles, Adam's moments, schedule, random states, KL controller, running whitening, log and
    completions are those of the run that nothing disturbed; between two iterations (12) as well as within one, whose
    experience is in the checkpoint and is not made again."""
    run = undisturbed(method)
    assert (run / f"checkpoint-{step}/experience.safetensors").is_file() == (step % 4 > 0)
    folder = left_at(step, run, tmp_path / "run")
    trainer = trainer_in(folder, method)
    collected: list[int] = []
    collect = trainer.collect
    trainer.collect = lambda iteration: (collected.append(iteration), collect(iteration))[1]
    trainer.train(resume_from_checkpoint=True)
    assert collected == list(range(-(-step // 4), STEPS // 4))
    found = files_of(folder)
    assert_same(files_of(run), found)
    written = [json.loads(line)["iteration"] for line in found["completions"].splitlines()]
    every = [iteration for iteration in range(STEPS // 4) for _ in range(8)]
    assert written == every, "none twice, none lost"


@pytest.mark.proves("A25", "B37")
@both
def test_what_a_checkpoint_holds(undisturbed: Callable[[str], Path], method: str) -> None:
    """The run above did learn, and its controller, its moments and its schedule did move: equality says something."""
    found = files_of(undisturbed(method))
    assert found["ppo"]["kl"]["coef"] != 0.01
    assert found["ppo"]["moments"]["count"] == 8 * STEPS // 4 and found["ppo"]["moments"]["squares"] > 0
    moments = [value for name, value in found.items() if name.startswith("adam/") and "exp_avg" in name]
    assert len(moments) > 20 and sum(bool(value.any()) for value in moments) > 0.9 * len(moments)
    assert {float(value) for name, value in found.items() if name.endswith("/step")} == {float(STEPS)}
    assert len({tuple(group["betas"]) for group in found["groups"]}) == 1
    rates = [line["learning_rate"] for line in found["history"] if "learning_rate" in line]
    assert len(set(rates)) == len(rates) == STEPS // 2
    assert sum("eval_reward" in line for line in found["history"]) == STEPS // 4
    assert any(name.startswith("critic/") for name in found)


@pytest.mark.proves("B37")
def test_without_its_moments_a_run_goes_on_differently(
    undisturbed: Callable[[str], Path], tmp_path: Path
) -> None:
    """The comparison sees an optimizer that begins anew."""
    folder = left_at(21, undisturbed("separate"), tmp_path / "run")
    file = folder / "checkpoint-21/optimizer.pt"
    state = torch.load(file, weights_only=True)
    for moments in state["state"].values():
        moments["exp_avg"].zero_()
    torch.save(state, file)
    trainer_in(folder, "separate").train(resume_from_checkpoint=True)
    with pytest.raises(AssertionError):
        assert_same(files_of(undisturbed("separate")), files_of(folder))


def test_a_resumed_run_may_be_longer(tmp_path: Path) -> None:
    """From its last checkpoint, as if it had been so long from the beginning."""
    settings = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-2}
    whole = trained(tmp_path / "whole", max_steps=6, **settings)
    trained(tmp_path / "parts", max_steps=4, **settings)
    second = trainer_of(tmp_path / "parts", max_steps=6, **settings)
    second.train(resume_from_checkpoint=str(tmp_path / "parts/checkpoint-4"))
    assert logged(second, "loss") == logged(whole, "loss")
    one, other = weights_of(whole), weights_of(second)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
