"""Checkpoints of a sharded training: each process writes the parts that it holds, and reads them again.

torch's own format for this keeps its table of contents as a pickle, and a checkpoint that holds one is not trusted. So
these are safetensors, a file a process: `weights_N.safetensors` has the parts of trained weights, and
`optimizer_N.safetensors` those of the optimizer's state, by the weights' names. They belong to the number of processes
that wrote them, which a resume compares anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.tensor import DTensor

from llamatune.errors import CheckpointError
from llamatune.forward.sharding import resharded

_WRAPPED = "_checkpoint_wrapped_module."
"""What activation checkpointing writes into names."""


def save_own_weights(model: nn.Module, folder: Path, process: int) -> None:
    """The parts of trained weights that this process holds."""
    _save(
        {name: _part(weight) for name, weight in _trained(model)}, folder / f"weights_{process}.safetensors"
    )


def load_own_weights(model: nn.Module, folder: Path, process: int) -> None:
    """Raises CheckpointError (E405): the file has other weights, or parts of another size."""
    file = folder / f"weights_{process}.safetensors"
    saved = load_file(file)
    for name, weight in _trained(model):
        here = _part(weight)
        _check(file, name, saved.get(name), here)
        here.copy_(saved[name])


def save_own_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, process: int
) -> None:
    """The parts of the optimizer's state that this process holds, by weight."""
    state = {
        f"{name}/{what}": _part(value)
        for name, weight in _trained(model)
        for what, value in optimizer.state.get(weight, {}).items()
    }
    _save(state, folder / f"optimizer_{process}.safetensors")


def load_own_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path, process: int
) -> None:
    """Raises CheckpointError (E405): state of other weights, or parts of another size."""
    file = folder / f"optimizer_{process}.safetensors"
    saved: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in load_file(file).items():
        name, _, what = key.rpartition("/")
        saved.setdefault(name, {})[what] = value
    weights = dict(_trained(model))
    if not saved or not saved.keys() <= weights.keys():
        raise _other(file, min(saved.keys() - weights.keys(), default="the state of any weight"))
    for name, state in saved.items():
        optimizer.state[weights[name]] = {
            what: _like(file, name, value, weights[name]) for what, value in state.items()
        }


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, weight in resharded(model).named_parameters():
        if weight.requires_grad:
            yield name.replace(_WRAPPED, ""), weight


def _part(value: torch.Tensor) -> torch.Tensor:
    """What of a tensor is in this process."""
    value = value.detach()
    return value.to_local() if isinstance(value, DTensor) else value


def _like(file: Path, name: str, value: torch.Tensor, weight: nn.Parameter) -> torch.Tensor:
    """A state of one number is the same in all processes; others are parts, as those of their weight are."""
    if value.dim() == 0 or not isinstance(weight, DTensor):
        return value if value.dim() == 0 else value.to(weight.device)
    local = weight.to_local()
    _check(file, name, value, local)
    return DTensor.from_local(
        value.to(local.device),
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )


def _save(parts: Mapping[str, torch.Tensor], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: part.cpu().clone().contiguous() for name, part in parts.items()}, file)
    file.chmod(0o644)


def _check(file: Path, name: str, saved: torch.Tensor | None, here: torch.Tensor) -> None:
    if saved is None or saved.shape != here.shape:
        raise _other(file, name)


def _other(file: Path, name: str) -> CheckpointError:
    return CheckpointError(
        "E405",
        f"`{name}` is not in this checkpoint as this training has it",
        place=str(file),
        why="it was made with other trained weights, or spread over another number of processes",
        hint="go on with the recipe and the number of processes that it was made with",
    )
