"""The weights of roles: adapters by name, and files of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from llamatune.ppo.roles.sharding import spread

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


POLICY, REFERENCE, VALUE = "default", "reference", "value"
"""Names of adapters; peft saves the one named `default` without a name."""


def adapter_weights(model: PeftModel, name: str) -> dict[str, torch.Tensor]:
    """An adapter's weights by the names that peft saves them under."""
    from peft import get_peft_model_state_dict

    state: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, adapter_name=name, save_embedding_layers=False
    )
    return {key: weight.detach().clone() for key, weight in state.items()}


def set_adapter_weights(model: PeftModel, name: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises RuntimeError where a weight is missing or has no place."""
    from peft import set_peft_model_state_dict

    placed = spread(weights, adapter_weights(model, name))
    result = set_peft_model_state_dict(model, placed, adapter_name=name)
    mine = [key for key in result.missing_keys if "lora_" in key and f".{name}." in key]
    if mine or result.unexpected_keys:
        raise RuntimeError(f"adapter {name}: missing {mine[:3]}, unexpected {result.unexpected_keys[:3]}")


def add_adapter_copy(
    model: PeftModel, name: str, weights: Mapping[str, torch.Tensor], config: Any = None
) -> None:
    """Add an adapter with these weights; its shape is the policy's if no config is given."""
    added = copy.deepcopy(config or model.peft_config[POLICY])
    added.inference_mode = False
    model.add_adapter(name, added)
    set_adapter_weights(model, name, weights)


def save_weights(state: Mapping[str, torch.Tensor], file: Path) -> None:
    # clone: safetensors refuses tensors that share memory
    save_file({name: weight.detach().cpu().clone().contiguous() for name, weight in state.items()}, file)


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """The weights in a folder, all of them and no others; tied ones are stored once."""
    state: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        state.update(load_file(file))
    missing, unexpected = model.load_state_dict(spread(state, model.state_dict()), strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    if unexpected or set(missing) - tied:
        raise RuntimeError(f"{folder}: missing {list(missing)[:3]}, unexpected {list(unexpected)[:3]}")
