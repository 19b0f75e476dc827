"""Every stage that trains: several processes, with weights whole or sharded, learn what one learns; killed, they go on.

FSDP2 runs here on CPUs by the way around accelerate's list of devices that `ppo/trainings.py` has.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from launch.stages import RECIPES, ROOT, SHARDED, recipe, run_all, torchrun

pytestmark = pytest.mark.slow

KILLED = ["pretrain", "reward", "ppo", "fsdp-sft", "fsdp-ppo"]
"""SFT with whole weights is in `test_launch.py`."""
SEVERAL = [*RECIPES, *(f"fsdp-{name}" for name in SHARDED)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    run_all("straight", folder, list(RECIPES))
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, one: Path) -> Path:
    """The same in two processes, with weights whole and then sharded. PPO is judged by the same model as in one."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "straight").mkdir()
    (folder / "straight/reward-lora").symlink_to(one / "straight/reward-lora")
    done = torchrun("straight", folder, *(name for name in SEVERAL if name != "reward-lora"))
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def figures(run: Path) -> list[dict[str, Any]]:
    """What was learnt at each step, without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name != "time" and value is not None}
        for line in lines
    ]


def weights(run: Path) -> dict[str, torch.Tensor]:
    (folder,) = (run / name for name in ("adapter", "model") if (run / name).is_dir())
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


@pytest.mark.parametrize("name", [name for name in SEVERAL if name != "reward-lora"])
def test_two_processes_learn_what_one_learns(one: Path, two: Path, name: str) -> None:
    alone = one / "straight" / name.removeprefix("fsdp-")
    together = two / "straight" / name
    for line, other in zip(figures(together), figures(alone), strict=True):
        assert line == pytest.approx(other, rel=1e-4, abs=1e-5)
        for loss in {"loss", "eval_loss"} & line.keys():
            assert line[loss] == pytest.approx(other[loss], rel=1e-5, abs=1e-5)
    found, expected = weights(together), weights(alone)
    assert found.keys() == expected.keys()
    for weight, value in expected.items():
        torch.testing.assert_close(found[weight], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in SEVERAL if name.startswith("fsdp-")])
def test_a_sharded_checkpoint_holds_each_process_s_part(two: Path, name: str) -> None:
    """PPO's has the whole policy, as `PPOTrainer` writes it, and parts of the optimizer's state alone."""
    checkpoint = two / "straight" / name / "checkpoints/checkpoint-4"
    assert not [file for file in checkpoint.rglob("*") if file.suffix in (".bin", ".distcp", ".metadata")]
    assert all((checkpoint / f"optimizer_{process}.safetensors").is_file() for process in (0, 1))
    if name == "fsdp-ppo":
        return
    parts = [load_file(checkpoint / f"weights_{process}.safetensors") for process in (0, 1)]
    whole = weights(two / "straight" / name)
    assert sum(part.numel() for parts_of in parts for part in parts_of.values()) == sum(
        value.numel() for value in whole.values()
    )


@pytest.fixture(scope="module")
def gone_on(two: Path) -> Path:
    """Each run is killed in its own processes; all go on in the same two."""
    for name in KILLED:
        done = torchrun("killed", two, name)
        assert done.returncode != 0 and "SIGKILL" in done.stderr
        left = two / "again" / name / "checkpoints"
        assert [one.name for one in left.iterdir() if (one / "manifest.json").exists()] == ["checkpoint-2"]
    done = torchrun("again", two, *KILLED)
    assert done.returncode == 0, done.stderr[-5000:]
    return two


@pytest.mark.parametrize("name", KILLED)
def test_killed_and_gone_on_with_bitwise(gone_on: Path, name: str) -> None:
    assert figures(gone_on / "again" / name) == figures(gone_on / "straight" / name)
    found, expected = weights(gone_on / "again" / name), weights(gone_on / "straight" / name)
    assert all(torch.equal(found[weight], value) for weight, value in expected.items())


def test_four_processes_learn_what_one_learns(one: Path, tmp_path: Path) -> None:
    done = torchrun("straight", tmp_path, "sft", "fsdp-sft", processes=4)
    assert done.returncode == 0, done.stderr[-5000:]
    for name in ("sft", "fsdp-sft"):
        found, expected = weights(tmp_path / "straight" / name), weights(one / "straight/sft")
        for weight, value in expected.items():
            torch.testing.assert_close(found[weight], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hardware": {"cpu_offload": True}}, "belongs to `sharding: fsdp`"),
        ({"hardware": {"sharding": "fsdp"}, "model": {"lora": {}, "quantization": "nf4"}}, "nf4"),
        ({"hardware": {"sharding": "fsdp"}, "optimization": {"optimizer": "adamw_8bit"}}, "adamw_8bit"),
        ({"hardware": {"sharding": "fsdp"}, "model": {"attention": "flash_attention_2"}}, "attention: auto"),
    ],
)
def test_what_cannot_be_sharded_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    from llamatune.errors import RecipeError
    from llamatune.recipe.load import loads

    with pytest.raises(RecipeError, match=says):
        loads(json.dumps(recipe("sft", tmp_path, "x") | changes))


def test_stages_that_are_not_sharded_say_so(tmp_path: Path) -> None:
    from llamatune.errors import RecipeError
    from llamatune.recipe.load import loads

    asked = {
        "stage": "gatt",
        "output": "x",
        "data": {"train": [{"card": "pico-prompts-helpful"}]},
        "hardware": {"sharding": "fsdp"},
    }
    with pytest.raises(RecipeError, match="gatt works with whole weights"):
        loads(json.dumps(asked))
    offloaded = {"hardware": {"sharding": "fsdp", "cpu_offload": True}}
    with pytest.raises(RecipeError, match="cpu_offload.*ppo"):
        loads(json.dumps(recipe("ppo", tmp_path, "x") | offloaded))


def test_sharding_needs_several_processes_and_gpus(tmp_path: Path) -> None:
    from llamatune.errors import RecipeError
    from llamatune.pipeline import run
    from llamatune.recipe.load import loads

    asked = loads(json.dumps(recipe("sft", tmp_path, "x") | {"hardware": {"sharding": "fsdp"}}))
    with pytest.raises(RecipeError, match="this is one"):
        run(asked, recipe_dir=ROOT)
