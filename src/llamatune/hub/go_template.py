"""A chat template as Ollama's: found by rendering, written in Go's template language, and checked against the original.

A Jinja template is a program and is not translated. What it writes between messages is read off what it renders for a
few conversations, and the Go template that writes the same is checked on others. A template that does more than that
(changes texts, looks ahead, counts turns) is refused, not approximated. One thing is not looked at: some templates
strip blanks from the ends of a message, and Ollama keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from llamatune.errors import ModelError

Render = Callable[[list[dict[str, str]]], str]
"""What the original writes for messages, up to where the next reply begins."""


@dataclass(frozen=True)
class Pieces:
    """What is between messages: by the role before (none at the beginning) and the one that follows; the reply
    that is asked for comes after `ask`."""

    first_system: str
    first_user: str
    system_user: str
    user_assistant: str
    assistant_user: str
    ask: str

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """What the Go template writes."""
        between = {
            ("", "system"): self.first_system,
            ("", "user"): self.first_user,
            ("system", "user"): self.system_user,
            ("user", "assistant"): self.user_assistant,
            ("assistant", "user"): self.assistant_user,
        }
        said, last = "", ""
        for message in messages:
            said += between[last, message["role"]] + message["content"]
            last = message["role"]
        return said + self.ask

    def go(self) -> str:
        """The template in Go's language; literal texts are constants, so that no blank is lost."""
        return (
            '{{- $last := "" }}{{ range .Messages }}'
            f'{{{{ if eq .Role "system" }}}}{_text(self.first_system)}{{{{ .Content }}}}'
            f'{{{{ else if eq .Role "user" }}}}'
            f'{{{{ if eq $last "" }}}}{_text(self.first_user)}'
            f'{{{{ else if eq $last "system" }}}}{_text(self.system_user)}'
            f"{{{{ else }}}}{_text(self.assistant_user)}{{{{ end }}}}{{{{ .Content }}}}"
            f"{{{{ else }}}}{_text(self.user_assistant)}{{{{ .Content }}}}{{{{ end }}}}"
            "{{ $last = .Role }}{{ end }}" + _text(self.ask)
        )


def pieces_of(render: Render) -> Pieces:
    """What a chat template writes between messages.

    Raises:
        ModelError: E520, it does something that pieces cannot say.
    """
    one, other, *rest = _between(render, ["user", "assistant", "user", "assistant", "user"])
    first_system, system_user, *_ = _between(render, ["system", "user"])
    pieces = Pieces(first_system, one, system_user, other, rest[0], rest[-1])
    for messages in _trials():
        wanted, found = render(messages), pieces.render(messages)
        if wanted != found:
            raise _refused(
                f"for {[message['role'] for message in messages]} it writes {wanted!r}, not {found!r}"
            )
    return pieces


def _between(render: Render, roles: list[str]) -> list[str]:
    """What is before, between and after messages of these roles."""
    texts = [f"Text number {number} of the {role}" for number, role in enumerate(roles)]
    left, found = (
        render([{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]),
        [],
    )
    for text in texts:
        before, there, left = left.partition(text)
        if not there or text in left:
            raise _refused("it leaves out, repeats or changes what a message says")
        found.append(before)
    return [*found, left]


_CONTENTS = ("Hi", "Two\n\nlines: <b> {{ .Role }} 'quoted' \"too\"", "###\t1. é 漢 🙂")


def _trials() -> Iterator[list[dict[str, str]]]:
    """Conversations with and without a system message, of one to three questions."""
    for system, turns, shift in product((False, True), (1, 2, 3), range(len(_CONTENTS))):
        roles = ["system"] * system + ["user", "assistant"] * (turns - 1) + ["user"]
        yield [
            {"role": role, "content": _CONTENTS[(number + shift) % len(_CONTENTS)]}
            for number, role in enumerate(roles)
        ]


def _text(text: str) -> str:
    """A constant of Go's, which reads JSON's escapes."""
    return f"{{{{ {json.dumps(text)} }}}}" if text else ""


def _refused(why: str) -> ModelError:
    return ModelError(
        "E520",
        "the chat template cannot be written in Ollama's language",
        why=why,
        hint="serve it by vLLM, which takes the template as it is: `llamatune export RUN --vllm`",
    )
