"""Documents become tokens: BOS, the text, EOS, every token trained."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from llamatune.data.encode.control_tokens import (
    TextTokens,
    count_control_tokens,
    tokenizer_fingerprint,
)
from llamatune.data.rows import Document, Encoded, Reason, Row, RowRejected

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TextEncoder:
    """An `Encoder` for documents.

    Args:
        tokenizer: a fast tokenizer. One without BOS or EOS gives sequences without them.
        max_length: longest sequence, in tokens.
        too_long: `error` (a longer sequence is yielded as it is: `prepare` counts them all), `drop`, or
            `truncate`: split into consecutive sequences, each beginning with BOS, the last ending with EOS.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        too_long: Literal["error", "drop", "truncate"] = "error",
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.too_long = too_long
        self._bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self._eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        self._tokens = TextTokens(tokenizer)
        state = f"text {tokenizer_fingerprint(tokenizer)} {max_length} {too_long}"
        self.fingerprint = hashlib.sha256(state.encode()).hexdigest()

    def encode(self, row: Row) -> Iterator[Encoded]:
        """The document's training sequences: one, or several under `truncate`.

        Raises:
            RowRejected: too long, under `drop`.
        """
        assert isinstance(row, Document)
        escaped = count_control_tokens(row.text, self._tokens.control)
        tokens = self._tokens.plain(row.text) + self._eos
        length = len(self._bos) + len(tokens)
        if length <= self.max_length or self.too_long == "error":
            input_ids = self._bos + tokens
            yield Encoded(input_ids, input_ids, escaped=escaped)
            return
        if self.too_long == "drop":
            raise RowRejected(Reason.TOO_LONG, length)
        room = self.max_length - len(self._bos)
        for start in range(0, len(tokens), room):
            input_ids = self._bos + tokens[start : start + room]
            yield Encoded(input_ids, input_ids, escaped=escaped if start == 0 else 0)
