"""Which backend samples.

`auto` is `generate`, which measured 15 times faster than continuous batching on a CPU, repeats its completions
exactly, and works for every model, wrapped or not. The others are for GPUs, and asked for.
Under several processes each has a sampler of its own, for that process's share of the prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from torch.distributed.tensor import DTensor

from llamatune.ppo.config import PPOConfig
from llamatune.sampling.continuous_batching import (
    ContinuousBatchingGenerator,
)
from llamatune.sampling.generate import PlainGenerator
from llamatune.sampling.sampler import Generator, cannot

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llamatune.sampling.prompts import Prompts


def check_backend(args: PPOConfig) -> None:
    """Before any model is loaded: whether the backend can work here.

    Raises:
        ModelError: vLLM is not installed, or there is no GPU.
    """
    if args.generation_backend == "vllm":
        from llamatune.sampling.vllm import require_vllm

        require_vllm()


def open_generator(
    policy: PreTrainedModel,
    args: PPOConfig,
    *,
    pad_id: int,
    stop_ids: Collection[int],
    prompts: Sequence[Prompts],
    processes: int,
    sharded: bool,
) -> Generator:
    """The generator of `args.generation_backend`.

    Args:
        prompts: what vLLM makes room for, unless `args.max_prompt_length` says it.
        sharded: whether the policy's weights are, or will be, spread over the processes.

    Raises:
        ModelError: it does not work with this policy, or here.
    """
    common: dict[str, Any] = {
        "stop_ids": stop_ids,
        "max_new_tokens": args.max_completion_length,
        "temperature": args.temperature,
        "batch_size": args.generation_batch_size,
    }
    if args.generation_backend in ("auto", "generate"):
        return PlainGenerator(policy, pad_id=pad_id, **common)
    if sharded or any(isinstance(weight, DTensor) for weight in policy.parameters()):
        raise cannot(
            f"is `{args.generation_backend}`, and the policy's weights are spread over the processes",
            why="each process samples by itself, and would need whole weights",
            hint="use `generation_backend: generate`, or several processes without FSDP",
        )
    if args.generation_backend == "continuous_batching":
        return ContinuousBatchingGenerator(policy, pad_id=pad_id, **common)
    from llamatune.sampling.vllm import VllmGenerator

    return VllmGenerator(
        policy,
        **common,
        longest_prompt=args.max_prompt_length
        or max(len(one.ids(one[row])) for one in prompts for row in range(len(one))),
        memory=args.vllm_gpu_memory_utilization,
        sleeps=args.vllm_enable_sleep_mode,
        processes=processes,
    )
