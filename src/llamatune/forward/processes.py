"""Several processes: who does what, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from llamatune.errors import LlamatuneError
from llamatune.forward.cutting import share
from llamatune.launch.meeting import Joint
from llamatune.runs.signals import StoppedEarly

Item = TypeVar("Item")


def own_share(lengths: Sequence[int], accelerator: Accelerator) -> list[int]:
    """Which rows this process works on: about the same number of tokens in each."""
    shares = share(lengths, accelerator.num_processes)
    mine: list[int] = shares[accelerator.process_index]
    return mine


def gathered(own: Sequence[int], found: Sequence[Item], rows: int, accelerator: Accelerator) -> list[Item]:
    """What every process found for its rows, in the order of the rows, in all processes."""
    pairs = list(zip(own, found, strict=True))
    if accelerator.num_processes > 1:
        pairs = gather_object(pairs)
    by_row = dict(pairs)
    return [by_row[row] for row in range(rows)]


@contextmanager
def together(accelerator: Accelerator) -> Iterator[Callable[[], None]]:
    """For work in which processes exchange nothing: if it fails or is stopped in one, it is in all, and none waits
    forever. One may take much longer than another.

    Inside, long work calls what is given to it between two pieces, and ends there if it has failed or was stopped in
    another process.
    """
    if accelerator.num_processes == 1:
        yield lambda: None
        return
    joint = Joint()

    def look() -> None:
        if joint.is_off:
            raise _EndedElsewhere

    try:
        with suppress(_EndedElsewhere):
            yield look
        joint.wait()
    except (Exception, StoppedEarly) as error:
        joint.call_off()
        joint.wait()
        gather_object([_told(error)])
        raise
    failures: list[Any] = gather_object([None])
    for kind, said in filter(None, failures):
        if kind is StoppedEarly:
            raise StoppedEarly(said)
        if kind is None:
            raise RuntimeError(f"in another process: {said}")
        raise kind.of(said)


class _EndedElsewhere(BaseException):
    """The other process says why."""


def _told(error: BaseException) -> tuple[Any, Any]:
    """An error as something that can be pickled: its kind, if that is known here, and what it says."""
    if isinstance(error, LlamatuneError):
        return type(error), error.problems
    if isinstance(error, StoppedEarly):
        return StoppedEarly, str(error)
    return None, f"{type(error).__name__}: {error}"


def sum_gradients(weights: Iterable[torch.nn.Parameter], accelerator: Accelerator) -> None:
    """Add up the gradients of all processes, whichever weights each has gradients for.

    This is not left to DistributedDataParallel: policy and critic are separate passes, and it would wait for the
    gradients of the role that is not acting. Its hooks stay idle, since the roles' own `forward` is called, and not
    its.
    """
    if accelerator.num_processes == 1:
        return
    weights = list(weights)
    # A weight without a gradient in any process keeps none, as it does in one process: the optimizer passes over it.
    known = torch.tensor([float(weight.grad is not None) for weight in weights], device=accelerator.device)
    torch.distributed.all_reduce(known)
    for weight, somewhere in zip(weights, known.tolist(), strict=True):
        if somewhere:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            torch.distributed.all_reduce(weight.grad)


def summed(figures: dict[str, float], accelerator: Accelerator) -> dict[str, float]:
    """Sums over all processes."""
    if accelerator.num_processes == 1:
        return figures
    values = torch.tensor(list(figures.values()), dtype=torch.float64, device="cpu")
    every: list[Any] = gather_object([values.tolist()])
    return dict(zip(figures, (sum(column) for column in zip(*every, strict=True)), strict=True))


def most(value: float, accelerator: Accelerator) -> float:
    """The largest over all processes."""
    return value if accelerator.num_processes == 1 else max(gather_object([value]))
