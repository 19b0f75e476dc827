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
    """How a template marks turns: any of `shown` (a text that has all of its parts) names it."""

    shown: tuple[tuple[str, ...], ...]
    mark: re.Pattern[str] | None = None
    """Matches what begins a turn; its group is who speaks. None: such texts are named, and not read."""
    strict: bool = True
    """Whether the markers are tokens, which nobody writes by chance; other texts count only if speakers take turns."""


_STYLES = (
    _Style((("[INST]",), ("[/INST]",)), re.compile(r"(\[/?INST\])")),
    _Style((("<|im_start|>",),), re.compile(r"<\|im_start\|>\s*(\w+)[ \t]*\n")),
    _Style((("<|start_header_id|>",),), re.compile(r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>")),
    _Style((("<|header_start|>",),), re.compile(r"<\|header_start\|>\s*(\w+)\s*<\|header_end\|>")),
    _Style((("<start_of_turn>",),), re.compile(r"<start_of_turn>(\w+)\n")),
    _Style((("<|user|>",), ("<|assistant|>",)), re.compile(r"<\|(system|user|assistant|observation)\|>")),
    _Style((("<｜User｜>",), ("<｜Assistant｜>",)), re.compile(r"<｜(User|Assistant)｜>")),
    _Style(
        (("<|START_OF_TURN_TOKEN|>",),),
        re.compile(r"<\|START_OF_TURN_TOKEN\|><\|(USER|CHATBOT|SYSTEM)_TOKEN\|>"),
    ),
    _Style((("<|start|>", "<|message|>"),)),
    _Style((("[|Human|]",),)),
    _Style(
        (("### Human:",), ("### Instruction:",), ("### User:",)),
        re.compile(r"### ?(Human|User|Assistant|System|Instruction|Input|Response):"),
        strict=False,
    ),
    _Style((("<extra_id_1>",),)),
    _Style(
        (("USER:", "ASSISTANT:"),),
        re.compile(r"(?:\A|\s|</s>)(USER|ASSISTANT|SYSTEM|FUNCTION RESPONSE):"),
        strict=False,
    ),
    _Style(
        (("User:", "Assistant:"), ("User:", "Bot:"), ("User:", "AI:")),
        re.compile(r"(?:\A|\n)(User|Assistant|Bot|AI|System):"),
        strict=False,
    ),
    # With "Assistant:" for the other side, it is a text of HH, which `turns` reads.
    _Style(
        (("Human:", "Assistant:"), ("Human:", "AI:"), ("Human:", "Bot:")),
        re.compile(r"(?:\A|\n)(Human|Bot|AI|System):"),
        strict=False,
    ),
)

_SPEAKERS = {
    **{"[inst]": "user", "[/inst]": "assistant", "instruction": "user", "response": "assistant"},
    **{"human": "user", "bot": "assistant", "chatbot": "assistant", "ai": "assistant", "model": "assistant"},
    "function response": "function",
}
"""Roles by the words of templates that have other words."""

_BEGIN = re.compile(r"(?:\s|<s>|<bos>|<\|begin_of_text\|>|<BOS_TOKEN>|<｜begin▁of▁sentence｜>)+")
END_TOKENS = (
    "</s>",
    "<s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<eos>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot|>",
    "<|return|>",
    "<|END_OF_TURN_TOKEN|>",
    "<｜end▁of▁sentence｜>",
)
"""What templates write after a turn."""

_CHARACTERS = frozenset("[<#:")
"""One of these is in each marker."""

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
    style = next((one for one in _STYLES if one.mark is not None and one.mark.match(text)), None)
    if style is None or style.mark is None or (strict and not style.strict):
        return None
    _, *pieces = style.mark.split(text)
    turns: list[dict[str, Any]] = []
    for speaker, content in zip(pieces[::2], pieces[1::2], strict=True):
        _add(turns, speaker.lower(), without_end(content).strip())
    if any(token in turn["content"] for turn in turns for token in END_TOKENS):
        return None
    roles = [turn["role"] for turn in turns]
    if not {"user", "assistant"} <= set(roles) or not (style.strict or _take_turns(roles)):
        return None
    return turns


def speaker_of(text: str) -> str | None:
    """Who speaks in a text that begins with a marker of a turn; None for any other."""
    begin = _BEGIN.match(text)
    text = (text[begin.end() :] if begin else text) + "\n"
    marks = (one.mark.match(text) for one in _STYLES if one.mark is not None)
    found = next((mark for mark in marks if mark is not None), None)
    return None if found is None else _SPEAKERS.get(found[1].lower(), found[1].lower())


def marker_in(text: str) -> str | None:
    """The first marker of the template that wrote a text, if one did: of a turn's beginning, or of its end."""
    if _CHARACTERS.isdisjoint(text):
        return None
    shown = (parts for one in _STYLES for parts in one.shown)
    found = next((parts[0] for parts in shown if all(part in text for part in parts)), None)
    return found or next((token for token in END_TOKENS if text.rstrip().endswith(token)), None)


def without_end(text: str) -> str:
    """A text without the end tokens that a template has written after it."""
    left = text.rstrip()
    while left.endswith(END_TOKENS):
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
