"""Which rows a stage learns from, and how they become tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.documents import TextEncoder
from llamatune.data.encode.pairs import PairEncoder
from llamatune.data.encode.prompts import PromptEncoder
from llamatune.data.encode.scored import ScoredEncoder
from llamatune.data.rows import Encoder
from llamatune.recipe.blocks import Kind
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import SftRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encoder_for(
    recipe: PretrainRecipe | SftRecipe | RewardRecipe | PpoRecipe, tokenizer: PreTrainedTokenizerBase
) -> tuple[Kind, Encoder]:
    """The kind of rows that a recipe's stage takes, and their encoder."""
    if isinstance(recipe, PpoRecipe):
        chat = ChatFormat(tokenizer, recipe.chat)
        return "prompts", PromptEncoder(
            chat, max_length=recipe.data.max_length, too_long=recipe.data.too_long
        )
    length, too_long = recipe.data.max_length, recipe.data.too_long
    if isinstance(recipe, PretrainRecipe):
        return "documents", TextEncoder(tokenizer, max_length=length, too_long=too_long)
    if isinstance(recipe, RewardRecipe):
        return reward_encoder(recipe, ChatFormat(tokenizer, recipe.chat))
    return "conversations", ChatFormat(tokenizer, recipe.chat, max_length=length, too_long=too_long)


def reward_encoder(recipe: RewardRecipe, chat: ChatFormat) -> tuple[Kind, Encoder]:
    """Preference pairs, or conversations with a score, in a chat format."""
    length, too_long = recipe.data.max_length, recipe.data.too_long
    if recipe.loss.objective == "scores":
        return "scores", ScoredEncoder(chat, max_length=length, too_long=too_long)
    return "preferences", PairEncoder(chat, max_length=length, too_long=too_long)
