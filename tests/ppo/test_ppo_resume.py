"""A run that was killed and went on is, to the last bit, the run that nothing disturbed."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_runs import STEPS, ended, fork_server, trainer_in
from safetensors.torch import load_file
from tiny_ppo import METHODS, both, logged, trained, trainer_of, weights_of

PLACES = {
    "rollout": [("rollout", 7, 4), ("rollout", 7, 8)],
    "score": [("score", 2, 4), ("read", 4, 8)],
    "update": [("update", 5, 4), ("step", 6, 8)],
}
"""By what the run is doing: at which call it dies, and behind which step that is; and again, having gone on from a
checkpoint (of every third step: in the first and third case its completions are written again)."""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServerContext]:
    yield fork_server()


@pytest.fixture(scope="module")
def undisturbed(server: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of each method that nothing disturbed."""
    folders: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in folders:
            folder = tmp_path_factory.mktemp("undisturbed") / method
            assert ended(server, folder, method) == 0, log_of(folder)
            folders[method] = folder
        return folders[method]

    return of


def log_of(folder: Path) -> str:
    return Path(f"{folder}.log").read_text()[-3000:]


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


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", METHODS)
def test_b25_killed_twice_and_resumed_bitwise_equal(
    server: ForkServerContext,
    undisturbed: Callable[[str], Path],
    tmp_path: Path,
    method: str,
    place: str,
) -> None:
    """kill -9 in the middle of rollout, scoring and update: weights of all roles, Adam's moments, schedule, random
    states, KL controller, running whitening, log and completions are those of the run that nothing disturbed."""
    folder = tmp_path / "run"
    for where, call, step in PLACES[place]:
        assert ended(server, folder, method, (where, call)) == -signal.SIGKILL, log_of(folder)
        assert f"killed in {where} behind step {step}\n" in log_of(folder)
        assert not (folder / f"checkpoint-{STEPS}").exists()
    assert ended(server, folder, method) == 0, log_of(folder)
    found = files_of(folder)
    assert_same(files_of(undisturbed(method)), found)
    written = [json.loads(line)["iteration"] for line in found["completions"].splitlines()]
    assert written == [iteration for iteration in range(STEPS // 4) for _ in range(8)], (
        "none twice, none lost"
    )


@pytest.mark.parametrize("method", METHODS)
def test_a25_b37_what_a_checkpoint_holds(undisturbed: Callable[[str], Path], method: str) -> None:
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


@both
def test_b25_a_checkpoint_in_the_middle_of_an_iteration(
    undisturbed: Callable[[str], Path], tmp_path: Path, method: str
) -> None:
    """It holds the iteration's experience, which is not made again; one between two iterations holds none."""
    assert (undisturbed(method) / "checkpoint-21/experience.safetensors").is_file()
    assert not (undisturbed(method) / f"checkpoint-{STEPS}/experience.safetensors").exists()
    folder = tmp_path / "run"
    shutil.copytree(undisturbed(method), folder)
    shutil.rmtree(folder / f"checkpoint-{STEPS}")
    trainer = trainer_in(str(folder), method)
    collected: list[int] = []
    collect = trainer.collect
    trainer.collect = lambda iteration: (collected.append(iteration), collect(iteration))[1]
    trainer.train(resume_from_checkpoint=True)
    assert collected == []  # steps 21 to 24 are all of the sixth iteration
    assert_same(files_of(undisturbed(method)), files_of(folder))


def test_b37_without_its_moments_a_run_goes_on_differently(
    undisturbed: Callable[[str], Path], tmp_path: Path
) -> None:
    """The comparison sees an optimizer that begins anew."""
    folder = tmp_path / "run"
    shutil.copytree(undisturbed("separate"), folder)
    shutil.rmtree(folder / f"checkpoint-{STEPS}")
    file = folder / "checkpoint-21/optimizer.pt"
    state = torch.load(file, weights_only=True)
    for moments in state["state"].values():
        moments["exp_avg"].zero_()
    torch.save(state, file)
    trainer_in(str(folder), "separate").train(resume_from_checkpoint=True)
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
