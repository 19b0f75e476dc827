"""Which backend samples.

`auto` is `generate`, which was measured to be 15 times faster than continuous batching on a CPU, repeats its
completions exactly, and works for every model, wrapped or not. The others are for GPUs, and have to be asked for. With
several processes, each has a sampler of its own, for that process's share of the prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch.distributed.tensor import DTensor

from llamatune.sampling.continuous_batching import ContinuousBatchingSampler
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import Sampler, cannot
from llamatune.sampling.vllm import Engine, VllmSampler, require_vllm

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Backend = Literal["auto", "generate", "continuous_batching", "vllm"]


def check_backend(backend: Backend) -> None:
    """Check, before any model is loaded, that the backend can work here.

    Raises:
        ModelError: vLLM is not installed, or there is no GPU.
    """
    if backend == "vllm":
        require_vllm()


def open_sampler(
    model: PreTrainedModel,
    backend: Backend = "auto",
    *,
    pad_id: int,
    batch_size: int = 64,
    sharded: bool = False,
    engine: Engine | None = None,
) -> Sampler:
    """A sampler of this model.

    Args:
        batch_size: most completions at once.
        sharded: whether the model's weights are, or will be, spread over the processes.
        engine: what vLLM makes room for; for that backend only.

    Raises:
        ModelError: the backend does not work with this model, or here.
    """
    if backend in ("auto", "generate"):
        return GenerateSampler(model, pad_id=pad_id, batch_size=batch_size)
    if sharded or any(isinstance(weight, DTensor) for weight in model.parameters()):
        raise cannot(
            backend,
            "and the policy's weights are spread over the processes",
            why="each process samples by itself, and would need whole weights",
            hint="use the backend `generate`, or several processes without FSDP",
        )
    if backend == "continuous_batching":
        return ContinuousBatchingSampler(model, pad_id=pad_id, batch_size=batch_size)
    assert engine is not None, "vLLM makes room for what it is told"
    return VllmSampler(model, batch_size=batch_size, engine=engine)
