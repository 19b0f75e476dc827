"""Rollouts: completions sampled from the policy, token ids in, token ids out.

Sampling is untruncated: top-p, top-k or a repetition penalty would make another distribution than the one whose
probabilities the ratio and the KL are made of. A completion's randomness comes from a seed of its own, so it does not
depend on who shares its batch, on the number of processes, or on how often a run was resumed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from llamatune.forward.memory import free_memory, one_row_too_many, ran_out_of_memory
from llamatune.models.probing import sampling_mode
from llamatune.sampling.sampler import up_to_stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PlainGenerator:
    """transformers' `generate`, in large batches of prompts of about the same length.

    Args:
        model: the policy; its adapter must be the active one.
        batch_size: completions at once; halved where memory runs out.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        pad_id: int,
        stop_ids: Collection[int],
        max_new_tokens: int,
        temperature: float,
        batch_size: int,
    ) -> None:
        self.model = model
        self.pad_id = pad_id
        self.stop_ids = sorted(stop_ids)
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.batch_size = batch_size

    def generate(self, prompts: Sequence[list[int]], seeds: Sequence[int]) -> list[list[int]]:
        """See `Generator`. Raises OutOfMemoryError where memory does not hold a single completion."""
        waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        found: list[list[int]] = [[] for _ in prompts]
        with sampling_mode(self.model), neutral_generation(self.model):
            while waiting:
                chosen = waiting[: self.batch_size]
                batch = self._within_memory([prompts[i] for i in chosen], [seeds[i] for i in chosen])
                if batch is None:
                    self.batch_size = len(chosen) // 2
                    if not self.batch_size:
                        raise one_row_too_many(len(prompts[chosen[0]]) + self.max_new_tokens)
                    free_memory()
                    continue
                for index, tokens in zip(chosen, batch, strict=True):
                    found[index] = up_to_stop(tokens, self.stop_ids)[0]
                waiting = waiting[len(chosen) :]
        return found

    def _within_memory(self, prompts: list[list[int]], seeds: list[int]) -> list[list[int]] | None:
        try:
            return self._generate(prompts, seeds)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
        return None

    def _generate(self, prompts: list[list[int]], seeds: list[int]) -> list[list[int]]:
        width = max(map(len, prompts))
        ids = torch.tensor([[self.pad_id] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        draws = Draws(seeds, self.max_new_tokens, self.temperature)
        output = self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            generation_config=GenerationConfig(
                do_sample=False,  # `Draws` leaves a single token to choose
                max_new_tokens=self.max_new_tokens,
                eos_token_id=self.stop_ids,
                pad_token_id=self.pad_id,
            ),
            logits_processor=LogitsProcessorList([draws]),
        )
        return [row[width:].tolist() for row in output]


class Draws(LogitsProcessor):  # type: ignore[misc]
    """Draws each row's next token, and leaves it as the only possible one."""

    def __init__(self, seeds: Sequence[int], steps: int, temperature: float) -> None:
        self.uniform = torch.stack([uniform_numbers(seed, steps) for seed in seeds])
        self.temperature = temperature
        self.step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.uniform = self.uniform.to(scores.device)
        only = drawn(scores, self.uniform[:, self.step], self.temperature)
        self.step += 1
        return only


def uniform_numbers(seed: int, steps: int) -> torch.Tensor:
    """(steps,) float32 in [0, 1): all the randomness of a completion."""
    return torch.rand(steps, generator=torch.Generator().manual_seed(seed))


def drawn(scores: torch.Tensor, uniform: torch.Tensor, temperature: float) -> torch.Tensor:
    """(rows, vocabulary): 0 at a token drawn from softmax(scores / temperature) by inverting its distribution function
    at each row's uniform number, -inf elsewhere."""
    probabilities = torch.softmax(scores.float() / temperature, -1)
    cumulative = probabilities.double().cumsum(-1)
    # A number below the whole sum lands on a token with a probability above zero.
    targets = uniform[:, None].double() * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, targets, right=True).clamp(max=scores.shape[-1] - 1)
    return torch.full_like(scores, float("-inf")).scatter_(-1, chosen, 0.0)


@contextmanager
def neutral_generation(model: PreTrainedModel) -> Iterator[None]:
    """Set aside the model's own generation settings: `generate` takes a repetition penalty or a minimal length from
    there, whatever it is given."""
    holder: Any = model.get_base_model() if hasattr(model, "peft_config") else model
    before = holder.generation_config
    holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        holder.generation_config = before
