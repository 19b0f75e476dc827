"""Chats that a chat template has written into one text, read back into turns.

Many data sets of the hub hold nothing but such texts. Their markers say who speaks only to a model that was trained
with that template; to any other they are words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Style:
    """How a template marks turns. `mark` matches what begins one; its group is who speaks."""

    mark: re.Pattern[str]
    strict: bool
    """Whether the markers are tokens, which nobody writes by chance; other texts count only if speakers take turns."""


_STYLES = (
    _Style(re.compile(r"<\|im_start\|>\s*(\w+)[ \t]*\n"), True),
    _Style(re.compile(r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>"), True),
    _Style(re.compile(r"<start_of_turn>(\w+)\n"), True),
    _Style(re.compile(r"<\|(system|user|assistant|observation)\|>"), True),
    _Style(re.compile(r"(\[/?INST\])"), True),
    _Style(re.compile(r"### ?(Human|User|Assistant|System|Instruction|Input|Response):"), False),
    _Style(re.compile(r"(?:\A|\s|</s>)(USER|ASSISTANT|SYSTEM|FUNCTION RESPONSE):"), False),
    _Style(re.compile(r"(?:\A|\n)(User|Assistant|Bot|AI|System):"), False),
)

_SPEAKERS = {
    **{"[inst]": "user", "[/inst]": "assistant", "instruction": "user", "response": "assistant"},
    **{
        "human": "user",
        "bot": "assistant",
        "ai": "assistant",
        "model": "assistant",
        "function response": "function",
    },
}
"""Roles by the words of templates that have other words."""

_BEGIN = re.compile(r"(?:\s|<s>|<bos>|<\|begin_of_text\|>)+")
_END_TOKENS = (
    "</s>",
    "<s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<eos>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
)

_SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)

_OF_THE_TEMPLATE = re.compile(
    r"Below is an instruction that describes a task[^#]*|A chat between a curious (?:user|human) and an artificial "
    r"intelligence assistant\.(?:(?!USER:|### ).)*",
    re.DOTALL,
)
"""What the templates of Alpaca and Vicuna begin with, which says nothing about the row."""


def written_turns(text: str, *, strict: bool = False) -> list[dict[str, Any]] | None:
    """The turns {role, content} of a text that is nothing but a chat that a template has written; None for any other.
    A last turn may be empty, for whoever is to speak. With `strict`, only markers count that are tokens."""
    if (begin := _BEGIN.match(text)) is not None:
        text = text[begin.end() :]
    if not strict and (said := _OF_THE_TEMPLATE.match(text)) is not None:
        text = text[said.end() :]
    style = next((one for one in _STYLES if one.mark.match(text)), None)
    if style is None or (strict and not style.strict):
        return None
    _, *pieces = style.mark.split(text)
    turns: list[dict[str, Any]] = []
    for speaker, content in zip(pieces[::2], pieces[1::2], strict=True):
        _add(turns, speaker.lower(), without_end(content).strip())
    if any(token in turn["content"] for turn in turns for token in _END_TOKENS):
        return None
    roles = [turn["role"] for turn in turns]
    if not {"user", "assistant"} <= set(roles) or not (style.strict or _take_turns(roles)):
        return None
    return turns


def speaker_of(text: str) -> str | None:
    """Who speaks in a text that begins with a marker of a turn; None for any other."""
    begin = _BEGIN.match(text)
    text = (text[begin.end() :] if begin else text) + "\n"
    found = next((mark for one in _STYLES if (mark := one.mark.match(text)) is not None), None)
    return None if found is None else _SPEAKERS.get(found[1].lower(), found[1].lower())


def without_end(text: str) -> str:
    """A text without the end tokens that a template has written after it."""
    left = text.rstrip()
    while left.endswith(_END_TOKENS):
        left = text = left[: left.rindex("<")].rstrip()
    return text


def _add(turns: list[dict[str, Any]], speaker: str, content: str) -> None:
    """Add what a speaker says; Alpaca's input belongs to the instruction, and Llama 2's first question has the system
    message inside."""
    if speaker == "input" and turns:
        turns[-1]["content"] += f"\n\n{content}"
        return
    if speaker == "[inst]" and (system := _SYSTEM.match(content)) is not None:
        turns.append({"role": "system", "content": system[1].strip()})
        content = content[system.end() :].strip()
    turns.append({"role": _SPEAKERS.get(speaker, speaker), "content": content})


def _take_turns(roles: list[str]) -> bool:
    said = [role for role in roles[roles[0] == "system" :] if role != "function"]
    return all(role == ("assistant" if number % 2 else "user") for number, role in enumerate(said))
