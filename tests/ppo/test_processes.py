"""Several processes give the update of one (docs/ppo_correctness.md)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llamatune.runs.status import Position, looked_at
from ppo.trainings import ALIKE, End, alike, judge, make, torchrun

Base = Callable[..., Path]


@pytest.fixture(scope="module")
def base(tiny_base: Base) -> Path:
    return tiny_base()


@pytest.fixture(scope="module")
def one(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of one process wrote."""
    folder = tmp_path_factory.mktemp("one")
    alike(base, folder)
    return folder


@pytest.fixture(scope="module")
def two(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes wrote."""
    folder = tmp_path_factory.mktemp("two")
    torchrun("two processes", base, folder)
    return folder


def assert_same_figures(curve: list[dict[str, float]], other: list[dict[str, float]]) -> None:
    assert len(curve) == len(other) and len(curve) > 5
    for line, other_line in zip(curve, other, strict=True):
        assert line == pytest.approx(other_line, rel=1e-5, abs=1e-6)


@pytest.mark.proves("B8")
@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_make_the_updates_of_one(one: Path, two: Path, name: str) -> None:
    """Policy and critic in float32, rows that do not split evenly; `idle` leaves a process without any row."""
    alone = End.of(one, name)
    for rank in (0, 1):
        end = End.of(two, name, rank)
        assert end.weights.keys() == alone.weights.keys()
        assert any("critic" in weight or "value" in weight for weight in end.weights)
        for weight, expected in alone.weights.items():
            torch.testing.assert_close(end.weights[weight], expected, rtol=0, atol=1e-6)
        assert_same_figures(end.curve, alone.curve)
    first, second = (End.of(two, name, rank).weights for rank in (0, 1))
    assert all(torch.equal(first[weight], second[weight]) for weight in first)


@pytest.mark.proves("B8")
def test_the_size_of_passes_changes_nothing(base: Path, one: Path, tmp_path: Path) -> None:
    changes = ALIKE["separate"] | {"per_device_train_batch_size": 5, "generation_batch_size": 6}
    trainer = make(base, tmp_path, **changes)
    trainer.train()
    alone = End.of(one, "separate")
    for weight, value in trainer.roles.named_parameters():
        if value.requires_grad:
            torch.testing.assert_close(value, alone.weights[weight], rtol=0, atol=1e-6)


@pytest.mark.proves("A16", "B13")
@pytest.mark.parametrize("name", ALIKE)
def test_whitening_is_over_all_processes(one: Path, two: Path, name: str) -> None:
    """Mean 0 and deviation 1 over the tokens of the whole iteration; the same numbers in every process."""
    alone = End.of(one, name).experience
    for rank in (0, 1):
        found = End.of(two, name, rank).experience
        advantages = found["advantages"][found["trained"]].double()
        assert float(advantages.mean()) == pytest.approx(0, abs=1e-6)
        assert float(advantages.std(correction=0)) == pytest.approx(1, abs=1e-5)
        for tensor in ("advantages", "returns", "rewards", "reward"):
            torch.testing.assert_close(found[tensor], alone[tensor], rtol=1e-5, atol=1e-5)


def shares(two: Path) -> list[dict[str, Any]]:
    return [json.loads((two / f"shares.{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.proves("A24")
def test_processes_sample_disjoint_rows_and_completions_differ(two: Path) -> None:
    """Every row once, each with a seed of its own, in the same order in all processes."""
    first, second = (set(share["seeds"]) for share in shares(two))
    assert first and second and not first & second and len(first | second) == 6
    lines = [json.loads(line) for line in (two / "shares/completions.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    alike = [line["completion"] for line in lines if line["prompt"] == "say it again"]
    assert len(alike) == len(set(alike)) == 5


@pytest.mark.proves("B31")
def test_figures_are_those_of_all_processes(two: Path) -> None:
    """A reward that is the process's number: its mean is over rows, and processes have different numbers of them."""
    lines = [json.loads(line) for line in (two / "shares/completions.jsonl").read_text().splitlines()]
    mean = sum(line["reward"] for line in lines) / len(lines)
    assert mean != 0.5
    for share in shares(two):
        assert [line["reward"] for line in share["curve"]] == pytest.approx([mean] * 4)
    assert shares(two)[0]["curve"] == shares(two)[1]["curve"]


@pytest.mark.proves("B21")
def test_processes_with_adapters_save_and_resume_bitwise(base: Path, two: Path) -> None:
    """Saved in the middle of an iteration; what is saved has the plain layout of peft."""
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    for rank in (0, 1):
        whole, again = End.of(two, "whole", rank), End.of(two, "again", rank)
        assert all(torch.equal(whole.weights[name], again.weights[name]) for name in whole.weights)
        assert again.curve == whole.curve
    saved = load_file(two / "whole/adapter_model.safetensors")
    policy = {name: weight for name, weight in whole.weights.items() if ".default." in name}
    assert len(saved) == len(policy) > 0
    for name, weight in policy.items():
        plain = name.removeprefix("backbone.").replace(".default.", ".")
        assert torch.equal(saved[plain], weight)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), two / "whole")
    assert loaded.active_adapter == "default"


@pytest.mark.proves("H6")
def test_roles_that_do_not_act_need_no_gradient(two: Path) -> None:
    """DistributedDataParallel would wait for the role that is not acting; its hooks stay idle (checked in `shares`),
    and both roles of both ways are trained."""
    for name in ("separate", "adapters"):
        curve = End.of(two, name).curve
        assert all(line["policy_grad_norm"] > 0 for line in curve if "loss" in line)
        assert all(line["grad_norm"] > line["policy_grad_norm"] for line in curve[1:] if "loss" in line)


def test_what_fails_in_one_process_fails_in_all(two: Path) -> None:
    first, second = (json.loads((two / f"failures.{rank}.json").read_text()) for rank in (0, 1))
    assert first["reward"] == second["reward"] and first["reward"].startswith("DataError: error[E146]")
    assert second["sampler"] == "ZeroDivisionError: division by zero"
    assert first["sampler"] == "RuntimeError: in another process: ZeroDivisionError: division by zero"
    assert first["loss"] == second["loss"] and first["loss"].startswith("DivergedError: error[E602]")


def test_fsdp_is_refused_where_accelerate_would_not_shard(two: Path) -> None:
    """On CPUs it would train with DDP, without a word."""
    told = json.loads((two / "failures.0.json").read_text())
    assert told["fsdp"].startswith("ModelError: error[E240] PPOConfig.fsdp: `fsdp` is for GPUs")


def test_where_a_step_is_can_be_seen_by_the_other_processes(base: Path, tmp_path: Path) -> None:
    """Each piece says so, and around the pieces nobody calls it stuck."""

    class Noted(Position):
        def move(self, doing: str) -> None:
            super().move(doing)
            noted.append(doing)

    noted: list[str] = []
    with looked_at(Noted()):
        make(base, tmp_path / "run", judge(base), max_steps=1).train()
    passes = {f"in a pass of the {role} model" for role in ("policy", "reference", "value")}
    assert set(noted) == {"", "sampling a token", "scoring replies", *passes}
    assert noted[-1] == "" and noted.count("sampling a token") >= 12
