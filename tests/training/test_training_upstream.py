"""Recipe words become upstream arguments; nothing upstream decides alone."""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TrainingArguments

from llamatune.errors import LlamatuneError, ModelError, RecipeError
from llamatune.models.placement import Placement, place
from llamatune.ppo import checks
from llamatune.ppo.from_recipe import ppo_config
from llamatune.ppo.roles import passes as roles
from llamatune.ppo.run_trainer import RecipePPOTrainer
from llamatune.recipe.blocks import Hardware, Lora, Model
from llamatune.recipe.load import loads
from llamatune.training.reward import RewardModelTrainer
from llamatune.training.sft import SftTrainer
from llamatune.training.upstream import (
    config_of,
    optimization_arguments,
    reward_config,
    run_arguments,
    sft_arguments,
    sft_config,
)

CPU = Placement("cpu", "float32", None, "sdpa", 1)


def recipe(**blocks: object):
    content = {"stage": "sft", "output": "runs/x", "data": {"train": [{"path": "x.jsonl"}]}, **blocks}
    return loads(json.dumps(content))


def ppo_recipe(**blocks: object):
    return recipe(stage="ppo", reward={"helpfulness": "runs/reward"}, **blocks)


def test_every_argument_exists_on_the_installed_class() -> None:
    from trl import SFTConfig

    known = {field.name for field in fields(SFTConfig)}
    assert set(sft_arguments(recipe(), CPU, Path("x"))) <= known


def test_what_all_stages_share_is_transformers_own() -> None:
    """A trainer of llamatune's own has no argument of trl's."""
    known = {field.name for field in fields(TrainingArguments)}
    ppo = ppo_recipe(optimization={"iterations": 3})
    shared = run_arguments(ppo, CPU, Path("x")) | optimization_arguments(ppo.optimization)
    assert set(shared) <= known
    assert not {"max_steps", "num_train_epochs", "per_device_train_batch_size"} & set(shared)
    everything = sft_arguments(recipe(), CPU, Path("x"))
    of_sft = run_arguments(recipe(), CPU, Path("x")) | optimization_arguments(recipe().optimization)
    assert {name: everything[name] for name in of_sft} == of_sft


def test_the_papers_values_for_ppo_reach_the_optimizer_settings() -> None:
    ppo = ppo_recipe()
    arguments = run_arguments(ppo, CPU, Path("x")) | optimization_arguments(ppo.optimization)
    config = config_of(TrainingArguments, arguments, ppo, CPU)
    assert (config.learning_rate, config.weight_decay, config.max_grad_norm) == (1e-6, 0.1, 1.0)
    assert (config.adam_beta1, config.adam_beta2, config.adam_epsilon) == (0.9, 0.95, 1e-5)
    assert config.lr_scheduler_type == "constant_with_warmup" and config.get_warmup_steps(1600) == 0


def test_upstream_of_another_config_class() -> None:
    ppo = ppo_recipe(upstream={"packing": True})
    with pytest.raises(RecipeError, match=r"E028.*TrainingArguments has no argument `packing`"):
        config_of(TrainingArguments, run_arguments(ppo, CPU, Path("x")), ppo, CPU)


def test_the_papers_values_reach_the_optimizer_settings() -> None:
    config = sft_config(recipe(), CPU, Path("x"))
    assert (config.learning_rate, config.weight_decay, config.num_train_epochs) == (2e-5, 0.1, 2)
    assert (config.adam_beta1, config.adam_beta2, config.adam_epsilon, config.max_grad_norm) == (
        0.9,
        0.95,
        1e-5,
        1.0,
    )
    assert config.lr_scheduler_kwargs == {"min_lr_rate": 0.1}
    assert config.per_device_train_batch_size == 64 and config.gradient_accumulation_steps == 1
    named = sft_config(recipe(output="runs/mine"), CPU, Path("runs/mine/checkpoints")).run_name
    assert named == "mine", "trackers call a run as its folder is called"
    assert config.report_to == [] and not config.push_to_hub and config.gradient_checkpointing is False


@pytest.mark.parametrize(("schedule", "final"), [("cosine", 0.2), ("linear", 0.2), ("constant", 1.0)])
def test_schedules_end_where_the_recipe_says(schedule: str, final: float) -> None:
    import torch
    from transformers import get_scheduler

    settings = {"schedule": schedule, "final_fraction": 0.2, "warmup": 10, "learning_rate": 1e-3}
    config = sft_config(recipe(optimization=settings), CPU, Path("x"))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    scheduler = get_scheduler(
        config.lr_scheduler_type, optimizer, config.get_warmup_steps(100), 100, config.lr_scheduler_kwargs
    )
    rates = []
    for _ in range(101):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[5] == pytest.approx(0.5e-3) and rates[10] == pytest.approx(1e-3)
    assert rates[100] == pytest.approx(final * 1e-3)


def test_sharding_becomes_accelerates_fsdp2() -> None:
    """One process does not shard; of several, FSDP's own activation checkpointing, and parts in host memory."""
    hardware = {"sharding": "fsdp", "cpu_offload": True, "activation_checkpointing": True}
    asked = recipe(hardware=hardware)
    with pytest.raises(RecipeError, match="this is one"):
        sft_config(asked, place(asked.model, asked.hardware), Path("out"))
    two = Placement("cpu", "float32", None, None, 2, sharded=True)
    assert two.loads_on == "cpu"
    settings = sft_config(asked, two, Path("out")).fsdp_plugin_args
    assert settings["fsdp_version"] == 2 and settings["reshard_after_forward"] is True
    assert settings["cpu_offload"] is True and settings["activation_checkpointing"] is True
    assert settings["cpu_ram_efficient_loading"] is False
    assert run_arguments(asked, two, Path("out"))["activation_checkpointing"] is False
    assert "fsdp" not in run_arguments(recipe(), CPU, Path("out"))


def test_bad_input_31_more_processes_than_rows_in_a_batch() -> None:
    crowd = Placement("cpu", "float32", None, "sdpa", 3)
    with pytest.raises(RecipeError, match=r"E025.*3 processes cannot share a batch of 2"):
        sft_config(recipe(optimization={"batch_size": 2}), crowd, Path("x"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("neftune_noise", "did you mean `neftune_noise_alpha`"),
        ("learning_rate", "recipe field"),
        ("save_only_model", "is set by llamatune"),
        ("loss_type", "`upstream` takes dataloader_num_workers, "),
        ("load_best_model_at_end", "ignored or do harm"),
    ],
)
def test_upstream_names_are_checked_against_the_installed_class(name: str, said: str) -> None:
    with pytest.raises(RecipeError, match="E028") as caught:
        sft_config(recipe(upstream={name: 5.0}), CPU, Path("x"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dataloader_num_workers": "four"}, "takes a whole number from 0 up, found 'four'"),
        ({"dataloader_num_workers": -1}, "takes a whole number from 0 up, found -1"),
        ({"neftune_noise_alpha": [0.1]}, "takes a number"),
        ({"neftune_noise_alpha": float("inf")}, "takes a number"),
        ({"full_determinism": "yes"}, "takes true or false"),
        ({"tf32": 1}, "takes true or false or null"),
        ({"tf32": True}, "refuses these settings"),
        ({"torch_empty_cache_steps": 0}, "refuses these settings"),
    ],
    ids=str,
)
def test_upstream_values_that_cannot_be_are_refused_before_training(
    settings: dict[str, object], said: str
) -> None:
    with pytest.raises(RecipeError, match=f"E028.*{said}"):
        sft_config(recipe(upstream=settings), CPU, Path("x"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.sampled_from(["", "x", "no", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "type"]), inner, max_size=2)
    ),
    max_leaves=4,
)
STAGES = {
    "sft": (recipe(), sft_config),
    "reward": (recipe(stage="reward"), reward_config),
    "ppo": (ppo_recipe(), partial(ppo_config, width=1)),
}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(STAGES)), st.data())
def test_whatever_upstream_holds_is_taken_or_refused(stage: str, data: st.DataObject) -> None:
    made, config = STAGES[stage]
    names = [field.name for field in fields(type(config(made, CPU, Path("x"))))]
    name = st.sampled_from(names) | st.text(max_size=5)
    upstream = data.draw(st.dictionaries(name, JSON, max_size=3))
    try:
        config(made.model_copy(update={"upstream": upstream}), CPU, Path("x"))
    except LlamatuneError as error:
        assert all(problem.place for problem in error.problems)


def upstream_of(stage: str) -> tuple[type, set[str]]:
    """The config class of a stage, and the names that `upstream` takes there."""
    made, config = STAGES[stage]
    kind = type(config(made, CPU, Path("x")))
    taken = set()
    for name in (field.name for field in fields(kind)):
        try:
            config(made.model_copy(update={"upstream": {name: "?"}}), CPU, Path("x"))
        except RecipeError as error:
            said = str(error)
            assert error.problems[0].code == "E028" and error.problems[0].hint, said
            if "is set by llamatune" not in said and "has no place here" not in said:
                taken.add(name)
        else:
            taken.add(name)
    return kind, taken


def test_of_all_fields_only_those_with_an_effect_are_taken() -> None:
    everywhere = {"full_determinism", "tf32", "ddp_backend", "ddp_timeout", "ddp_bucket_cap_mb"}
    everywhere |= {"ddp_broadcast_buffers"}
    rows = everywhere | {"dataloader_num_workers", "neftune_noise_alpha", "torch_empty_cache_steps"}
    assert upstream_of("sft")[1] == upstream_of("reward")[1] == rows
    more = {"generation_batch_size", "max_prompt_length", "stop_token_ids", "fsdp", "fsdp_config"}
    assert upstream_of("ppo")[1] == everywhere | more


@pytest.mark.parametrize(
    ("stage", "trainer"), [("sft", SftTrainer), ("reward", RewardModelTrainer), ("ppo", RecipePPOTrainer)]
)
def test_what_is_taken_is_read_by_a_method_that_is_used(stage: str, trainer: type) -> None:
    """Of each method, the first definition counts, and those that it calls by `super()`."""
    kind, taken = upstream_of(stage)
    read = (
        "".join(used_source(trainer))
        + "".join(used_source(kind))
        + inspect.getsource(roles)
        + inspect.getsource(checks)
    )
    missing = {name for name in taken if not re.search(rf"(args|self)\.{name}\b", read)}
    assert not missing


def used_source(kind: type) -> Iterator[str]:
    ended: set[str] = set()
    for one in kind.__mro__:
        for name, found in vars(one).items():
            function = getattr(found, "fget", None) or getattr(found, "func", None) or found
            if name in ended or not inspect.isfunction(function):
                continue
            try:
                source = inspect.getsource(function)
            # What `dataclass` makes has none.
            except OSError:
                continue
            yield source
            if "super()" not in source:
                ended.add(name)


def test_upstream_arguments_arrive() -> None:
    config = sft_config(recipe(upstream={"neftune_noise_alpha": 5.0}), CPU, Path("x"))
    assert config.neftune_noise_alpha == 5


@pytest.mark.parametrize("name", ["ddp_timeout", "ddp_bucket_cap_mb"])
def test_arguments_of_several_processes_are_refused_in_one(name: str) -> None:
    asked = recipe(upstream={name: 60})
    with pytest.raises(RecipeError, match=rf"E028.*`{name}` would change nothing(.|\n)*llamatune launch"):
        sft_config(asked, CPU, Path("x"))
    assert getattr(sft_config(asked, replace(CPU, processes=2), Path("x")), name) == 60
    sharded = replace(CPU, processes=2, sharded=True)
    if name == "ddp_timeout":
        assert sft_config(asked, sharded, Path("x")).ddp_timeout == 60
    else:
        with pytest.raises(RecipeError, match=r"E028(.|\n)*hardware.sharding"):
            sft_config(asked, sharded, Path("x"))


def test_bad_input_29_what_this_machine_cannot_do() -> None:
    with pytest.raises(ModelError, match=r"E220.*float16"):
        place(Model(dtype="float16", lora=Lora()), Hardware(device="cpu"))
    with pytest.raises(ModelError, match=r"E220.*flash_attention_2"):
        place(Model(attention="flash_attention_2"), Hardware(device="cpu"))
    with pytest.raises(ModelError, match=r"E220.*paged_adamw_32bit needs a GPU"):
        sft_config(recipe(optimization={"optimizer": "paged_adamw_32bit"}), CPU, Path("x"))
    with pytest.raises(ModelError, match=r"E220.*activation_offloading needs a GPU"):
        sft_config(recipe(hardware={"activation_offloading": True}), CPU, Path("x"))
