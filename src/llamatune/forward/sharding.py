"""Models whose weights FSDP2 spreads over the processes: whether they are, and how to get whole ones again.

Every pass through such a model is an exchange: all processes make the same number of passes, in the same order.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

State = Mapping[str, torch.Tensor]


def is_sharded(module: nn.Module) -> bool:
    return isinstance(module, FSDPModule)


def resharded(model: nn.Module) -> nn.Module:
    """The model with each weight in parts: after a pass without gradients, the layers at both ends are left whole."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    return model


def whole(weight: torch.Tensor) -> torch.Tensor:
    """A weight with all its parts; if it is sharded, every process must ask for it."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def whole_state(state: State, *, keep: bool) -> dict[str, torch.Tensor]:
    """Weights with all their parts, in main memory; in processes that do not `keep` them, nothing."""
    found = {}
    for name, weight in state.items():
        gathered = whole(weight)
        if keep:
            found[name] = gathered.detach().cpu()
    return found


def without_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A copy that has everything but weights. Made before the model is sharded, to be filled afterwards."""
    empty: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach().to("meta"), requires_grad=weight.requires_grad)
        for weight in model.parameters()
    }
    return copy.deepcopy(model, empty)


def whole_model(shell: PreTrainedModel, model: PreTrainedModel, *, keep: bool) -> PreTrainedModel:
    """A plain copy of a sharded model in main memory, where it is to be kept; elsewhere the shell.

    All processes must call this together.

    Args:
        shell: from `without_weights`; stays as it is.
    """
    state = whole_state(resharded(model).state_dict(), keep=keep)
    if not keep:
        return shell
    found = copy.deepcopy(shell)
    found.load_state_dict(state, assign=True)
    found.tie_weights()
    return found
