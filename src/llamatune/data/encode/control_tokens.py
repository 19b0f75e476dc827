"""Control tokens (`</s>`, `<|im_start|>`, ...) in the data: found, counted, encoded as plain text.

What `split_special_tokens=True` does, measured with transformers 5.23 and tokenizers 0.23:

- It works for fast tokenizers, byte-level BPE and Llama's SentencePiece-style BPE alike: `</s>` becomes `</`,
  `s`, `>` and the text decodes to itself. It works per call and is undone by the next call, also after
  `save_pretrained` and loading.
- It covers only added tokens marked `special`. Tokens added with `special=False` are still parsed, and some
  chat models add `<|im_start|>` that way: where the chat template uses such a token, `TextTokens.plain` takes it
  apart.
- It costs nothing: 52 us for a call of 240 characters, 44 us for the backend alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from llamatune.data.encode.blanks import without_blanks
from llamatune.errors import ModelError, gate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Texts that the tokenizer would read as control ids: its special tokens, and added tokens that its chat
    template uses (but not white space, which some tokenizers add as tokens). Longest first.
    """
    template = str(tokenizer.chat_template or "")
    special = {str(token) for token in tokenizer.all_special_tokens}
    found = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special
        or token.content in special
        or (token.content in template and not token.content.isspace())
    }
    return tuple(sorted((token for token in found if len(token) > 1), key=lambda token: (-len(token), token)))


def count_control_tokens(text: str, tokens: Sequence[str]) -> int:
    """How often one of `tokens` is in the text; where two overlap, the one that begins first counts."""
    present = [token for token in tokens if token in text]
    return len(_any_of(present).findall(text)) if present else 0


class TextTokens:
    """Token ids of text inside a sequence.

    Args:
        tokenizer: a fast tokenizer, as it is now: later changes to it are not followed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.control = control_tokens(tokenizer)
        self._control_ids = set(tokenizer.convert_tokens_to_ids(list(self.control)))
        self.any_control = _any_of(self.control)
        self._added = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
        self._inside = without_blanks(tokenizer.backend_tokenizer)

    def template(self, text: str, after: str | None) -> list[int]:
        """Text of a template, in which control tokens are control tokens.

        `after`: the control token that it follows, empty if it goes on from text, and None if the sequence begins with
        it. All texts of a sequence together have the ids of the whole text, unless a token would join
        two of them.
        """
        if self._inside is None or after is None:
            return self._encode(text)
        if after:
            return self._encode(after + text)[1:]
        first = self.any_control.search(text)
        if first is None:
            return self._go_on(text, plain=False)
        before = self._go_on(text[: first.end()], plain=False)[:-1]
        return before + self._encode(text[first.start() :])

    def escaped(
        self, text: str, after: str | None, sentinel: re.Pattern[str], written: Callable[[str], str]
    ) -> list[int]:
        """Text of a template, in which sentinels replace control tokens that are only written.

        What is between two control tokens of the template is encoded as one text, and none of it becomes a control id.
        """
        ids: list[int] = []
        begins = after is None or (bool(after) and self._blank_after_control)
        for control, between in self._stretches(text):
            if control is not None:
                ids.append(self.tokenizer.convert_tokens_to_ids(control))
                begins = self._blank_after_control
            if between:
                whole = sentinel.sub(lambda match: written(match.group(1)), between)
                ids += self.plain(whole, begins=begins)
        return ids

    def plain(self, text: str, *, begins: bool = True) -> list[int]:
        """Text in which nothing becomes a control id; `begins`: as if a sequence began with it."""
        ids = self._encode(text, plain=True) if begins else self._go_on(text, plain=True)
        if self._control_ids.isdisjoint(ids):
            return ids
        breaks = [match.start() + 1 for match in self.any_control.finditer(text)]
        # an unknown character has the id of `<unk>`
        if not breaks:
            return ids
        pieces = [text[start:end] for start, end in pairwise([0, *breaks, len(text)])]
        ids = self.plain(pieces[0], begins=begins)
        for piece in pieces[1:]:
            ids += self.plain(piece, begins=False)
        return ids

    def _stretches(self, text: str) -> Iterator[tuple[str | None, str]]:
        """Each control token with the text up to the next one; before the first one, None."""
        control: str | None = None
        end = 0
        for match in (*self.any_control.finditer(text), None):
            between = text[end : match.start() if match else len(text)]
            if control is not None and self._added[control].rstrip:
                between = between.lstrip()
            if match is not None and self._added[match.group()].lstrip:
                between = between.rstrip()
            yield control, between
            if match is not None:
                control, end = match.group(), match.end()

    @cached_property
    def _blank_after_control(self) -> bool:
        """Whether a text after a control token is encoded like one that begins a sequence."""
        return bool(self.control) and self._encode(self.control[0] + "a")[1:] == self._encode("a")

    def _go_on(self, text: str, *, plain: bool) -> list[int]:
        if self._inside is None:
            return self._encode(text, plain=plain)
        self._inside.encode_special_tokens = plain
        with _tokenizer_fails():
            return list(self._inside.encode(text, add_special_tokens=False).ids)

    def _encode(self, text: str, *, plain: bool = False) -> list[int]:
        with _tokenizer_fails():
            return list(
                self.tokenizer.encode(
                    text, add_special_tokens=False, split_special_tokens=plain, verbose=False
                )
            )


def _tokenizer_fails() -> AbstractContextManager[None]:
    """A regular expression in tokenizer.json that finds no end is given up by its library, which then crashes."""
    return gate(
        ModelError,
        "E208",
        "the tokenizer fails on a text",
        why="its tokenizer.json has a part that does not work for every text",
        hint="use the tokenizer.json that the model was published with",
    )


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Changes whenever the tokenizer would give other ids."""
    state = [tokenizer.backend_tokenizer.to_str(), tokenizer.bos_token_id, tokenizer.eos_token_id]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """Matches any of the tokens; nothing where there are none."""
    return re.compile("|".join(map(re.escape, tokens)) or r"(?!)")


def check_padding(
    tokenizer: PreTrainedTokenizerBase,
    ends: Collection[int],
    *,
    place: str,
    hint: str = "give the base one: tokenizer.add_special_tokens({'pad_token': '<pad>'}), "
    "model.resize_token_embeddings(len(tokenizer)), and save_pretrained of both into one folder",
) -> None:
    """Check that there is a token to pad with that does not end a reply.

    Raises:
        ModelError: E209, there is none.
    """
    pad = tokenizer.pad_token_id
    if pad is not None and pad not in ends:
        return
    raise ModelError(
        "E209",
        "the tokenizer has no token to pad with except its end token"
        if pad is None
        else f"the padding token {tokenizer.pad_token!r} also ends a reply",
        place=place,
        why="where padding is recognised by its id, the end of a reply is taken for padding: a model trained like "
        "this does not learn to stop, and a score is read before the end",
        hint=hint,
    )
