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

from llamatune.errors import ModelError, RecipeError, reason_of
from llamatune.outside import read_whole
from llamatune.recipe.blocks import TEMPLATE_NAMES

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
        return template_in(Path(name))
    text = _named_text(name)
    if "own_tokens" not in text:
        return text
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    own = [marker for marker in dict.fromkeys(_MARKER.findall(text)) if marker in known]
    return "{%- set own_tokens = " + repr(own) + " -%}\n" + text


def _named_text(name: str) -> str:
    folder = resources.files("llamatune.data.encode").joinpath("templates")
    return folder.joinpath(f"{name}.jinja").read_text(encoding="utf-8").strip()


def no_template() -> ModelError:
    """The tokenizer has no template, and the recipe names none."""
    return ModelError(
        "E210",
        "this base model's tokenizer has no chat template",
        place="chat.template: tokenizer",
        why="base models are not made for chat, so llamatune does not guess one",
        hint=f"set `chat.template` to one of {', '.join(TEMPLATE_NAMES)}, or to a file of your own (my.jinja)",
    )


def template_in(file: Path) -> str:
    """The text of a user's template. Raises RecipeError (E025) where the file is missing, too large or no text."""
    try:
        size = file.stat().st_size
        text = read_whole(file).decode("utf-8") if size <= LARGEST else ""
    except (OSError, ValueError) as error:
        raise RecipeError(
            "E025",
            f"the template file cannot be read: {reason_of(error)}",
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
