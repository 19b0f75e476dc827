"""Roles whose weights FSDP2 spreads over the processes (accelerate's plugin: `fsdp=True` in PPOConfig).

Every pass of a role is then an exchange: all processes make the same number of passes, in the same order. Sampling
cannot be, so the policy's weights are gathered once before it, into a plain copy that each process samples from by
itself and that is dropped afterwards (paper, section 3.2.4: "we consolidated the model weights to each node once before
generation and then freed the memory after generation"). The copy takes the memory of the whole policy, in the precision
of the passes, on each device, in addition to its own shards of all roles; there are no activations or gradients at that
time.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.fsdp import CPUOffloadPolicy
from torch.distributed.tensor import DTensor, distribute_tensor

from llamatune.errors import ModelError
from llamatune.forward.sharding import State, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments


def asked_for(args: TrainingArguments) -> bool:
    """Whether these arguments, or `accelerate launch`, ask for FSDP."""
    return bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def check(plugin: Any, roles: nn.Module) -> None:
    """Check that what FSDP was asked for can be done.

    Args:
        plugin: accelerate's, None where it does not shard on this device.

    Raises:
        ModelError: FSDP1, a CPU, weights off the device, quantised weights, several precisions.
    """
    # Outputs of roles are views, and nobody changes them in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    if plugin is None:
        raise _cannot("is for GPUs: on this device accelerate does not shard", hint="leave `fsdp` out")
    if plugin.fsdp_version != 2:
        raise _cannot("is FSDP1, which PPO does not support", hint='set `fsdp_config={"version": 2}`')
    if plugin.cpu_ram_efficient_loading:
        raise _cannot(
            "loads weights in one process only (`cpu_ram_efficient_loading`)",
            why="reward models are not sharded, and the other processes would score with empty ones",
            hint="switch it off",
        )
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise _cannot("keeps weights off the device (`cpu_offload`)", hint="switch it off")
    if not all(weight.is_floating_point() for weight in roles.parameters()):
        raise _cannot(
            "and quantised weights", hint="leave out the quantisation, or `fsdp`: processes then use DDP"
        )
    precisions = {weight.dtype for weight in roles.parameters() if weight.requires_grad}
    if len(precisions) > 1 and plugin.mixed_precision_policy is None:
        raise _cannot(
            f"and trained weights in {' and '.join(sorted(map(str, precisions)))}",
            why="FSDP2 reduces gradients of one precision",
            hint="set `bf16=True`, or load policy and critic in the same precision",
        )


def not_yet(what: str, hint: str) -> ModelError:
    """The error for what needs sharded roles, before training has sharded them."""
    return ModelError("E240", f"`{what}` before `train` is not possible under FSDP", place=what, hint=hint)


def layer_classes(models: Iterable[nn.Module]) -> list[str]:
    """Names of the classes whose weights are gathered separately: the models' transformer layers."""
    every = [module for model in models for module in model.modules()]
    names = {name for module in every for name in getattr(module, "_no_split_modules", None) or ()}
    return sorted(names & {type(module).__name__ for module in every})


# ---- whole weights ------------------------------------------------------------------------------------------


def spread(state: State, like: State) -> dict[str, torch.Tensor]:
    """Whole weights, sharded as those of the same names in `like` are. Nothing is exchanged."""
    return {name: _spread(weight, like.get(name)) for name, weight in state.items()}


def _spread(weight: torch.Tensor, like: torch.Tensor | None) -> torch.Tensor:
    if not isinstance(like, DTensor):
        return weight
    local = weight.to(like.device, like.dtype)
    return distribute_tensor(local, like.device_mesh, like.placements, src_data_rank=None)


def filled(shell: PreTrainedModel, model: PreTrainedModel, dtype: torch.dtype | None) -> PreTrainedModel:
    """A plain copy of a sharded model, with whole weights of this type (its own when None), on its device.

    Args:
        shell: from `forward.sharding.without_weights`; stays as it is.
    """
    found = copy.deepcopy(shell)
    weights = {name for name, _ in shell.named_parameters(remove_duplicate=False)}
    state = {}
    for name, weight in model.state_dict().items():
        gathered = whole(weight.detach())
        state[name] = gathered.to(dtype) if dtype is not None and name in weights else gathered
    found.load_state_dict(state, assign=True)
    for name, buffer in list(found.named_buffers()):
        parent, _, last = name.rpartition(".")
        setattr(found.get_submodule(parent), last, buffer.to(model.device))
    found.tie_weights()
    return found


def _cannot(what: str, *, why: str | None = None, hint: str | None = None) -> ModelError:
    return ModelError("E240", f"`fsdp` {what}", place="PPOConfig.fsdp", why=why, hint=hint)
