"""FSDP2 (docs/ppo_correctness.md): sharded roles make the updates of one process, are saved whole and gone on with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import nn

from llamatune.errors import LlamatuneError, ModelError
from llamatune.ppo.config import PPOConfig
from llamatune.ppo.roles import sharding
from ppo.trainings import ALIKE, End, alike, curve, make, torchrun

pytestmark = pytest.mark.slow

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
def sharded(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes wrote that share the roles' weights."""
    folder = tmp_path_factory.mktemp("sharded")
    torchrun("sharded", base, folder)
    return folder


@pytest.mark.proves("B27")
@pytest.mark.parametrize("name", ALIKE)
def test_sharded_roles_make_the_updates_of_one_process(one: Path, sharded: Path, name: str) -> None:
    """Three iterations of sampling, scoring and updates; `idle` leaves a process without any row."""
    alone = End.of(one, name)
    for rank in (0, 1):
        end = End.of(sharded, name, rank)
        assert end.weights.keys() == alone.weights.keys()
        for weight, expected in alone.weights.items():
            torch.testing.assert_close(end.weights[weight], expected, rtol=0, atol=1e-6)
        assert len(end.curve) == len(alone.curve) > 8
        for line, other in zip(end.curve, alone.curve, strict=True):
            assert line == pytest.approx(other, rel=2e-5, abs=1e-6)


@pytest.mark.proves("B27")
@pytest.mark.parametrize("name", [*ALIKE, "half"])
def test_a_sharded_run_goes_on_bitwise(sharded: Path, name: str) -> None:
    for rank in (0, 1):
        whole, again = End.of(sharded, name, rank), End.of(sharded, f"{name} again", rank)
        assert all(torch.equal(whole.weights[weight], again.weights[weight]) for weight in whole.weights)
        assert again.curve == whole.curve


@pytest.mark.proves("B27")
def test_in_16_bits_the_updates_are_about_the_same(base: Path, sharded: Path, tmp_path: Path) -> None:
    """Weights stay in float32; samples are drawn, and passes made, in bfloat16, with activation checkpointing."""
    alone = make(base, tmp_path, max_steps=4)
    alone.train()
    end = End.of(sharded, "half")
    assert {weight.dtype for weight in end.weights.values()} == {torch.float32}
    for line, other in zip(end.curve, curve(alone), strict=True):
        for figure in ("loss", "grad_norm", "policy_grad_norm", "ratio"):
            assert line[figure] == pytest.approx(other[figure], rel=0.02, abs=0.002)


@pytest.mark.proves("B22")
@pytest.mark.parametrize("name", ["separate", "idle", "half"])
def test_the_saved_policy_is_plain_and_whole(base: Path, sharded: Path, name: str) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    saved = load_file(sharded / name / "model.safetensors")
    assert saved.keys() == load_file(base / "model.safetensors").keys()
    model, loading = AutoModelForCausalLM.from_pretrained(sharded / name, output_loading_info=True)
    assert not any(loading.values())
    trained = End.of(sharded, name).weights
    for weight, value in model.named_parameters():
        assert torch.equal(value, trained[f"policy.{weight}"])
    assert not list((sharded / name).glob("**/pytorch_model_fsdp*")), "the roles are written once"


@pytest.mark.proves("B22")
def test_the_saved_adapter_is_plain_and_whole(base: Path, sharded: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    trained = End.of(sharded, "adapters").weights
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), sharded / "adapters")
    adapter = {name: weight for name, weight in loaded.named_parameters() if "lora_" in name}
    assert len(adapter) == sum(".default." in name for name in trained) > 0
    for name, weight in adapter.items():
        assert torch.equal(weight, trained[f"backbone.{name}"])


@pytest.mark.proves("H5")
def test_switching_roles_changes_nothing_but_flags(sharded: Path) -> None:
    """What is trained stays the same, and no byte of what is frozen moves: checked by each process in `sharded`. Both
    roles learn."""
    curve = End.of(sharded, "adapters").curve
    steps = [line for line in curve if "loss" in line]
    assert all(0 < line["policy_grad_norm"] < line["grad_norm"] for line in steps[1:])


def test_evaluating_before_the_roles_are_sharded_is_refused(sharded: Path) -> None:
    for rank in (0, 1):
        assert "`evaluate` before `train`" in (sharded / f"early.{rank}.txt").read_text()


# ---- what is refused before anything is spent -----------------------------------------------------------------

PLUGINS: dict[str, dict[str, Any]] = {
    "is FSDP1": {"fsdp_version": 1},
    "loads weights in one process only": {"fsdp_version": 2, "cpu_ram_efficient_loading": True},
    "keeps weights off the device": {
        "fsdp_version": 2,
        "cpu_ram_efficient_loading": False,
        "cpu_offload": True,
    },
}


@pytest.mark.parametrize("what", PLUGINS)
def test_ways_of_fsdp_that_ppo_cannot_go(what: str) -> None:
    with pytest.raises(ModelError, match=what):
        sharding.check(FullyShardedDataParallelPlugin(**PLUGINS[what]), nn.Linear(2, 2))


def test_weights_that_fsdp_cannot_shard_for_ppo() -> None:
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, cpu_ram_efficient_loading=False)
    sharding.check(plugin, nn.Linear(2, 2))
    mixed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).bfloat16())
    with pytest.raises(ModelError, match="bfloat16 and torch.float32"):
        sharding.check(plugin, mixed)
    plugin.set_mixed_precision("bf16")
    sharding.check(plugin, mixed)
    quantised = nn.ParameterList([nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)])
    with pytest.raises(ModelError, match="quantised"):
        sharding.check(plugin, quantised)


@pytest.mark.proves("H7", "B28")
@pytest.mark.parametrize("way", ["argument", "launcher"])
def test_deepspeed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    config = tmp_path / "zero.json"
    config.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    if way == "launcher":
        monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(LlamatuneError, match="DeepSpeed is not supported"):
        PPOConfig(output_dir=str(tmp_path), deepspeed=str(config) if way == "argument" else None)
