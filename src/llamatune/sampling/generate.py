"""The sampler on transformers' `generate`: for chat, exam, sample replies and PPO, token ids in, token ids out.

It works for every model, wrapped or not, and repeats its completions exactly. A model's own generation settings are
set aside meanwhile: with a repetition penalty or a minimal length, the distribution would not be the one asked for,
nor in PPO the one whose probabilities the ratio and the KL are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.cache_utils import DynamicLayer

from llamatune.forward.memory import free_memory, one_row_too_many, within_memory
from llamatune.models.probing import sampling_mode, without_adapter
from llamatune.runs.status import busy, moved
from llamatune.sampling.sampler import How, Sampled, drawn, uniform_numbers, up_to_stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.generation import BaseStreamer


Over = Callable[[Sequence[int]], bool]
"""Whether a completion, by its tokens so far, is over without a token that ends it."""

_FEW = 8
"""Rows that go on together to the end: so few cost no more than one of them."""


class GenerateSampler:
    """A `Sampler` that completes large batches of prompts of about the same length.

    Args:
        model: what completes; of a policy with several adapters, its own must be the active one.
        pad_id: fills up shorter prompts; the model never attends to it.
        batch_size: completions at once; halved when memory runs out.
    """

    def __init__(self, model: PreTrainedModel, *, pad_id: int, batch_size: int = 64) -> None:
        self.model = model
        self.pad_id = pad_id
        self.batch_size = batch_size

    def sample(
        self,
        prompts: Sequence[list[int]],
        seeds: Sequence[int],
        how: How,
        *,
        streamer: BaseStreamer | None = None,
        over: Over | None = None,
    ) -> list[Sampled]:
        """See `Sampler`.

        Args:
            over: spares tokens after those that say all; what is over need not end there.
            streamer: hears each token of a single completion as it comes.

        Raises:
            OutOfMemoryError: memory does not hold a single completion.
        """
        waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        found: dict[int, Sampled] = {}
        with sampling_mode(self.model), neutral_generation(self.model):
            while waiting:
                chosen = waiting[: self.batch_size]
                some, their_seeds = [prompts[i] for i in chosen], [seeds[i] for i in chosen]
                with busy():  # the prompts take as long as they take; then each token is a sign of life
                    batch = within_memory(self._generate, some, their_seeds, how, streamer, over)
                if batch is None:
                    self.batch_size = len(chosen) // 2
                    if not self.batch_size:
                        raise one_row_too_many(len(prompts[chosen[0]]) + how.max_new_tokens)
                    free_memory()
                    continue
                for index, tokens in zip(chosen, batch, strict=True):
                    found[index] = up_to_stop(tokens, how.stop_ids)
                waiting = waiting[len(chosen) :]
        return [found[index] for index in range(len(prompts))]

    def _generate(
        self,
        prompts: list[list[int]],
        seeds: list[int],
        how: How,
        streamer: BaseStreamer | None,
        over: Over | None,
    ) -> list[list[int]]:
        """The new tokens of each prompt, with whatever follows their ends.

        Whenever half of the completions have ended, the others go on without them, from the cache: the longest of a
        wide batch would otherwise be computed for all.
        """
        width = max(map(len, prompts))
        ids, mask = self._padded(prompts, width)
        uniform = torch.stack([uniform_numbers(seed, how.max_new_tokens) for seed in seeds])
        cache = self._cache_of_prompts(prompts, width)
        going = torch.arange(len(prompts))
        found: list[list[int]] = [[] for _ in prompts]
        while True:
            step = ids.shape[1] - width
            halt = HalfHaveEnded(how.stop_ids, width, over)
            output = self._continued(
                ids,
                mask,
                cache,
                max_new_tokens=how.max_new_tokens - step,
                stop_ids=how.stop_ids,
                logits_processor=LogitsProcessorList([Draws(uniform[going, step:], how)]),
                stopping_criteria=StoppingCriteriaList([halt]),
                streamer=streamer,
            )
            ids = output.sequences
            for index, row in zip(going.tolist(), ids[:, width:].tolist(), strict=True):
                found[index] = row
            ended = halt.ended
            assert ended is not None, "no token was sampled"
            if ids.shape[1] - width == how.max_new_tokens or ended.all():
                return found
            left = (~ended).nonzero()[:, 0]
            mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)[left]
            ids, going, cache = ids[left], going[left.cpu()], _of_rows(output.past_key_values, left)

    def _padded(self, prompts: Sequence[list[int]], width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(prompts, width) token ids and attention mask, padded on the left."""
        ids = torch.tensor([[self.pad_id] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        return ids.to(self.model.device), mask.to(self.model.device)

    def _cache_of_prompts(self, prompts: Sequence[list[int]], width: int) -> DynamicCache | None:
        """Keys and values of all but the last token of each prompt, computed once for equal ones; None if there are
        no equal ones, or the model keeps something else."""
        places = {tuple(prompt): place for place, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        if len(places) == len(prompts) or min(map(len, prompts)) < 2:
            return None
        ids, mask = self._padded([list(prompt[:-1]) for prompt in places], width - 1)
        cache = self._continued(ids, mask, None, max_new_tokens=1, stop_ids=frozenset()).past_key_values
        return _of_rows(cache, torch.tensor([places[tuple(one)] for one in prompts], device=ids.device))

    def _continued(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        cache: DynamicCache | None,
        *,
        max_new_tokens: int,
        stop_ids: Collection[int],
        **how: Any,
    ) -> Any:
        """What `generate` gives: `sequences`, and `past_key_values` of all but their last token."""
        settings = GenerationConfig(
            # `Draws` leaves a single token to choose.
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(stop_ids) or None,
            pad_token_id=self.pad_id,
            return_dict_in_generate=True,
        )
        return self.model.generate(
            input_ids=ids, attention_mask=mask, past_key_values=cache, generation_config=settings, **how
        )


class Draws(LogitsProcessor):  # type: ignore[misc]
    """Draws each row's next token, and leaves it as the only possible one.

    Args:
        uniform: (rows, steps) the random numbers of each row, from the next token on.
    """

    def __init__(self, uniform: torch.Tensor, how: How) -> None:
        self.uniform = uniform
        self.how = how
        self.step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        moved("sampling a token")
        self.uniform = self.uniform.to(scores.device)
        only = drawn(scores, self.uniform[:, self.step], self.how.temperature, self.how.top_p)
        self.step += 1
        return only


class HalfHaveEnded(StoppingCriteria):  # type: ignore[misc]
    """Stops a row that is over, and all rows when half of several have ended.

    Args:
        width: tokens of the prompts, which are no part of the completions.
    """

    def __init__(self, stop_ids: Collection[int], width: int = 0, over: Over | None = None) -> None:
        self.stop_ids = stop_ids
        self.width = width
        self.over = over
        self.ended: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        over = self._are_over(input_ids)
        ends = torch.isin(input_ids[:, -1], _stops(self.stop_ids, input_ids)) | over
        self.ended = ends if self.ended is None else self.ended | ends
        enough = len(ends) >= _FEW and 2 * int(self.ended.sum()) >= len(ends)
        return over | enough

    def _are_over(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(rows,) whether each is, as `over` has it."""
        if self.over is None:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        found = [self.over(row) for row in input_ids[:, self.width :].tolist()]
        return torch.tensor(found, device=input_ids.device)


def _of_rows(cache: Any, rows: torch.Tensor) -> DynamicCache | None:
    """The cache of these rows, in this order; None where a model keeps more than keys and values: it is computed again
    from the tokens."""
    if type(cache) is not DynamicCache or not all(isinstance(layer, DynamicLayer) for layer in cache.layers):
        return None
    cache.batch_select_indices(rows)
    return cache


def _stops(stop_ids: Collection[int], beside: torch.Tensor) -> torch.Tensor:
    return torch.tensor(sorted(stop_ids), device=beside.device, dtype=beside.dtype)


@contextmanager
def neutral_generation(model: PreTrainedModel) -> Iterator[None]:
    """Set aside the model's own generation settings: whatever it is given, `generate` takes a repetition penalty or a
    minimal length from there."""
    holder = without_adapter(model)
    before = holder.generation_config
    holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        holder.generation_config = before
