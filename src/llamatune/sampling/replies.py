"""Sample replies from a model: in batches, or streamed to a terminal.

The prompt's tokens come from the same `ChatFormat` as the training rows; a reply ends at the first stop token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.forward.memory import free_memory, one_row_too_many, ran_out_of_memory
from llamatune.models.probing import sampling_mode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llamatune.data.encode.chat import ChatFormat
    from llamatune.data.rows import Message
    from llamatune.recipe.blocks import Generation


def sample_replies(
    model: PreTrainedModel,
    chat: ChatFormat,
    conversations: Sequence[Sequence[Message]],
    generation: Generation,
    *,
    batch_size: int = 64,
) -> list[str]:
    """One reply for each conversation (which ends with a user message), in the order given.

    Conversations are batched by length, so that little of a batch is padding.
    """
    prompts = [chat.prompt_ids(messages) for messages in conversations]
    tokens = continue_prompts(
        model, chat.tokenizer, prompts, generation, stop_ids=chat.stop_ids, batch_size=batch_size
    )
    return [chat.reply_text(reply) for reply in tokens]


def continue_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    generation: Generation,
    *,
    stop_ids: Collection[int],
    batch_size: int = 64,
) -> list[list[int]]:
    """New tokens for each prompt, in the order given, up to and including the first stop token.

    Where memory does not hold `batch_size` prompts, half as many are tried.

    Raises:
        OutOfMemoryError: it does not hold a single one.
    """
    waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    replies: list[list[int]] = [[] for _ in prompts]
    with sampling_mode(model):
        while waiting:
            chosen = waiting[:batch_size]
            batch = _within_memory(model, tokenizer, [prompts[i] for i in chosen], generation, stop_ids)
            if batch is None:
                batch_size = len(chosen) // 2
                if not batch_size:
                    raise one_row_too_many(len(prompts[chosen[0]]) + generation.max_new_tokens)
                free_memory()
                continue
            for index, tokens in zip(chosen, batch, strict=True):
                end = next((i + 1 for i, token in enumerate(tokens) if token in stop_ids), len(tokens))
                replies[index] = tokens[:end]
            waiting = waiting[batch_size:]
    return replies


def stream_reply(
    model: PreTrainedModel,
    chat: ChatFormat,
    messages: Sequence[Message],
    generation: Generation,
    write: Callable[[str], None],
) -> str:
    """Sample one reply, handing each finished word to `write` as it comes."""
    from transformers import TextStreamer

    class Writer(TextStreamer):  # type: ignore[misc]
        """Leaves out the space with which many templates let a reply begin."""

        begun = False

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            text = text if self.begun else text.lstrip()
            self.begun = self.begun or bool(text)
            write(text)

    streamer = Writer(chat.tokenizer, skip_prompt=True, skip_special_tokens=True)
    with sampling_mode(model):
        prompt = chat.prompt_ids(messages)
        (tokens,) = _generate(model, chat.tokenizer, [prompt], generation, chat.stop_ids, streamer=streamer)
    return chat.reply_text(tokens)


def _within_memory(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    generation: Generation,
    stop_ids: Collection[int],
) -> list[list[int]] | None:
    """The new tokens of each prompt, or None where memory ran out."""
    try:
        return _generate(model, tokenizer, prompts, generation, stop_ids)
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
    return None


def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    generation: Generation,
    stop_ids: Collection[int],
    **arguments: Any,
) -> list[list[int]]:
    """Continue left-padded prompts; returns the new tokens of each, padding included."""
    import torch
    from transformers import GenerationConfig

    width = max(len(prompt) for prompt in prompts)
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    attention_mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings: dict[str, Any] = {"do_sample": False}
    if generation.temperature > 0:
        settings = {
            "do_sample": True,
            "temperature": generation.temperature,
            "top_p": generation.top_p,
            "top_k": 0,
        }
    output = model.generate(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        generation_config=GenerationConfig(
            max_new_tokens=generation.max_new_tokens,
            eos_token_id=sorted(stop_ids),
            pad_token_id=pad,
            bos_token_id=tokenizer.bos_token_id,
            **settings,
        ),
        **arguments,
    )
    return [row[width:].tolist() for row in output]
