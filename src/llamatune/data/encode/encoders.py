"""Which rows a recipe learns from, and how they become tokens: for training, and for the preview."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llamatune.data.clean.packages import check_clean
from llamatune.data.clean.rules import CleanEncoder
from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.documents import TextEncoder
from llamatune.data.encode.pairs import PairEncoder
from llamatune.data.encode.prompts import PromptEncoder
from llamatune.data.encode.scored import ScoredEncoder
from llamatune.data.rows import Document, Encoded, Encoder, Row
from llamatune.recipe.blocks import Chat, Data, Kind
from llamatune.recipe.recipes import STAGES, Recipe
from llamatune.recipe.stages.common import StageRecipe
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.recipe.stages.pretrain import PretrainData
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import SftRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def kind_for(recipe: StageRecipe) -> Kind:
    """What a recipe's rows become: what its stage learns from; a reward model may learn from single replies instead,
    and fine-tuning from plain text as well."""
    if isinstance(recipe, RewardRecipe) and recipe.loss.objective != "pairs":
        return recipe.loss.objective
    if isinstance(recipe, SftRecipe) and recipe.data.plain_text:
        return "ptx"
    return STAGES[recipe.stage].rows


def encoder_for(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> tuple[Kind, Encoder]:
    """The kind of rows that a recipe's stage takes, and their encoder.

    Raises:
        ModelError: the tokenizer's chat template cannot be used.
    """
    chat = getattr(recipe, "chat", Chat())
    kind = kind_for(recipe)
    return kind, encoder_of(kind, recipe.data, tokenizer, chat)


def mix_encoder_for(recipe: PpoRecipe, tokenizer: PreTrainedTokenizerBase) -> Encoder | None:
    """The encoder of a recipe's pretraining mix; None without one."""
    mix = recipe.data.mix
    return None if mix is None else encoder_of("ptx", mix, tokenizer, recipe.chat)


def encoder_of(kind: Kind, data: Data, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> Encoder:
    """The encoder of a kind of rows, under the policies of a `data` block."""
    length, too_long = data.max_length, data.too_long
    if kind == "documents":
        text = TextEncoder(tokenizer, max_length=length, too_long=too_long)
        rules = data.clean if isinstance(data, PretrainData) else None
        if rules is None:
            return text
        check_clean(rules)
        return CleanEncoder(text, rules) if rules.has_rules else text
    if kind == "conversations":
        return ChatFormat(tokenizer, chat, max_length=length, too_long=too_long)
    if kind == "ptx":
        return MixedEncoder(tokenizer, chat, data)
    format = ChatFormat(tokenizer, chat)
    if kind == "preferences":
        return PairEncoder(format, max_length=length, too_long=too_long)
    if kind == "prompts":
        assert too_long != "truncate", "the recipe refuses it"
        return PromptEncoder(format, max_length=length, too_long=too_long)
    return ScoredEncoder(format, max_length=length, too_long=too_long)


class MixedEncoder:
    """An `Encoder` for documents and conversations alike."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat: Chat, data: Data) -> None:
        self.text = encoder_of("documents", data, tokenizer, chat)
        self.chat = encoder_of("conversations", data, tokenizer, chat)
        state = f"{self.text.fingerprint} {self.chat.fingerprint}"
        self.fingerprint = hashlib.sha256(state.encode()).hexdigest()

    def encode(self, row: Row) -> Iterator[Encoded]:
        """What the encoder of the row's kind makes of it."""
        return (self.text if isinstance(row, Document) else self.chat).encode(row)
