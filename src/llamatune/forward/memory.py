"""Memory that runs out, on any device."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from llamatune.errors import OutOfMemoryError

Given = ParamSpec("Given")
_Found = TypeVar("_Found")


def within_memory(
    function: Callable[Given, _Found], *args: Given.args, **kwargs: Given.kwargs
) -> _Found | None:
    """What a function returns, or None if memory ran out; free the memory before the next try."""
    try:
        return function(*args, **kwargs)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    return None


def ran_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device or the host has no memory left."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    known = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or bool(should_reduce_batch_size(error))
    return known or os.strerror(errno.ENOMEM) in str(error)


def free_memory() -> None:
    """Give back the memory that failed passes left in use. Call it outside the `except` block, which still holds
    them."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def no_memory_left(error: Exception) -> OutOfMemoryError:
    """The error where memory ran out outside of a pass that could be cut, such as while a model is loaded or saved."""
    return OutOfMemoryError(
        "E701",
        "memory ran out",
        why=str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__,
        hint="end other programs, or see `llamatune plan`; the same command goes on from the last checkpoint",
    )


def one_row_too_many(tokens: int) -> OutOfMemoryError:
    """The error when nothing is left to cut."""
    return OutOfMemoryError(
        "E701",
        f"memory ran out with a single row of {tokens:,} tokens in a forward pass",
        why="a micro-batch cannot be cut below one row",
        hint="lower `data.max_length`; set `hardware.activation_checkpointing: true`; train an adapter "
        "(`model.lora`) or on a 4-bit base (`model.quantization: nf4`); or choose `optimizer: paged_adamw_8bit`",
    )
