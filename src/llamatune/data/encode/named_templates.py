"""Where the text of a chat template comes from: `templates/*.jinja`, or a file of the user's.

Some named templates differ with the vocabulary: they read `own_tokens`, those of their markers that are tokens of the
tokenizer. The list is written before their first line, so that the template that is saved with a model needs nothing
that `apply_chat_template` does not provide.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.errors import RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LARGEST = 1 << 20
"""Most bytes of a template file."""

_MARKER = re.compile(r"'(\[/?\w+\]|<\|\w+\|>)'")


def template_text(name: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The Jinja source of a named template or of a file, for this tokenizer.

    Raises:
        RecipeError: the file is missing, too large or not text.
    """
    if name.endswith(".jinja"):
        return _file_text(Path(name))
    text = _named_text(name)
    if "own_tokens" not in text:
        return text
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    own = [marker for marker in dict.fromkeys(_MARKER.findall(text)) if marker in known]
    return "{%- set own_tokens = " + repr(own) + " -%}\n" + text


def _named_text(name: str) -> str:
    folder = resources.files("llamatune.data.encode").joinpath("templates")
    return folder.joinpath(f"{name}.jinja").read_text(encoding="utf-8").strip()


def _file_text(file: Path) -> str:
    try:
        size = file.stat().st_size
        text = file.read_text(encoding="utf-8") if size <= LARGEST else ""
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            "E025",
            f"the template file cannot be read: {error}",
            place=f"chat.template: {file}",
            hint="the path starts at the working directory, where the command is run",
        ) from error
    if not text.strip():
        raise RecipeError(
            "E025",
            f"the template file is {'empty' if size <= LARGEST else 'too large to be a template'}",
            place=f"chat.template: {file}",
            hint="give a Jinja template such as the `chat_template.jinja` of a model",
        )
    return text
