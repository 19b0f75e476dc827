"""The one module that knows upstream argument names.

Recipes use the words of the field; here they become the arguments of trl's config classes, and of transformers'
TrainingArguments, which all of them share. A test asserts that each name exists on the installed class, so an upstream
rename fails a test instead of being ignored.

Most arguments belong to what llamatune does itself (data, batches, loss, evaluation, checkpoints, trackers) and would
change nothing, or the wrong thing. `upstream` takes those that have an effect, and refuses all others; a test walks the
fields of the installed classes.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from llamatune.errors import LlamatuneError, RecipeError
from llamatune.models.placement import Placement, check_cpu
from llamatune.recipe.blocks import AdamW, Hardware
from llamatune.recipe.stages.common import EpochRecipe, TrainingRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.trackers import check_trackers

if TYPE_CHECKING:
    from trl import RewardConfig, SFTConfig

_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw_32bit": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}

HEEDED = frozenset(
    {
        "full_determinism",
        "tf32",
        "ddp_backend",
        "ddp_timeout",
        "ddp_bucket_cap_mb",
        "ddp_broadcast_buffers",
    }
)
"""Arguments that have an effect in every stage, for `upstream`."""

_OF_WHOLE_WEIGHTS = ("ddp_bucket_cap_mb", "ddp_broadcast_buffers")
HEEDED_FOR_EPOCHS = HEEDED | {"dataloader_num_workers", "neftune_noise_alpha", "torch_empty_cache_steps"}
"""Those of the stages that go through rows."""


def sft_config(recipe: EpochRecipe, placement: Placement, output: Path) -> SFTConfig:
    """The trl config for a pretrain or sft recipe. Raises what `config_of` raises."""
    from trl import SFTConfig

    arguments = sft_arguments(recipe, placement, output)
    return config_of(SFTConfig, arguments, recipe, placement, HEEDED_FOR_EPOCHS)


def reward_config(recipe: RewardRecipe, placement: Placement, output: Path) -> RewardConfig:
    """The trl config for a reward recipe. Raises what `config_of` raises."""
    from trl import RewardConfig

    arguments = reward_arguments(recipe, placement, output)
    return config_of(RewardConfig, arguments, recipe, placement, HEEDED_FOR_EPOCHS)


def sft_arguments(recipe: EpochRecipe, placement: Placement, output: Path) -> dict[str, Any]:
    """Every argument that llamatune decides for trl's SFTTrainer."""
    # Rows come tokenised, labelled and cut to length, with a collator of our own.
    return _trl_arguments(recipe, placement, output) | {
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "packing": False,
        # The loss is that of the tokens alone. trl would have a mixture of experts return its router's logits, too,
        # and with these on transformers cannot sample from it.
        "router_aux_loss_coef": 0.0,
    }


def reward_arguments(recipe: RewardRecipe, placement: Placement, output: Path) -> dict[str, Any]:
    """Every argument that llamatune decides for trl's RewardTrainer."""
    # An adapter's dropout is the recipe's choice, and scores are read in evaluation mode.
    return _trl_arguments(recipe, placement, output) | {"disable_dropout": False}


Config = TypeVar("Config")


def config_of(
    kind: type[Config],
    arguments: dict[str, Any],
    recipe: TrainingRecipe,
    placement: Placement,
    heeded: frozenset[str] = HEEDED,
) -> Config:
    """A trainer's config, from the arguments that llamatune decides and those under `upstream`.

    Args:
        kind: a dataclass, TrainingArguments or one derived from it.
        arguments: names that `upstream` may not set, and their values.
        heeded: names that `upstream` may set.

    Raises:
        RecipeError: an `upstream` name that `kind` does not have, that `arguments` decide or that has no effect, or a
            value that it refuses; a tracker that is not installed; or more processes than rows in a batch.
        ModelError: what needs a GPU, without one.
    """
    if placement.device == "cpu":
        check_cpu(recipe)
    _check_processes(recipe.optimization.batch_size, placement)
    check_trackers(recipe.logging.report_to)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    _check_upstream(recipe.upstream, known, set(arguments), heeded, kind.__name__)
    _check_ddp(recipe.upstream, placement)
    _check_types(recipe.upstream, kind)
    try:
        return kind(**arguments, **recipe.upstream)
    except LlamatuneError:
        raise
    # Whatever upstream raises: a missing package or file, an attribute of a value of another type.
    except Exception as error:
        if not recipe.upstream:
            raise
        raise RecipeError(
            "E028",
            f"{kind.__name__} refuses these settings: {error}",
            place="upstream",
            why="they do not go together, or not with this machine",
            hint=f"remove them from `upstream`, one by one: {', '.join(recipe.upstream)}",
        ) from None


def run_arguments(recipe: TrainingRecipe, placement: Placement, output: Path) -> dict[str, Any]:
    """Arguments of transformers' TrainingArguments that all stages share; nothing that matters is left to an upstream
    default."""
    sharded = recipe.hardware.sharding != "none"
    # Under FSDP it is FSDP's own: the other would gather each layer's weights once more.
    checkpointing = recipe.hardware.activation_checkpointing and not sharded
    return {
        "output_dir": str(output),
        "run_name": Path(recipe.output).resolve().name,  # what trackers call it
        **_reporting(recipe),
        "remove_unused_columns": False,
        "dataloader_pin_memory": placement.device == "cuda",
        "activation_checkpointing": checkpointing,
        "gradient_checkpointing": checkpointing,
        "bf16": placement.autocast == "bfloat16",
        "fp16": placement.autocast == "float16",
        "use_cpu": placement.device == "cpu",
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "save_strategy": "no",  # `flow` decides when to save, evaluate and stop, ours to the byte
        "save_total_limit": None,
        "save_only_model": False,  # nobody could go on from such a checkpoint
        "push_to_hub": False,
        **({"fsdp": True, "fsdp_config": _fsdp(recipe.hardware)} if sharded else {}),
    }


def _fsdp(hardware: Hardware) -> dict[str, Any]:
    return {
        "version": 2,
        "reshard_after_forward": True,
        "cpu_offload": hardware.cpu_offload,
        "activation_checkpointing": hardware.activation_checkpointing,
        # Weights are checked in each process when they are loaded.
        "cpu_ram_efficient_loading": False,
        # What is saved is ours (see `sharded_state`).
        "state_dict_type": "SHARDED_STATE_DICT",
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    }


def optimization_arguments(settings: AdamW) -> dict[str, Any]:
    """Arguments of transformers' TrainingArguments for the optimizer and its schedule, but not for how long to
    train."""
    schedules: dict[str, tuple[str, dict[str, float]]] = {
        "cosine": ("cosine_with_min_lr", {"min_lr_rate": settings.final_fraction}),
        "linear": ("polynomial", {"lr_end": settings.final_fraction * settings.learning_rate, "power": 1.0}),
        "constant": ("constant_with_warmup", {}),
    }
    schedule, schedule_arguments = schedules[settings.schedule]
    return {
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": schedule,
        "lr_scheduler_kwargs": schedule_arguments,
        "warmup_steps": settings.warmup,
        "optim": _OPTIMIZERS[settings.optimizer],
        "weight_decay": settings.weight_decay,
        "adam_beta1": settings.beta1,
        "adam_beta2": settings.beta2,
        "adam_epsilon": settings.eps,
        "max_grad_norm": settings.max_grad_norm,
    }


def _trl_arguments(recipe: EpochRecipe, placement: Placement, output: Path) -> dict[str, Any]:
    """What the trainers of global batches share."""
    settings = recipe.optimization
    return {
        **run_arguments(recipe, placement, output),
        **optimization_arguments(settings),
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps if settings.max_steps is not None else -1,
        # The trainer sees one batch a step, the global one; how it is cut is not upstream's business.
        "per_device_train_batch_size": max(settings.batch_size // placement.processes, 1),
        "gradient_accumulation_steps": 1,
        "average_tokens_across_devices": True,
        "ddp_find_unused_parameters": False,
        "dataloader_drop_last": False,
        "max_length": None,  # rows come cut to length
        "activation_offloading": recipe.hardware.activation_offloading,
    }


def _reporting(recipe: TrainingRecipe) -> dict[str, Any]:
    return {
        "logging_strategy": "steps",
        "logging_steps": recipe.logging.every_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # upstream's default shows a NaN loss as 0.0
        "eval_strategy": "no",
        "prediction_loss_only": True,  # evaluation never keeps logits
        "report_to": "none",  # see `trackers`
        "trackio_static_space_id": False,  # upstream's default may publish the run on the hub
        "disable_tqdm": True,
        "log_level": "error",
    }


def _check_processes(batch_size: int, placement: Placement) -> None:
    processes = placement.processes
    if placement.sharded and processes == 1:
        raise RecipeError(
            "E025",
            "sharding spreads the weights over several processes, and this is one",
            place="hardware.sharding",
            hint="start it with `llamatune launch`, or set `hardware.sharding=none`",
        )
    if processes > batch_size:
        raise RecipeError(
            "E025",
            f"{processes} processes cannot share a batch of {batch_size}",
            place="optimization.batch_size",
            why="batch_size is the global batch: each process works on some of its rows",
            hint=f"use at most {batch_size} processes, or raise the batch size",
        )


def _check_upstream(
    asked: dict[str, Any], known: set[str], ours: set[str], heeded: frozenset[str], config: str
) -> None:
    for name in asked:
        if name in ours:
            raise RecipeError(
                "E028",
                f"`{name}` is set by llamatune",
                place=f"upstream.{name}",
                why="the recipe's own fields decide it",
                hint="use the recipe field (see `llamatune schema`), and remove it from `upstream`",
            )
        if name not in known:
            near = difflib.get_close_matches(name, heeded, n=1)
            raise RecipeError(
                "E028",
                f"the installed {config} has no argument `{name}`",
                place=f"upstream.{name}",
                why="it would be ignored",
                hint=f"did you mean `{near[0]}`?" if near else _what_is_taken(heeded),
            )
        if name not in heeded:
            raise RecipeError(
                "E028",
                f"`{name}` has no place here",
                place=f"upstream.{name}",
                why="it belongs to a part of the trainer that llamatune replaces, so it would be ignored or do harm",
                hint=_what_is_taken(heeded),
            )


def _check_ddp(asked: dict[str, Any], placement: Placement) -> None:
    """Arguments of DDP, which nobody reads in one process; where weights are sharded, those of its meeting only."""
    for name in asked:
        if name.startswith("ddp_") and placement.processes == 1:
            why = "it is about what several processes do together, and this is one"
            hint = "start the run with `llamatune launch`, or remove it from `upstream`"
        elif name in _OF_WHOLE_WEIGHTS and placement.sharded:
            why = "with `hardware.sharding` no process has the whole weights that it is about"
            hint = "remove it from `upstream`"
        else:
            continue
        what = f"`{name}` would change nothing"
        raise RecipeError("E028", what, place=f"upstream.{name}", why=why, hint=hint)


def _what_is_taken(heeded: frozenset[str]) -> str:
    return f"remove it; `upstream` takes {', '.join(sorted(heeded))}"


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number from 0 up",
    float: "a number from 0 up",
    str: "text",
    list[int]: "a list of whole numbers",
    NoneType: "null",
}


def _check_types(asked: dict[str, Any], kind: type) -> None:
    """A dataclass takes any value, and a wrong one would show in the middle of a run. No number that `upstream` takes
    may be below 0. Arguments that may be mappings are left to `kind`."""
    hints = get_type_hints(kind)
    for name, value in asked.items():
        hint = hints[name]
        taken = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if all(one in _WORDS for one in taken) and not any(_is_a(value, one) for one in taken):
            raise RecipeError(
                "E028",
                f"`{name}` takes {' or '.join(_WORDS[one] for one in taken)}, found {value!r:.60}",
                place=f"upstream.{name}",
                why="a value of another type would fail in the middle of the run, or be ignored",
                hint=f"write {_WORDS[taken[0]]}, or remove it from `upstream`",
            )


def _is_a(value: Any, taken: Any) -> bool:
    if taken is float:
        return type(value) in (int, float) and 0 <= value < math.inf
    if taken is int:
        return type(value) is int and value >= 0
    if taken == list[int]:
        return isinstance(value, list) and all(_is_a(one, int) for one in value)
    return type(value) is taken
