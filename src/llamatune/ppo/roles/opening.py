"""Make the roles of `PPOTrainer` from what it was given: names, models, adapters; put reward adapters on its base."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamatune.data.encode.chat import ChatFormat
from llamatune.errors import LlamatuneError, ModelError
from llamatune.forward.attention import can_be_padding_free
from llamatune.judging.judges import Judge, ModelReward
from llamatune.judging.opening import Sharing
from llamatune.models.found import Found, check_task, find
from llamatune.models.heads import set_padding, value_model_of, zero_head
from llamatune.models.open import OpenModel, open_model
from llamatune.models.probing import without_adapter
from llamatune.models.quiet import quiet_upstream
from llamatune.models.tokenizer import load_tokenizer
from llamatune.ppo.roles.adapters import Adapters
from llamatune.ppo.roles.separate import Separate

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

    from llamatune.ppo.config import PPOConfig

logger = logging.getLogger(__name__)


@quiet_upstream()
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


def begin_as_reward(roles: Separate | Adapters, judges: Sequence[Judge]) -> None:
    """Let the critic begin as the first reward model: values are then scores of unfinished replies (Stiennon et al.
    2020).

    Raises:
        ModelError: no reward model, or one on another base than the policy's, where all roles share that.
    """
    first = next((judge for judge in judges if isinstance(judge, ModelReward)), None)
    if first is None or (isinstance(roles, Adapters) and first.role is None):
        raise _cannot(
            "critic_init",
            "is `reward`, and no reward model has the base that the critic needs",
            hint="use `critic_init: policy`",
        )
    roles.begin_critic(first.role or first.model)


def lay_end_to_end(roles: Separate | Adapters) -> bool:
    """Whether rows may lie end to end in every role's passes; tried on the policy, and then set for the others."""
    if not can_be_padding_free(roles.policy_model(), 1 << 30):
        return False
    if isinstance(roles, Adapters):
        return True
    policy = without_adapter(roles.policy)
    attention = policy.config._attn_implementation
    for model in (without_adapter(roles.reference), without_adapter(roles.critic)):
        if type(model.base_model) is not type(policy.base_model):
            return False  # not the architecture that was tried
        model.set_attn_implementation(attention)
    return True


# ---- reward models on the policy's base ---------------------------------------------------------------------


def sharing_base(roles: Separate | Adapters) -> Sharing | None:
    """Puts reward adapters on the policy's base, where that is theirs; None where roles are models of their own."""
    if not isinstance(roles, Adapters):
        return None

    def share(name: str, path: str) -> ModelReward | None:
        found = find(path)
        if found.adapter is None or not _same_base(found, roles):
            logger.warning("%s", own_base(name, path))
            return None
        check_task(found, "score", "PPOTrainer(reward_funcs=...)")
        role = f"reward_{name}"
        view = roles.add_reward(role, found.adapter, found.base)
        tokenizer = load_tokenizer(found.base, found.tokenizer_folder)
        set_padding(view, tokenizer.pad_token_id)
        return ModelReward(
            name,
            view,
            tokenizer,
            ChatFormat(tokenizer, found.chat),
            weights=found.digest,
            role=role,
            acting=partial(roles.acting, role),
        )

    return share


def own_base(name: str, path: str) -> str:
    """What to tell a user who chose adapters to save memory."""
    return (
        f"reward model `{name}` ({path}) is not an adapter that names the policy's base as its own, so it is loaded "
        "as a model of its own, with the memory of one"
    )


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
    except LlamatuneError:  # only the caller knows the base: the reward model gets its own
        return False


def _cannot(name: str, what: str, hint: str | None = None) -> ModelError:
    return ModelError("E240", f"`{name}` {what}", place=f"PPOTrainer({name}=...)", hint=hint)
