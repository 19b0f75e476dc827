"""Sample replies during training: the same few prompts, answered again and again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from llamatune.data.rows import IGNORED, Message
from llamatune.forward.sharding import is_sharded
from llamatune.launch.meeting import all_here
from llamatune.runs.display import Display
from llamatune.runs.run import Run
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.sampler import How, seed_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llamatune.data.encode.chat import ChatFormat
    from llamatune.recipe.blocks import Generation

_FROM_DATA = 3
"""How many prompts are taken from the data when the recipe names none."""


@dataclass(frozen=True)
class SamplePrompt:
    """What is shown to a reader, and the token ids that the model continues."""

    text: str
    ids: list[int]


def chat_prompts(generation: Generation, chat: ChatFormat, dataset: Dataset) -> list[SamplePrompt]:
    """The recipe's prompts; without any, the untrained beginnings of a few rows (none under `loss_on: all`)."""
    if generation.prompts:
        return [SamplePrompt(text, chat.prompt_ids([Message("user", text)])) for text in generation.prompts]
    prompts: dict[str, SamplePrompt] = {}
    before, after = _around_a_question(chat)
    for row in dataset.select(range(min(100, len(dataset)))):  # enough to find different ones
        start = next((i for i, label in enumerate(row["labels"]) if label != IGNORED), 0)
        if start:
            ids = row["input_ids"][:start]
            shown = ids[len(before) if ids[: len(before)] == before else 0 :]
            shown = shown[: -len(after) if after and shown[-len(after) :] == after else None]
            text = str(chat.tokenizer.decode(shown or ids, skip_special_tokens=True)).strip()
            prompts[text] = SamplePrompt(text, ids)
        if not start or len(prompts) == _FROM_DATA:
            break
    return list(prompts.values())


def _around_a_question(chat: ChatFormat) -> tuple[list[int], list[int]]:
    """The tokens that the chat format writes before and after any first question; a reader need not see them."""
    one, other = (chat.prompt_ids([Message("user", text)]) for text in ("a", "7"))
    before = _common(one, other)
    after = _common(one[len(before) :][::-1], other[len(before) :][::-1])[::-1]
    return before, after


def _common(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """What both begin with."""
    return [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]


def text_prompts(generation: Generation, tokenizer: PreTrainedTokenizerBase) -> list[SamplePrompt]:
    """The recipe's prompts as beginnings of documents."""
    bos = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    return [
        SamplePrompt(text, bos + tokenizer.encode(text, add_special_tokens=False))
        for text in generation.prompts
    ]


class SampleReplies:
    """Answers the prompts with the model as it is now; shows the replies and writes them to replies.jsonl.

    Args:
        generating: around each time, in all processes: what makes the model, or a copy of it, ready to sample from.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[SamplePrompt],
        generation: Generation,
        *,
        stop_ids: Collection[int],
        run: Run,
        display: Display,
        generating: Callable[[GenerateSampler], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.sampler = GenerateSampler(model, pad_id=tokenizer.pad_token_id)
        self.tokenizer = tokenizer
        self.prompts = prompts
        self.how = How.of(generation, stop_ids)
        self.run = run
        self.display = display
        self.generating = generating

    def show(self, step: int) -> None:
        """Sample one reply for each prompt at this step."""
        if not self.prompts:
            return
        with self.generating(self.sampler):
            # Where weights are spread over the processes, all of them make the same replies.
            if self.run.is_main or is_sharded(self.sampler.model):
                self._show(step)
        all_here()

    def _show(self, step: int) -> None:
        self.display.say(f"replies at step {step}")
        replies = self.sampler.sample(
            [prompt.ids for prompt in self.prompts],
            [seed_of(step, "reply", number) for number in range(len(self.prompts))],
            self.how,
        )
        for prompt, found in zip(self.prompts, replies, strict=True):
            reply = str(self.tokenizer.decode(found.tokens, skip_special_tokens=True)).strip()
            line = {"step": step, "prompt": prompt.text, "reply": reply, "stopped": found.ended}
            self.run.log_reply(line)
            self.display.say(_indented(f"> {prompt.text}"))
            self.display.say(_indented(f"{reply}{'' if found.ended else ' [...]'}"))


def _indented(text: str) -> str:
    return "  " + text.replace("\n", "\n    ")
