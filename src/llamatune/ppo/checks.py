"""What `PPOTrainer` checks before anything is spent, and what it reads off the model and the tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llamatune.data.encode.chat import ChatFormat
from llamatune.data.encode.control_tokens import check_padding
from llamatune.errors import ModelError
from llamatune.models.load import weights_in
from llamatune.ppo.config import PPOConfig
from llamatune.sampling.prompts import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def stop_tokens(
    args: PPOConfig, chat: ChatFormat | None, tokenizer: PreTrainedTokenizerBase, policy: PreTrainedModel
) -> set[int]:
    """Every token that ends a completion: the chat format's, the tokenizer's and all of the model's.

    Raises:
        ModelError: no token ends one, or one of them is the padding token.
    """
    of_model = getattr(policy.generation_config, "eos_token_id", None)
    ids = set(of_model if isinstance(of_model, list) else [of_model])
    ids |= {tokenizer.eos_token_id} | (set(chat.stop_ids) if chat is not None else set())
    ids = set(args.stop_token_ids or ids - {None})
    if not ids:
        raise ModelError(
            "E209", "no token ends a completion", place="processing_class", hint="give `stop_token_ids`"
        )
    check_padding(
        tokenizer,
        ids | {tokenizer.eos_token_id},
        place="processing_class",
        hint="set `tokenizer.pad_token` to another special token, such as <pad> or <unk>",
    )
    return ids


def context_of(policy: PreTrainedModel) -> int | None:
    """The most tokens that it reads; None if it has no limit."""
    context: int | None = getattr(policy.config.get_text_config(), "max_position_embeddings", None)
    return context


def check_context(prompts: Prompts, policy: PreTrainedModel, args: PPOConfig) -> None:
    """Check that every prompt can be read and leaves room for a whole completion."""
    longest = max(len(prompts.ids(prompts[row])) for row in range(len(prompts)))
    context = context_of(policy)
    if context is not None and longest + args.max_completion_length > context:
        raise ModelError(
            "E221",
            f"a prompt of {longest:,} tokens and a completion of {args.max_completion_length:,} are longer than the "
            f"model's context of {context:,}",
            place="PPOConfig.max_completion_length",
            why="the model has never seen positions beyond its context",
            hint="lower `max_completion_length`, or leave out the longest prompts",
        )


def beta_of(args: PPOConfig, policy: PreTrainedModel) -> float:
    """The paper's beta by the size of the policy: 0.01 for 7B and 13B, 0.005 for 34B and 70B."""
    if args.kl_coef is not None:
        return args.kl_coef
    return 0.01 if sum(map(weights_in, policy.parameters())) < 30e9 else 0.005
