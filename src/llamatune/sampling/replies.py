"""Conversations in, replies out: in batches, or streamed to a terminal.

The prompt's tokens come from the same `ChatFormat` as the training rows; a reply ends at the first stop token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import How, Sampler, seed_of

if TYPE_CHECKING:
    from llamatune.data.encode.chat import ChatFormat
    from llamatune.data.rows import Message
    from llamatune.recipe.blocks import Generation


def sample_replies(
    sampler: Sampler,
    chat: ChatFormat,
    conversations: Sequence[Sequence[Message]],
    generation: Generation,
    *,
    seed: int = 0,
) -> list[str]:
    """One reply for each conversation (which ends with a user message), in the order given.

    Args:
        seed: with a conversation's number, decides its reply (unless the temperature is 0).
    """
    prompts = [chat.prompt_ids(messages) for messages in conversations]
    seeds = [seed_of(seed, "reply", number) for number in range(len(prompts))]
    found = sampler.sample(prompts, seeds, How.of(generation, chat.stop_ids))
    return [chat.reply_text(one.tokens) for one in found]


def stream_reply(
    sampler: GenerateSampler,
    chat: ChatFormat,
    messages: Sequence[Message],
    generation: Generation,
    write: Callable[[str], None],
    *,
    seed: int = 0,
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
    how = How.of(generation, chat.stop_ids)
    [found] = sampler.sample([chat.prompt_ids(messages)], [seed], how, streamer=streamer)
    return chat.reply_text(found.tokens)
