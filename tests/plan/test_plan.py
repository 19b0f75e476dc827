"""`llamatune plan`: shapes, what is trained, what makes a recipe fit, and what is said when nothing is known."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llamatune.cli import app
from llamatune.commands.measure import MeasuredStep
from llamatune.commands.plan import measured_line
from llamatune.errors import LlamatuneError, ModelError
from llamatune.models.base import BUILTIN
from llamatune.models.files.weights import tensors_in
from llamatune.plan import devices
from llamatune.plan.bases import adapter_shape, origin_of
from llamatune.plan.devices import CARDS, device_of
from llamatune.plan.needs import need_of, trained_count
from llamatune.plan.planned import plan, plan_all
from llamatune.plan.shapes import KNOWN_CONFIGS, known_shape, shape_of
from llamatune.plan.work import CO2_A_KWH
from llamatune.recipe.blocks import Lora
from llamatune.recipe.load import loads
from llamatune.recipe.recipes import Recipe
from support import ROOT

RECIPES = sorted(
    file.relative_to(ROOT / "recipes").with_suffix("").as_posix()
    for file in (ROOT / "recipes").rglob("*.yaml")
    if not re.search(r"^stage: pipeline$", file.read_text("utf-8"), re.MULTILINE)
)
"""Those of a single stage."""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("meta-llama/Llama-2-13b-hf", 13_015_864_320),
        ("meta-llama/Llama-2-70b-hf", 68_976_648_192),
        ("meta-llama/Meta-Llama-3-8B", 8_030_261_248),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008),
        ("huggyllama/llama-65b", 65_285_660_672),
    ],
)
def test_known_shapes_have_the_published_number_of_weights(name: str, weights: int) -> None:
    assert known_shape(name).weights == weights


def test_a_config_gives_the_weights_of_its_files() -> None:
    shape = shape_of(json.loads((BUILTIN / "pico/config.json").read_text()), "pico")
    tensors = tensors_in(BUILTIN / "pico/model.safetensors")
    assert shape.weights == sum(map(math.prod, tensors.values()))


def test_adapters_have_the_published_number_of_weights() -> None:
    """Guanaco-7B's, and what SmolLM2's first run reports (docs/first_run.md)."""
    assert adapter_shape(known_shape("huggyllama/llama-7b"), Lora(rank=64)).count == 159_907_840
    assert adapter_shape(known_shape("HuggingFaceTB/SmolLM2-135M"), Lora(rank=16)).count == 4_884_480


def test_a_run_that_is_still_to_come_is_found_by_the_recipe_that_makes_it() -> None:
    """ppo_qlora trains the adapter of sft_qlora, of rank 64, and a critic's like it; ppo trains two whole models."""
    recipe = load_shipped("llama2_chat/ppo_qlora")
    assert trained_count(recipe, origin_of(recipe)) == 2 * 159_907_840
    whole = load_shipped("llama2_chat/ppo")
    assert origin_of(whole).shape.weights == 6_738_415_616
    assert trained_count(whole, origin_of(whole)) == 2 * 6_738_415_616 - 32_000 * 4_096


def load_shipped(name: str) -> Recipe:
    return loads((ROOT / "recipes" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("card", ["h100", "l4"])
def test_what_is_advised_is_what_the_recipe_takes_and_it_helps(card: str) -> None:
    """Of every shipped recipe that does not fit: each way lowers the peak, and its overrides give that peak."""
    helped = 0
    for name in RECIPES:
        planned = plan(name, device=card)
        peaks = [planned.need.peak.bytes, *(way.peak for way in planned.ways)]
        assert peaks == sorted(peaks, reverse=True)
        # What only samples halves its answers by itself, and may still be too much.
        assert planned.fits == (not planned.ways) or not planned.trained
        for way in planned.ways:
            again = plan(name, way.overrides, device=card, ways=False)
            assert again.need.peak.bytes == way.peak and again.fits == way.fits, (name, way)
        helped += bool(planned.ways) and planned.ways[-1].fits
    assert helped >= 5


def test_ways_come_in_the_order_of_what_they_cost() -> None:
    ways = [way.what.split(",")[0].split(":")[0] for way in plan("baize/sft_30b", device="rtx4090").ways]
    assert ways == [
        "recompute activations",
        "smaller passes",
        "hold the frozen base in 4 bits",
    ]


def test_a_stage_that_only_asks_is_told_of_4_bits() -> None:
    base = ("model.base=meta-llama/Llama-2-13b-hf", "model.adapter=null", "model.quantization=none")
    (way,) = plan("llama2_chat/rejection_sampling", base, device="a100-40").ways
    assert way.fits and way.overrides == ("model.quantization=nf4",)


def test_longer_rows_and_more_rows_take_more_and_a_budget_bounds_them() -> None:
    def peak(*overrides: str) -> float:
        return plan("vicuna/sft_7b_qlora", overrides, device="h100", ways=False).need.peak.bytes

    assert peak("data.max_length=1024") == peak(), "the budget of 8,192 tokens is the same"
    assert peak("data.max_length=16384") > peak(), "a row is never cut"
    assert peak("hardware.micro_batch_tokens=4096") < peak()


def test_sampling_takes_as_many_answers_as_fit() -> None:
    small, large = (plan("llama2_chat/ppo_qlora", device=card, ways=False) for card in ("rtx4090", "h200"))
    assert small.fits and large.fits
    assert (small.need.at_once or 0) < (large.need.at_once or 0) <= 256


def test_more_devices_take_less_time_and_the_bytes_of_an_exchange() -> None:
    one, eight = (plan("alpaca/sft_7b", device="h200", devices=count, ways=False) for count in (1, 8))
    assert eight.work.seconds == pytest.approx(one.work.seconds / 8)
    assert eight.work.device_hours == pytest.approx(one.work.device_hours)
    assert eight.need.peak.bytes > one.need.peak.bytes


def test_machines_are_so_many_times_the_devices() -> None:
    names = {"device": "h200", "ways": False}
    two = plan("alpaca/sft_7b", ["hardware.sharding=fsdp"], devices=4, nodes=2, **names)
    eight = plan("alpaca/sft_7b", ["hardware.sharding=fsdp"], devices=8, **names)
    assert two.devices == 8 and two.need == eight.need and two.work == eight.work


def test_sharding_divides_what_is_held_and_not_the_passes() -> None:
    """Llama 2 7B, all weights: 16 bytes each on one card, and an eighth of that on each of eight."""

    def parts(*overrides: str) -> dict[str, float]:
        eight = ["hardware.devices=8", *overrides]
        found = plan("alpaca/sft_7b", eight, device="h100", ways=False)
        assert found.devices == 8
        return {part.name: part.bytes for part in found.need.peak.parts}

    whole, sharded = parts(), parts("hardware.sharding=fsdp")
    assert sharded["its part of the weights"] == pytest.approx(whole["weights"] / 8)
    for name in ("gradients", "optimizer"):
        assert sharded[name] == pytest.approx(whole[name] / 8)
    assert sharded["activations"] == whole["activations"]
    offloaded = parts("hardware.sharding=fsdp", "hardware.cpu_offload=true")
    assert not {"its part of the weights", "gradients", "optimizer"} & offloaded.keys()
    assert sum(offloaded.values()) < sum(sharded.values()) < sum(whole.values()) / 2


def test_sharding_is_advised_where_there_are_several_devices() -> None:
    def keys(devices: int) -> set[str]:
        ways = plan("alpaca/sft_7b", device="rtx4090", devices=devices).ways
        return {one.partition("=")[0] for way in ways for one in way.overrides}

    assert "hardware.sharding" not in keys(1)
    assert "hardware.sharding" in keys(8) and "model.lora.rank" not in keys(8)


def test_energy_is_that_of_the_papers_table() -> None:
    """184,320 hours at 400 W: 73,728 kWh, for which the paper gives 31.22 t of CO2."""
    work = replace(plan("alpaca/sft_7b", device="a100-80", ways=False).work, seconds=184_320 * 3600.0)
    assert work.kilowatt_hours == pytest.approx(73_728)
    assert (work.kilowatt_hours or 0) * CO2_A_KWH == pytest.approx(31_220, rel=1e-3)


def test_rows_of_a_file_are_counted_or_estimated_from_its_first_ones() -> None:
    row = json.dumps({"instruction": "What is a tern?", "output": "A bird. " * 20})
    Path("rows.jsonl").write_text(f"{row}\n" * 3000)
    Path("few.jsonl").write_text(f"{row}\n" * 100)
    for file, rows in (("rows.jsonl", 3000), ("few.jsonl", 100)):
        Path("r.yaml").write_text(f"stage: sft\noutput: runs/r\ndata: {{train: [{{path: {file}}}]}}\n")
        work = plan("r.yaml", ["optimization.epochs=1"], device="cpu").work
        assert work.rows == pytest.approx(rows, rel=0.05) and work.tokens / work.rows == pytest.approx(
            44, rel=0.1
        )


def test_json_holds_what_the_lines_say() -> None:
    done = CliRunner().invoke(app, ["plan", "llama2_chat/sft_qlora", "--device", "h100", "--json"])
    found = json.loads(done.stdout)
    assert found["memory"]["fits"] and found["device"]["name"] == "h100"
    always = [
        part for part in found["memory"]["parts"] if part["when"] in ("always", found["memory"]["reached"])
    ]
    assert sum(part["bytes"] for part in always) == pytest.approx(found["memory"]["peak"], abs=len(always))
    lines = CliRunner().invoke(app, ["plan", "llama2_chat/sft_qlora", "--device", "h100"]).stdout
    assert "fits" in lines and "(guess)" in lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "r.yaml"], "E260"),
        (["plan", "pico/sft", "--device", "h10"], "did you mean `h100`"),
        (["plan", "pico/sft", "model.lora.targets=[nothing]"], "E230"),
    ],
)
def test_what_is_not_known_is_said(arguments: list[str], said: str) -> None:
    Path("r.yaml").write_text(
        "stage: sft\noutput: runs/r\nmodel: {base: some/model}\ndata: {train: [{path: rows.jsonl}]}\n"
    )
    with pytest.raises(LlamatuneError) as error:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert said in str(error.value)


@pytest.mark.parametrize("change", [{"num_experts": 8}, {"hidden_size": None}, {"hidden_size": 0}])
def test_shapes_that_the_formula_is_not_for(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="E260"):
        shape_of({**KNOWN_CONFIGS["meta-llama/Llama-2-7b-hf"], **change}, "some/model")


def test_every_card_is_named_by_its_own_name() -> None:
    assert all(device_of(name.upper()).name == name for name in CARDS)


@pytest.fixture
def a_card_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None, str | None], None]:
    """A driver's files that name a card, and an nvidia-smi that says a line, each None where it is not there."""

    def there(model: str | None, line: str | None) -> None:
        tools = tmp_path / "bin"
        tools.mkdir()
        monkeypatch.setattr(devices, "DRIVERS", (str(tools),))
        monkeypatch.setattr(devices, "NVIDIA_CARDS", tmp_path / "gpus")
        monkeypatch.setattr(devices, "AMD_CARDS", tmp_path / "none")
        monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
        if model is not None:
            file = tmp_path / "gpus/0000:01:00.0/information"
            file.parent.mkdir(parents=True)
            file.write_text(f"Model: \t\t {model}\nIRQ:   \t\t 122\n")
        tool = tools / "nvidia-smi"
        tool.write_text("#!/bin/sh\n" + ("exit 9\n" if line is None else f"echo '{line}'\n"))
        tool.chmod(0o755)

    return there


@pytest.mark.parametrize(
    ("model", "line", "card"),
    [
        ("NVIDIA H200", None, "h200"),
        ("NVIDIA H100 80GB HBM3", None, "h100"),
        ("NVIDIA A100-SXM4-80GB", None, "a100-80"),
        ("NVIDIA A100-PCIE-40GB", None, "a100-40"),
        ("NVIDIA GeForce RTX 4090", None, "rtx4090"),
        ("Unknown", "NVIDIA L4, 23034", "l4"),
        (None, "NVIDIA L40S, 46068", "l40s"),
    ],
)
def test_a_card_that_is_here_is_known_by_its_name(
    a_card_here: Callable[[str | None, str | None], None], model: str | None, line: str | None, card: str
) -> None:
    a_card_here(model, line)
    assert device_of(None) == CARDS[card]


@pytest.mark.parametrize(
    ("model", "line", "memory"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090 Laptop GPU, 16376", 16376 * 2**20),
        ("NVIDIA H100 PCIe", "nothing that is understood", 80e9),
        (None, None, 80e9),
    ],
)
def test_a_card_that_is_not_known_is_said_to_be_a_guess(
    a_card_here: Callable[[str | None, str | None], None], model: str | None, line: str | None, memory: float
) -> None:
    a_card_here(model, line)
    assert device_of(None).memory == memory
    for recipe in ("alpaca/sft_7b", "llama2_chat/pipeline_qlora"):
        said = CliRunner().invoke(app, ["plan", recipe]).stdout
        assert "--device names another" in said and (model or "the card here is not known") in said
    found = json.loads(CliRunner().invoke(app, ["plan", "alpaca/sft_7b", "--json"]).stdout)
    assert found["device"]["guess"] and "--device" in found["guesses"][0]
    step = MeasuredStep(4, 96, 1e9, 1e9, 2.0, None)
    assert "plan:" not in measured_line(step).partition("at the peak")[2].partition(", ")[2]


def test_pretraining_ppo_and_rewards_are_planned_on_any_device() -> None:
    for name in ("pico/pretrain", "pico/reward_safety", "pico/ppo", "pico/sft_qlora"):
        recipe = load_shipped(name)
        for device in ("cpu", "l4"):
            assert need_of(recipe, origin_of(recipe), device_of(device)).peak.bytes < 6e9, name


def test_steps_side_by_side_take_as_long_as_those_that_wait_for_each_other() -> None:
    one, two, many = (
        plan_all("llama2_chat/pipeline_qlora", [f"side_by_side={count}"], device="h100").seconds
        for count in (1, 2, 64)
    )
    planned = plan_all("llama2_chat/pipeline_qlora", device="h100")
    ends: dict[str, float] = {}
    for step in planned.pipeline.steps:
        begins = max((ends[name] for name in step.needs), default=0.0)
        ends[step.name] = begins + planned.steps[step.name].work.seconds
    assert one == pytest.approx(sum(step.work.seconds for step in planned.steps.values()))
    assert many == pytest.approx(max(ends.values())) and max(many, one / 2) <= two < one


def test_the_command_for_one_step_names_a_shipped_recipe_as_commands_do() -> None:
    said = CliRunner().invoke(app, ["plan", "stable_beluga/pipeline", "--device", "h100"]).output
    assert "for one step in full: llamatune plan stable_beluga/sft_part1 [KEY=VALUE ...]" in said


def test_of_a_stage_that_makes_data_come_its_models_and_the_answers_under_way() -> None:
    few, many = (
        plan("llama2_chat/rejection_sampling", [f"sampling.samples={k}"], device="h200") for k in (4, 16)
    )
    parts = {part.name: part.bytes for part in many.need.peak.parts}
    assert {"weights", "adapter", "reward model, helpfulness", "reward model, safety"} <= set(parts)
    assert many.trained == 0 and many.need.peak.reached == "sampling"
    # More answers take longer, and no more memory.
    assert many.work.rows == 4 * few.work.rows and many.work.seconds > 3 * few.work.seconds
    assert many.need.peak.bytes == few.need.peak.bytes
    # Where memory is scarce there are fewer at once.
    small = plan("llama2_chat/rejection_sampling", device="h100")
    assert small.fits and (small.need.at_once or 0) < (many.need.at_once or 0)


def test_a_second_model_is_held_beside_the_first() -> None:
    one = plan("pico/preferences", device="l4").need.peak.bytes
    two = plan("pico/preferences", ["other.base=HuggingFaceTB/SmolLM2-135M"], device="l4").need.peak
    held = next(part for part in two.parts if part.name == "the other model")
    assert held.bytes == 2 * known_shape("HuggingFaceTB/SmolLM2-135M").weights
    assert two.bytes == pytest.approx(one + 1.05 * held.bytes)
