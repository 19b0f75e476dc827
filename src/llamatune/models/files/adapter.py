"""Whether a folder holds an adapter that can be loaded, trained on and merged, and what it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamatune.errors import ModelError
from llamatune.models.base import HEAD
from llamatune.models.files.gates import check_adapter_settings
from llamatune.models.files.settings import read_model_json
from llamatune.models.files.weights import check_not_pickled, tensors_in
from llamatune.wording import counted

_FOREIGN = (
    "layer_replication",
    "megatron_config",
    "corda_config",
    "lora_ga_config",
    "velora_config",
    "monteclora_config",
    "arrow_config",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
)
"""Settings of peft that change the base, import a module or read a file that they name, or cannot be merged."""


def check_adapter(folder: Path) -> bool:
    """Refuse an adapter that is broken, or has parts that only peft knows how to use; whether it judges (and does not
    write).

    Raises:
        ModelError: E204 and E234, weights or settings; E254 parts.
    """
    check_not_pickled(folder, "adapter_model.safetensors")
    tensors = tensors_in(folder / "adapter_model.safetensors", code="E234")
    settings = read_model_json(folder / "adapter_config.json")
    check_adapter_settings(settings, tensors, folder)
    _check_parts(settings, folder)
    scores = HEAD in (settings.get("modules_to_save") or []) or settings.get("task_type") == "SEQ_CLS"
    # An adapter on a head is none: under it is one that was drawn at random.
    if scores and not any(f".{HEAD}." in name and ".lora_" not in name for name in tensors):
        raise ModelError(
            "E234",
            "this reward adapter has no trained head",
            place=str(folder),
            why=f"no tensor of its file is a `{HEAD}` layer's, and without it scores would be random numbers",
            hint=f"save the adapter with `modules_to_save=['{HEAD}']`, or copy it again",
        )
    return scores


def check_halves(folder: Path) -> None:
    """Whether the file of an adapter holds matrices, and both of each layer, as far as its own names say it.

    Raises:
        ModelError: E234.
    """
    names = tensors_in(folder / "adapter_model.safetensors", code="E234")
    other = {".lora_A.": ".lora_B.", ".lora_B.": ".lora_A."}
    pairs = [(name, name.replace(half, other[half])) for name in names for half in other if half in name]
    alone = sorted(name for name, partner in pairs if partner not in names)
    if pairs and not alone:
        return
    raise ModelError(
        "E234",
        f"the adapter lacks the other half of {counted(len(alone), 'matrix', 'matrices')}, `{alone[0]}` first"
        if alone
        else "the adapter's file holds no matrices",
        place=str(folder),
        why="those layers would silently be left as they are in the base",
        hint="copy or download the adapter again",
    )


def _check_parts(settings: Mapping[str, Any], folder: Path) -> None:
    """Anything trained in addition to LoRA's matrices would be left out of a merge, or get in the way of saving."""
    kind = settings.get("peft_type", "LORA")
    modules = sorted(set(settings.get("modules_to_save") or []) - {HEAD, "classifier"})
    part = (
        f"it is a {kind} adapter"
        if kind != "LORA"
        else f"it holds whole layers (modules_to_save: {', '.join(modules)})"
        if modules
        else "it trains single tokens (trainable_token_indices)"
        if settings.get("trainable_token_indices")
        else next((f"`{name}` in its adapter_config.json" for name in _FOREIGN if settings.get(name)), None)
    )
    if part is not None:
        raise ModelError(
            "E254",
            f"this adapter has a part that llamatune does not support: {part}",
            place=str(folder),
            why="llamatune loads, trains and merges the matrices of LoRA and DoRA, and the head of a reward model",
            hint="merge it with peft (`PeftModel.merge_and_unload`), save that, and name the merged model as the base",
        )
