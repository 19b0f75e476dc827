"""Roles whose weights FSDP2 spreads over processes."""

from __future__ import annotations

import torch
from torch.distributed.tensor import DTensor


def whole(weight: torch.Tensor) -> torch.Tensor:
    """A weight with all its parts; where it is sharded, every process must ask for it."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight
