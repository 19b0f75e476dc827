"""Load a base's tokenizer, and refuse one that could not end a reply, pad a row or index the embedding."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llamatune.data.encode.blanks import follow_tokenizer_file
from llamatune.data.encode.control_tokens import check_padding
from llamatune.errors import ModelError, gate
from llamatune.models.base import Base
from llamatune.wording import counted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PAD_NAMES = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_0|>",
    "<unk>",
)


def load_tokenizer(base: Base, folder: Path | None = None) -> PreTrainedTokenizerBase:
    """The base's fast tokenizer, with an end token and a padding token that is not the end token.

    It puts blanks before texts where its tokenizer.json does (see `data.encode.blanks`).

    Args:
        folder: where the tokenizer is, if not with the base.

    Raises:
        ModelError: no fast tokenizer, no end token, no token that could pad, or tokens that the base does not have.
    """
    folder = folder or base.folder
    check_readable_config(base)
    with gate(
        ModelError, "E208", "the tokenizer cannot be loaded", place=str(folder), hint="check the download"
    ):
        return _read_tokenizer(base, folder)


def check_readable_config(base: Base) -> None:
    """Whether transformers can make sense of config.json, which it reads for the tokenizer as well. Raises ModelError
    (E256)."""
    from transformers import AutoConfig

    with gate(
        ModelError,
        "E256",
        "transformers cannot use it",
        place=str(base.folder / "config.json"),
        hint="take config.json of the model as it was published; a newer architecture may need a newer transformers",
    ):
        AutoConfig.from_pretrained(base.folder, trust_remote_code=False, local_files_only=True)


def _read_tokenizer(base: Base, folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        if (folder / "tokenizer.json").is_file() or not (folder / "tokenizer.model").is_file():
            raise
        raise _not_converted(folder) from error
    if not tokenizer.is_fast:
        raise ModelError("E208", "there is no fast tokenizer (tokenizer.json)", place=str(folder))
    for kind in ("bos_token", "unk_token", "pad_token"):
        # An empty name is not a token; asked for its id, transformers never returns.
        if getattr(tokenizer, kind) == "":
            setattr(tokenizer, kind, None)
    if not tokenizer.eos_token or tokenizer.eos_token_id is None:
        raise ModelError(
            "E208",
            "the tokenizer has no end token",
            place=str(folder),
            why="the model could never stop",
            hint="name one as `eos_token` in tokenizer_config.json",
        )
    follow_tokenizer_file(tokenizer, folder)
    rows = base.config.get("vocab_size")
    rows = rows if isinstance(rows, int) else len(tokenizer)
    given = tokenizer.pad_token
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id) or tokenizer.pad_token_id >= rows:
        tokenizer.pad_token = _free_to_pad(tokenizer, rows)
        if tokenizer.pad_token is None and len(tokenizer) < rows:  # the model has rows that no token uses
            tokenizer.add_special_tokens({"pad_token": _PAD_NAMES[0]})
    # Tools add a padding token without giving the model a row for it: another one pads, and nothing holds that.
    _check_vocabulary(tokenizer, folder, rows, unused={given} - {tokenizer.pad_token})
    check_padding(tokenizer, {tokenizer.eos_token_id}, place=str(folder))
    tokenizer.padding_side = "right"
    return tokenizer


def _not_converted(folder: Path) -> ModelError:
    return ModelError(
        "E208",
        "there is no tokenizer.json, only tokenizer.model",
        place=str(folder),
        why="that is a vocabulary of sentencepiece, which has to be converted first",
        hint="`pip install sentencepiece protobuf`; then `save_pretrained` of the tokenizer writes tokenizer.json",
    )


def _check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, folder: Path, rows: int, unused: Iterable[str]
) -> None:
    """A token without a row in the embedding would end the run at the first text that holds it."""
    beyond = sorted(
        (id, token) for token, id in tokenizer.get_vocab().items() if id >= rows and token not in unused
    )
    if beyond:
        raise ModelError(
            "E255",
            f"the tokenizer has {counted(len(beyond), 'token')} that the model has no row for: "
            + ", ".join(f"`{token}` ({id})" for id, token in beyond[:5]),
            place=str(folder),
            why=f"the model's embedding has {counted(rows, 'row')}",
            hint="give the model rows for them (`resize_token_embeddings`) and save both, or use the tokenizer that "
            "the model came with",
        )


def _free_to_pad(tokenizer: PreTrainedTokenizerBase, rows: int) -> str | None:
    """A control token that is free to pad with, if there is one. Padding is never attended to and never trained, but
    if it were the end token, any later tool that masks padding by its id would make the model unlearn how to stop."""
    vocabulary = tokenizer.get_vocab()
    reserved = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    taken = {tokenizer.eos_token, tokenizer.bos_token}
    for name in (*_PAD_NAMES, *reserved):
        if name not in taken and vocabulary.get(name, rows) < rows:
            return name
    return None
