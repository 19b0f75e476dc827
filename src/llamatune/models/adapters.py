"""LoRA adapters: add, find, check against their base, load.

peft loads an adapter of another base without a word as long as the names that exist fit; the checks here are
what makes that an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.errors import ModelError
from llamatune.models.base import Base, check_weights
from llamatune.models.heads import HEAD, Task, hold_in_float32

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from llamatune.recipe.blocks import Lora

CARD = "llamatune.json"
"""What llamatune notes beside an artefact: its base, chat block, stage and version."""

_PREFIX = "base_model.model."


def add_adapter(model: PreTrainedModel, lora: Lora, *, task: Task = "generate") -> PreTrainedModel:
    """Freeze the model and put a new adapter on the chosen linear layers (LoRA, section 4).

    With `task: score` the head is trained and saved with the adapter.

    Raises:
        ModelError: targets that match nothing, or a rank larger than a layer.
    """
    from peft import LoraConfig, get_peft_model

    linear = linear_layers(model)
    targets = sorted({name.rsplit(".", 1)[-1] for name in linear} - {"lm_head", HEAD})
    if lora.targets != "all-linear":
        _check_targets(lora.targets, targets)
        targets = list(lora.targets)
    smallest = min(min(shape) for name, shape in linear.items() if name.rsplit(".", 1)[-1] in targets)
    if lora.rank > smallest:
        raise ModelError(
            "E231",
            f"rank {lora.rank} is larger than the smallest targeted layer ({smallest})",
            place="model.lora.rank",
            why="the adapter would have more weights than the layer",
            hint=f"use a rank of at most {smallest}; 8 to 64 are usual",
        )
    if task == "score":
        hold_in_float32(model)
    config = LoraConfig(
        **_peft_task(task),
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        use_rslora=lora.rs_lora,
        use_dora=lora.dora,
    )
    adapted = get_peft_model(model, config)
    _name_head_once(adapted)
    return adapted


def _name_head_once(model: PreTrainedModel) -> None:
    """peft adds its own names of heads to the list at every start."""
    config = model.peft_config["default"]
    if HEAD in (config.modules_to_save or []):
        config.modules_to_save = [HEAD]


def _peft_task(task: Task) -> dict[str, Any]:
    """peft's words: a head that is not named here would be random again after every reload."""
    return (
        {"task_type": "CAUSAL_LM"}
        if task == "generate"
        else {"task_type": "SEQ_CLS", "modules_to_save": [HEAD]}
    )


def keep_float32(model: torch.nn.Module) -> None:
    """Hold adapter weights in float32.

    trl's trainers turn the adapter of a 4-bit base to bfloat16, where an update below 0.4% of a weight is lost.
    Call it between building the trainer and training.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and ("lora_" in name or "modules_to_save" in name):
            weight.data = weight.data.float()


def linear_layers(model: torch.nn.Module) -> dict[str, tuple[int, int]]:
    """Name -> (in, out) of each linear layer, 4-bit layers included."""
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "in_features", None), int)
        and isinstance(getattr(module, "out_features", None), int)
    }


def _check_targets(asked: list[str], available: list[str]) -> None:
    wrong = [name for name in asked if name not in available]
    if wrong:
        raise ModelError(
            "E230",
            f"no linear layer is named {', '.join(f'`{name}`' for name in wrong)}",
            place="model.lora.targets",
            hint=f"this model has {', '.join(available)}; `all-linear` takes them all",
        )


def find_adapter(name: str) -> Path:
    """The folder of an adapter: itself, or the one inside a finished run.

    Raises:
        ModelError: no adapter there, or pickled weights.
    """
    folder = Path(name)
    for candidate in (folder, folder / "adapter"):
        if (candidate / "adapter_config.json").is_file():
            check_weights(candidate, "adapter_model.safetensors")
            return candidate
    raise ModelError(
        "E232",
        f"there is no adapter in `{name}`",
        place="model.adapter",
        why="an adapter folder holds adapter_config.json and adapter_model.safetensors",
        hint="check the path" if not folder.is_dir() else "has the run that writes it finished?",
    )


def adapter_task(folder: Path) -> Task:
    """What an adapter is made for."""
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return "score" if HEAD in (settings.get("modules_to_save") or []) else "generate"


def load_adapter(
    model: PreTrainedModel, folder: Path, base: Base, *, trainable: bool, task: Task = "generate"
) -> PreTrainedModel:
    """The model with the adapter on it, after checking that the adapter was made for this base.

    A chat adapter under `task: score` is the beginning of a reward adapter: its matrices, and a new head.

    Raises:
        ModelError: another base (shapes, layers or weights differ), or non-finite weights.
    """
    from peft import PeftConfig, PeftModel

    check_adapter(folder, base, linear_layers(model))
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    if task == "score":
        hold_in_float32(model)
    if task == "score" and HEAD not in (config.modules_to_save or []):
        loaded = _begin_reward_adapter(model, folder, config)
    else:
        loaded = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable, config=config)
    _name_head_once(loaded)
    broken = [
        name for name, weight in loaded.named_parameters() if "lora_" in name and not weight.isfinite().all()
    ]
    if broken:
        raise ModelError("E234", f"the adapter has non-finite weights ({broken[0]})", place=str(folder))
    return loaded


def _begin_reward_adapter(model: PreTrainedModel, folder: Path, config: Any) -> PreTrainedModel:
    """A chat adapter's matrices, and beside them the head that the model has."""
    from peft import get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    for name, value in _peft_task("score").items():
        setattr(config, name, value)
    head = getattr(model, HEAD).weight.detach().clone()
    name = config.base_model_name_or_path
    config.base_model_name_or_path = None  # peft would warn of, and note, a path of this machine
    adapted = get_peft_model(model, config)
    adapted.peft_config["default"].base_model_name_or_path = name
    matrices = load_file(folder / "adapter_model.safetensors")
    set_peft_model_state_dict(adapted, {**matrices, f"{_PREFIX}{HEAD}.weight": head})
    return adapted


def check_adapter(folder: Path, base: Base, layers: Mapping[str, tuple[int, int]]) -> None:
    """Compare an adapter's tensors with the base's linear layers, and its note with the base's weights."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    shapes = _tensor_shapes(folder / "adapter_model.safetensors")
    problems = []
    covered = set()
    for name, shape in shapes.items():
        layer, _, kind = name.removeprefix(_PREFIX).partition(".lora_")
        if layer == f"{HEAD}.weight":
            continue
        covered.add(layer)
        if layer not in layers:
            problems.append(f"{layer} does not exist in the base")
            continue
        inputs, outputs = layers[layer]
        if kind.startswith("A.") and shape[1] != inputs:
            problems.append(f"{layer} takes {inputs} inputs, the adapter {shape[1]}")
        if kind.startswith("B.") and shape[0] != outputs:
            problems.append(f"{layer} gives {outputs} outputs, the adapter {shape[0]}")
    targets = config.get("target_modules") or []
    for layer in layers:
        if isinstance(targets, list) and layer.rsplit(".", 1)[-1] in targets and layer not in covered:
            problems.append(f"{layer} has no adapter weights")
    trained_on = read_card(folder).get("base", {})
    if not problems and trained_on.get("fingerprint") not in (None, base.fingerprint):
        problems.append("the shapes fit, but the base has other weights")
    if problems:
        raise ModelError(
            "E233",
            f"this adapter was made for another base: {'; '.join(problems[:3])}",
            place=str(folder),
            why=f"it was trained on `{trained_on.get('name') or config.get('base_model_name_or_path')}`, "
            f"and the base here is `{base.name}`",
            hint="name the base that the adapter was trained on",
        )


def read_card(folder: Path) -> dict[str, Any]:
    """llamatune's note beside an artefact; empty for artefacts of other tools."""
    file = folder / CARD
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _tensor_shapes(file: Path) -> dict[str, list[int]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            return {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError("E234", f"the adapter's weights cannot be read: {error}", place=str(file)) from None
