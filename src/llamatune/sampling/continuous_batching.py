"""The sampler on transformers' continuous batching: a completion that ends makes room for the next one at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from llamatune.forward.memory import free_memory, one_row_too_many, ran_out_of_memory
from llamatune.models.probing import sampling_mode, without_adapter
from llamatune.sampling.sampler import How, Sampled, cannot, drawn, uniform_numbers, up_to_stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ContinuousBatchingSampler:
    """A `Sampler` on transformers' continuous batching.

    For GPUs, and best with flash-attention installed: any other attention looks at the whole cache of all completions
    under way. The adapter stays active and unmerged; weights, their types and the attention are left as they were.
    Autocast does not reach the thread that generates, so weights in float32 generate in float32.

    Each completion draws from numbers of its own, like those of `GenerateSampler`: the completions are the same where
    the logits are, whatever shares a batch. transformers' own sampler has one seed for all, so the draw replaces its
    logits processors; each call checks that it was used. The model is tried when this is made.

    Args:
        model: what completes; of a policy with several adapters, its own must be the active one.
        batch_size: most completions under way at once; halved when memory runs out.

    Raises:
        ModelError: this model, or this version of transformers, cannot do it.
    """

    def __init__(self, model: PreTrainedModel, *, pad_id: int, batch_size: int = 64) -> None:
        self.model = model
        self.pad_id = pad_id
        self.batch_size = batch_size
        self._try()

    @property
    def _inner(self) -> Any:
        return without_adapter(self.model)

    def sample(self, prompts: Sequence[list[int]], seeds: Sequence[int], how: How) -> list[Sampled]:
        """See `Sampler`. Raises OutOfMemoryError if memory does not hold a single completion."""
        while prompts:
            found, error = self._generate(prompts, seeds, how)
            if error is None:
                return [up_to_stop(tokens, how.stop_ids) for tokens in found]
            if not ran_out_of_memory(error):
                raise error
            at_once = min(self.batch_size, len(prompts))
            if at_once == 1:
                raise one_row_too_many(max(map(len, prompts)) + how.max_new_tokens)
            self.batch_size = at_once // 2
            free_memory()
        return []

    def _generate(
        self, prompts: Sequence[list[int]], seeds: Sequence[int], how: How
    ) -> tuple[list[list[int]], Exception | None]:
        """The completions, or what went wrong."""
        inner = self._inner
        steps, stop_ids = how.max_new_tokens, sorted(how.stop_ids)
        draws = _draws(prompts, seeds, how)
        settings = GenerationConfig(
            # The draw leaves a single token to choose.
            do_sample=False,
            max_new_tokens=steps,
            eos_token_id=stop_ids,
            pad_token_id=self.pad_id,
        )
        config = self._config(prompts, steps)
        with _by_itself(self.model, inner):
            manager = inner.init_continuous_batching(settings, config)
            manager.logit_processor = _processors(draws)
            error: Exception | None = None
            try:
                manager.warmup()
                manager.start()
                for number, prompt in enumerate(prompts):
                    manager.add_request(
                        prompt, request_id=str(number), max_new_tokens=steps, eos_token_id=stop_ids
                    )
                found = _collect(manager, len(prompts))
                if not draws.heeded:
                    raise RuntimeError("this version of transformers does not use the draw it is given")
            except (RuntimeError, MemoryError) as problem:
                found, error = [], problem
            finally:
                # Nothing is left to do, or nothing is wanted.
                manager.stop(block=True, hard_stop=True)
                manager.destroy()
        return found, error

    def _config(self, prompts: Sequence[list[int]], steps: int) -> Any:
        from transformers import ContinuousBatchingConfig

        inner = self._inner
        at_once = min(self.batch_size, len(prompts))
        settings: dict[str, Any] = {
            "max_requests_per_batch": at_once,
            # The draw looks at whole distributions in float64.
            "max_memory_percent": 0.5,
            "auto_switch_to_flash": inner.device.type == "cuda" and inner.dtype != torch.float32,
            "seed": 0,
        }
        if inner.device.type != "cuda":
            # Otherwise it would take half of the computer's memory.
            pages = -(-(max(map(len, prompts)) + steps) // 256) + 1
            settings |= {"num_blocks": at_once * pages, "max_batch_tokens": max(512, at_once)}
        # More with each version.
        known = {field.name for field in fields(ContinuousBatchingConfig)}
        return ContinuousBatchingConfig(**{name: settings[name] for name in settings.keys() & known})

    def _try(self) -> None:
        """Two tokens, whatever they are."""
        problem: Exception | None
        try:
            found, problem = self._generate([[0, 1]], [0], How(2, frozenset({-1})))
        except (ImportError, AttributeError, TypeError, ValueError, NotImplementedError) as error:
            found, problem = [], error
        if problem is not None and ran_out_of_memory(problem):
            raise problem
        if problem is not None or len(found[0]) != 2:
            raise cannot(
                "continuous_batching",
                f"which does not work with this model: {problem or found}",
                hint="use the backend `generate`",
            )


def _collect(manager: Any, requests: int) -> list[list[int]]:
    """Wait for all completions."""
    found: dict[int, list[int]] = {}
    while len(found) < requests:
        result = manager.get_result(timeout=1)
        if result is None:
            if not manager.is_running():
                raise RuntimeError("the thread that generates ended before its work was done")
        elif result.error is not None:
            raise RuntimeError(str(result.error))
        elif result.is_finished():
            found[int(result.request_id)] = list(result.generated_tokens)
    return [found[number] for number in range(requests)]


@contextmanager
def _by_itself(model: PreTrainedModel, inner: Any) -> Iterator[None]:
    """Evaluation mode, and an attention that continuous batching knows; afterwards no trace is left of either, nor of
    the global seed that its manager sets."""
    before = inner.config._attn_implementation
    is_flash = before.startswith("flash_attention")
    devices = [inner.device] if inner.device.type == "cuda" else []
    with (
        sampling_mode(model),
        torch.autocast(inner.device.type, enabled=False),
        torch.random.fork_rng(devices),
    ):
        try:
            if not (before in ("sdpa", "eager") or (is_flash and inner.dtype != torch.float32)):
                inner.set_attn_implementation("sdpa")
            yield
        finally:
            if inner.config._attn_implementation != before:
                inner.set_attn_implementation(before)


def _draws(prompts: Sequence[list[int]], seeds: Sequence[int], how: How) -> Any:
    """A logits processor for requests named "0", "1", ... that draws each one's tokens from numbers of its own."""
    from transformers.generation.continuous_batching.cb_logits_processors import (
        ContinuousBatchingLogitsProcessor,
    )

    class Draws(ContinuousBatchingLogitsProcessor):  # type: ignore[misc]
        """See `generate.Draws`; here the numbers come in a tensor of int32, whose bits are theirs."""

        supported_kwargs: dict[str, type] = {}
        ignored_kwargs: tuple[str, ...] = ()
        heeded = False

        def __init__(self) -> None:
            self.uniform = {
                str(number): uniform_numbers(seed, how.max_new_tokens).tolist()
                for number, seed in enumerate(seeds)
            }

        def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
            int32_tensor.zero_()

        def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> torch.Tensor:
            numbers = [self._number(request.state) for request in requests_with_new_token]
            return torch.tensor(numbers, dtype=torch.float32).view(torch.int32)

        def _number(self, state: Any) -> float:
            """The number for the token that will be at `position_offset`. A completion that had to wait starts
            again with what it has, but still counts from its own prompt."""
            if state.request_id not in self.uniform:
                # The warm-up's.
                return 0.0
            step = state.position_offset - len(prompts[int(state.request_id)])
            mine: list[float] = self.uniform[state.request_id]
            # Where batches overlap, one more token may be drawn after the end, and is thrown away.
            return mine[step] if step < len(mine) else 0.0

        def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
            self.heeded = True
            uniform = tensor_arg[: scores.shape[0]].view(torch.float32)
            return drawn(scores, uniform, how.temperature, how.top_p)

    return Draws()


def _processors(draws: Any) -> Any:
    from transformers import LogitsProcessorList
    from transformers.generation.continuous_batching.cb_logits_processors import (
        ContinuousBatchingLogitsProcessorList,
    )

    processors = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([draws]))
    processors.tensors_required = 1
    return processors
