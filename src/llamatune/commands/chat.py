"""Chat with a model on the terminal: replies stream as they are sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.rows import Message
from llamatune.models.open import open_model
from llamatune.models.quiet import quiet_upstream
from llamatune.recipe.blocks import Chat, Generation
from llamatune.sampling.generate import GenerateSampler
from llamatune.sampling.replies import stream_reply
from llamatune.sampling.sampler import seed_of


@quiet_upstream()
def chat_with(
    name: str,
    lines: Iterable[str],
    generation: Generation,
    *,
    system: str | None = None,
    base: str | None = None,
    write: Callable[[str], None],
) -> list[Message]:
    """Answer each line, keeping the conversation; `/reset` forgets it, `/quit` ends. Returns the conversation.

    Args:
        name: `pico`, a model folder, an adapter folder, a finished run or a hub model.
        lines: the user's turns; a terminal's or a file's.
        system: system message; the one of the model's recipe when left out.
        write: receives the reply piece by piece, and a line feed at its end.

    Raises:
        ModelError: the model cannot be opened, or has no chat template.
    """
    opened = open_model(name, base=base)
    chat = ChatFormat(opened.tokenizer, Chat(system=system if system is not None else opened.chat.system))
    sampler = GenerateSampler(opened.model, pad_id=chat.tokenizer.pad_token_id)
    messages: list[Message] = []
    for number, line in enumerate(lines):
        text = line.strip()
        if text == "/quit":
            break
        if text == "/reset":
            messages = []
        elif text:
            messages.append(Message("user", text))
            seed = seed_of("chat", number)
            reply = stream_reply(sampler, chat, messages, generation, write, seed=seed)
            write("\n")
            messages.append(Message("assistant", reply))
    return messages
