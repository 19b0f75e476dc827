"""Make the roles and rewards of `PPOTrainer` from what it was given: names, models, adapters, functions."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import LlamatuneError, ModelError
from llamatune.forward.attention import can_be_padding_free
from llamatune.judging.judges import FunctionReward, ModelReward, Reward
from llamatune.models.found import Found, check_task, find
from llamatune.models.heads import value_model_of, zero_head
from llamatune.models.load import load_tokenizer
from llamatune.models.open import OpenModel, open_model
from llamatune.ppo.roles.adapters import Adapters
from llamatune.ppo.roles.separate import Separate
from llamatune.recipe.blocks import Chat

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llamatune.ppo.config import PPOConfig

logger = logging.getLogger(__name__)
RewardFunction = str | Path | Any
RewardFunctions = RewardFunction | Sequence[RewardFunction] | Mapping[str, RewardFunction]


def open_policy(
    model: str | Path | PreTrainedModel, peft_config: PeftConfig | None, quantization_config: Any, seed: int
) -> tuple[PreTrainedModel, OpenModel | None]:
    """The policy, and what was opened where it was given by name.

    Raises:
        ModelError: not found; an adapter on which another is asked for; a quantised base without an adapter.
    """
    from peft import PeftModel, get_peft_model
    from transformers import set_seed

    opened = None
    if isinstance(model, (str, Path)):
        adapted = peft_config is not None or quantization_config is not None
        opened = open_model(
            str(model), train="adapter" if adapted else "weights", quantization=quantization_config
        )
        model = opened.model
    elif quantization_config is not None:
        raise _cannot("quantization_config", "is for a model given by name: this one is loaded already")
    if peft_config is not None:
        if isinstance(model, PeftModel):
            raise _cannot(
                "peft_config",
                "and a model that has an adapter",
                hint="leave it out: PPO goes on training the adapter; or merge it first (`llamatune merge`)",
            )
        set_seed(seed)
        name = getattr(model, "name_or_path", None)
        model = get_peft_model(model, copy.deepcopy(peft_config))
        model.peft_config["default"].base_model_name_or_path = opened.base.home if opened else name
    elif getattr(model, "is_quantized", False) and not isinstance(model, PeftModel):
        raise _cannot(
            "model", "is quantised, and quantised weights cannot be trained", hint="give `peft_config`"
        )
    if isinstance(model, PeftModel) and set(model.peft_config) != {"default"}:
        raise _cannot("model", f"has adapters named {', '.join(model.peft_config)}, and needs one: `default`")
    return model, opened


def open_roles(
    policy: PreTrainedModel,
    args: PPOConfig,
    *,
    ref_model: PreTrainedModel | str | None,
    value_model: PreTrainedModel | str | None,
) -> Separate | Adapters:
    """Roles for this policy: adapters on one base where it has an adapter, else (or if asked for) models of their own.

    Raises:
        ModelError: roles that do not go together.
    """
    has_adapter = hasattr(policy, "peft_config")
    if args.roles == "adapters" and not has_adapter:
        raise _cannot("roles", "is `adapters`, and the policy has none", hint="give `peft_config`")
    if has_adapter and args.roles != "separate":
        if ref_model is not None or value_model is not None:
            raise _cannot(
                "ref_model" if ref_model is not None else "value_model",
                "cannot be a model of its own where all roles are adapters on the policy's base",
                hint="leave it out, or set `roles: separate`",
            )
        return Adapters(policy, zero_head(policy))
    reference = _reference(policy, ref_model)
    return Separate(policy, _critic(policy, value_model), reference)


def _reference(policy: PreTrainedModel, given: PreTrainedModel | str | None) -> PreTrainedModel:
    """The policy as it is now, its adapter included; or what was given."""
    if given is None:
        return copy.deepcopy(policy)
    if given is policy:
        raise _cannot("ref_model", "is the policy itself: the reference would move with it")
    return open_model(given).model if isinstance(given, str) else given


def _critic(policy: PreTrainedModel, given: PreTrainedModel | str | None) -> PreTrainedModel:
    if isinstance(given, str):
        return open_model(given, task="score").model.float().requires_grad_(True)
    if given is not None:
        return given
    if hasattr(policy, "peft_config"):
        policy = copy.deepcopy(policy).merge_and_unload()
    return value_model_of(policy)


def begin_as_reward(roles: Separate | Adapters, rewards: Sequence[Reward]) -> None:
    """Let the critic begin as the first reward model: values are then scores of unfinished replies (Stiennon et al.
    2020).

    Raises:
        ModelError: no reward model, or one on another base than the policy's, where all roles share that.
    """
    first = next((reward for reward in rewards if isinstance(reward, ModelReward)), None)
    if first is None or (isinstance(roles, Adapters) and first.role is None):
        raise _cannot(
            "critic_init",
            "is `reward`, and no reward model has the base that the critic needs",
            hint="use `critic_init: policy`",
        )
    roles.begin_critic(first.role or first.model)


def lay_end_to_end(roles: Separate | Adapters) -> bool:
    """Whether rows may lie end to end in every role's passes; tried on the policy, and set for the others."""
    if not can_be_padding_free(roles.policy_model(), 1 << 30):
        return False
    if isinstance(roles, Adapters):
        return True
    attention = plain(roles.policy).config._attn_implementation
    for model in (plain(roles.reference), plain(roles.critic)):
        if type(model.base_model) is not type(plain(roles.policy).base_model):
            return False  # another architecture than the one that was tried
        model.set_attn_implementation(attention)
    return True


def plain(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model


# ---- rewards ------------------------------------------------------------------------------------------------


def open_rewards(
    given: RewardFunctions,
    processing_classes: Any,
    roles: Separate | Adapters,
    default_tokenizer: PreTrainedTokenizerBase,
    default_chat: ChatFormat | None,
    *,
    share_base: bool = True,
) -> list[Reward]:
    """The reward functions by name, in the order given. A reward adapter on the policy's base shares that base, unless
    `share_base` is False: layers that are sharded serve the roles only.

    Raises:
        ModelError: not a reward model.
    """
    named = _named(given)
    classes = _classes(processing_classes, len(named))
    found: list[Reward] = []
    for (name, one), tokenizer in zip(named.items(), classes, strict=True):
        if isinstance(one, (str, Path)):
            found.append(_by_name(name, str(one), roles if share_base else None))
        elif hasattr(one, "forward"):
            found.append(_given_model(name, one, tokenizer, default_tokenizer, default_chat))
        elif callable(one):
            found.append(FunctionReward(name, one))
        else:
            raise _cannot("reward_funcs", f"holds {one!r}: give a path, a reward model or a function")
    return found


def _named(given: RewardFunctions) -> dict[str, RewardFunction]:
    if isinstance(given, Mapping):
        named = dict(given)
    else:
        every = list(given) if isinstance(given, (list, tuple)) else [given]
        named = {}
        for one in every:
            name = Path(one).name if isinstance(one, (str, Path)) else _name_of(one)
            named[name if name not in named else f"{name}_{len(named)}"] = one
    if not named:
        raise _cannot("reward_funcs", "is empty: nothing would be learnt")
    return named


def own_base(name: str, path: str) -> str:
    """What to tell a user who chose adapters to save memory."""
    return (
        f"reward model `{name}` ({path}) is no adapter that names the policy's base as its own, so it is loaded as a "
        "model of its own, with the memory of one"
    )


def _name_of(one: Any) -> str:
    """A function's name, or where a loaded model came from."""
    return getattr(one, "__name__", "") or Path(getattr(one, "name_or_path", "")).name or "reward_model"


def _classes(given: Any, rewards: int) -> list[Any]:
    every = list(given) if isinstance(given, (list, tuple)) else [given] * rewards
    if len(every) != rewards:
        raise _cannot("reward_processing_classes", f"has {len(every)} entries for {rewards} reward functions")
    return every


def _by_name(name: str, path: str, roles: Separate | Adapters | None) -> Reward:
    found = find(path)
    if found.adapter is not None and isinstance(roles, Adapters) and _same_base(found, roles):
        check_task(found, "score", "PPOTrainer(reward_funcs=...)")
        role = f"reward_{name}"
        view = roles.add_reward(role, found.adapter)
        opened = open_tokenizer(found)
        view.config.pad_token_id = opened[0].pad_token_id
        return ModelReward(name, view, *opened, role=role, acting=partial(roles.acting, role))
    if isinstance(roles, Adapters):
        logger.warning("%s", own_base(name, path))
    model = open_model(path, task="score")
    model.model.requires_grad_(False)
    return ModelReward(name, model.model, model.tokenizer, ChatFormat(model.tokenizer, model.chat))


def open_tokenizer(found: Found) -> tuple[PreTrainedTokenizerBase, ChatFormat]:
    """An adapter's own tokenizer and chat format."""
    tokenizer = load_tokenizer(found.base, found.tokenizer_folder)
    return tokenizer, ChatFormat(tokenizer, found.chat)


def _same_base(reward: Found, roles: Adapters) -> bool:
    """Whether a reward adapter was trained on the policy's base: same weights, not only the same shapes."""
    if reward.tokenizer_folder != reward.adapter:
        return False
    name = roles.backbone.peft_config["default"].base_model_name_or_path
    trained_on = reward.note.get("base", {}).get("identity")
    if not name or trained_on is None:
        return False
    try:
        return bool(find(str(name)).base.identity() == trained_on)
    except LlamatuneError:  # a base that only the caller knows: the reward model gets its own
        return False


def _given_model(
    name: str,
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    default_tokenizer: PreTrainedTokenizerBase,
    default_chat: ChatFormat | None,
) -> Reward:
    if getattr(model.config, "num_labels", None) != 1:
        raise _cannot("reward_funcs", f"holds `{name}`, a model that does not give one score")
    model.eval().requires_grad_(False)
    if tokenizer is None:
        tokenizer, chat = default_tokenizer, default_chat
    else:
        chat = ChatFormat(tokenizer, Chat()) if tokenizer.chat_template else None
    model.config.pad_token_id = tokenizer.pad_token_id
    return ModelReward(name, model, tokenizer, chat)


def _cannot(name: str, what: str, hint: str | None = None) -> ModelError:
    return ModelError("E240", f"`{name}` {what}", place=f"PPOTrainer({name}=...)", hint=hint)
