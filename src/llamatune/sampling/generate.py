"""The sampler on transformers' `generate`: for chat, exam, sample replies and PPO, token ids in, token ids out.

It works for every model, wrapped or not, and repeats its completions exactly. A model's own generation settings are
set aside meanwhile: with a repetition penalty or a minimal length, the distribution would not be the one asked for,
nor in PPO the one whose probabilities the ratio and the KL are made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from llamatune.forward.memory import free_memory, one_row_too_many, within_memory
from llamatune.models.inner import without_adapter
from llamatune.models.probing import sampling_mode
from llamatune.sampling.sampler import How, Sampled, drawn, uniform_numbers, up_to_stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.generation import BaseStreamer


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
    ) -> list[Sampled]:
        """See `Sampler`.

        Args:
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
                batch = within_memory(self._generate, some, their_seeds, how, streamer)
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
        self, prompts: list[list[int]], seeds: list[int], how: How, streamer: BaseStreamer | None
    ) -> list[list[int]]:
        """The new tokens of each prompt, with whatever follows their ends."""
        width = max(map(len, prompts))
        ids = torch.tensor([[self.pad_id] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        output = self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            generation_config=GenerationConfig(
                # `Draws` leaves a single token to choose.
                do_sample=False,
                max_new_tokens=how.max_new_tokens,
                eos_token_id=sorted(how.stop_ids),
                pad_token_id=self.pad_id,
            ),
            logits_processor=LogitsProcessorList([Draws(seeds, how)]),
            streamer=streamer,
        )
        return [row[width:].tolist() for row in output]


class Draws(LogitsProcessor):  # type: ignore[misc]
    """Draws each row's next token, and leaves it as the only possible one."""

    def __init__(self, seeds: Sequence[int], how: How) -> None:
        self.uniform = torch.stack([uniform_numbers(seed, how.max_new_tokens) for seed in seeds])
        self.how = how
        self.step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.uniform = self.uniform.to(scores.device)
        only = drawn(scores, self.uniform[:, self.step], self.how.temperature, self.how.top_p)
        self.step += 1
        return only


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
