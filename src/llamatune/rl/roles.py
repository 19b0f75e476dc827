"""The roles of PPO: who acts, who judges its states, and where it started from.

Two ways to hold them. `Separate`: a model each. `Adapters`: one (quantised) base, and for each role a LoRA adapter,
critic and reward models with a scalar head; the reference is the base with its adapters off, or a frozen copy of the
adapter that the policy started from. Either is one module, whose `forward` plays a role, so that what wraps modules
for several processes sees every call.

Hazards of adapters, each with a test (H1 to H9 in docs/ppo_correctness.md): peft's own switches change which weights
are trained, so roles are switched by the layers' flags alone; the base is never merged into; a forward pass and its
backward pass happen inside the same `acting` block, because checkpointed layers run again in the backward pass.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from llamatune.models.reward_model import HEAD, score_head
from llamatune.rl.sharding import layer_classes, spread

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

Role = Literal["policy", "reference", "value"]
POLICY, REFERENCE, VALUE = "default", "reference", "value"
"""Names of adapters; peft saves the one named `default` without a name."""


class _Roles(nn.Module, ABC):
    """What both ways share.

    `forward(role, inputs, positions)` gives logits (tokens, vocabulary) at flat positions, or the values (tokens,)
    there, inside `acting(role)`. `padding_free`: whether the rows of `inputs` lie end to end.
    """

    padding_free = False

    @abstractmethod
    def policy_model(self) -> PreTrainedModel:
        """What generates, and is saved."""

    @abstractmethod
    def is_critic(self, name: str) -> bool:
        """Whether a weight, by its name in this module, is the critic's."""

    @abstractmethod
    def _trained_models(self) -> list[Any]:
        """Those that activation checkpointing is for."""

    @property
    def is_gradient_checkpointing(self) -> bool:
        return all(getattr(model, "is_gradient_checkpointing", False) for model in self._trained_models())

    @property
    def _no_split_modules(self) -> list[str]:
        """What accelerate shards by themselves."""
        return layer_classes(self.children())

    def _checkpoint_activations(self, settings: dict[str, Any] | None, **others: Any) -> None:
        for model in self._trained_models():
            enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
            enable(settings or {"use_reentrant": False}, **others)

    # transformers' names for the same thing: the first ones up to 5.22, the others from then on.

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **others: Any
    ) -> None:
        self._checkpoint_activations(gradient_checkpointing_kwargs, **others)

    def gradient_checkpointing_disable(self) -> None:
        for model in self._trained_models():
            model.gradient_checkpointing_disable()

    @property
    def is_activation_checkpointing(self) -> bool:
        return self.is_gradient_checkpointing

    def activation_checkpointing_enable(
        self, activation_checkpointing_kwargs: dict[str, Any] | None = None, **others: Any
    ) -> None:
        self._checkpoint_activations(activation_checkpointing_kwargs, **others)


class Separate(_Roles):
    """A model each. `critic` is a sequence classification model with one label; `reference` is frozen."""

    def __init__(self, policy: PreTrainedModel, critic: PreTrainedModel, reference: PreTrainedModel) -> None:
        super().__init__()
        assert reference is not policy
        self.policy = policy
        self.critic = critic
        self.reference = reference.requires_grad_(False).eval()
        head = score_head(critic)
        if not any(weight.requires_grad for weight in head.parameters()):
            head.requires_grad_(True)  # peft freezes a head that its adapter does not name
        for model in (policy, critic, reference):
            disable_dropout(model)

    def forward(self, role: Role, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
        if role == "value":
            return values_at(self.critic, inputs, positions)
        model = self.policy if role == "policy" else self.reference
        return logits_at(model, inputs, positions, padding_free=self.padding_free)

    def acting(self, role: Role) -> AbstractContextManager[None]:
        return nullcontext()

    @property
    def describe(self) -> str:
        return "policy, critic and reference are models of their own"

    def leave_policy(self) -> None:
        """Nothing was put on the policy."""

    def policy_model(self) -> PreTrainedModel:
        return self.policy

    def _trained_models(self) -> list[Any]:
        return [self.policy, self.critic]

    def is_critic(self, name: str) -> bool:
        return "critic." in name

    def critic_state(self) -> dict[str, torch.Tensor]:
        return dict(self.critic.state_dict())

    def load_critic(self, state: Mapping[str, torch.Tensor]) -> None:
        self.critic.load_state_dict(spread(state, self.critic.state_dict()))

    def load_policy(self, folder: Path) -> None:
        if hasattr(self.policy, "peft_config"):
            set_adapter_weights(self.policy, POLICY, load_file(folder / "adapter_model.safetensors"))
        else:
            load_weights(self.policy, folder)

    def begin_critic(self, reward: PreTrainedModel) -> None:
        """Let the critic begin as a copy of this reward model."""
        self.critic = copy.deepcopy(reward).float().requires_grad_(True)
        disable_dropout(self.critic)


class Adapters(_Roles):
    """One base for all roles.

    Args:
        backbone: a causal language model with the policy's adapter, named `default`.
        value_head: a linear layer to one number, in float32.

    The critic's adapter begins as a copy of the policy's, the reference is a frozen copy of it where it is not new.
    """

    def __init__(self, backbone: PeftModel, value_head: nn.Linear) -> None:
        super().__init__()
        self.backbone = backbone
        self.value_head = value_head
        self.reward_heads: dict[str, torch.Tensor] = {}
        started = adapter_weights(backbone, POLICY)
        self.has_reference_adapter = any(
            "lora_B" in name and bool(weight.any()) for name, weight in started.items()
        )
        add_adapter_copy(backbone, VALUE, started)
        if self.has_reference_adapter:
            add_adapter_copy(backbone, REFERENCE, started)
        self._renew()

    def train_only_policy_and_critic(self) -> None:
        """Which weights are trained is said here, once; switching roles never changes it (H1, H2)."""
        for name, weight in self.backbone.named_parameters():
            weight.requires_grad_(f".{POLICY}" in name or f".{VALUE}" in name)
        self.value_head.requires_grad_(True)

    def forward(self, role: Role, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
        if role == "value":
            hidden = hidden_at(self.backbone.get_base_model(), inputs, positions)
            return apply_head(self.value_head, hidden)
        return logits_at(self.backbone, inputs, positions, padding_free=self.padding_free)

    @contextmanager
    def acting(self, role: str) -> Iterator[None]:
        """Play a role: `policy`, `reference`, `value`, or the name of a reward adapter."""
        names = {"policy": POLICY, "reference": REFERENCE if self.has_reference_adapter else None}
        self._switch(names.get(role, role))
        try:
            yield
        finally:
            self._switch(POLICY)

    def _switch(self, name: str | None) -> None:
        for layer in self._layers:
            layer._active_adapter = [name or POLICY]
            layer._disable_adapters = name is None

    @property
    def describe(self) -> str:
        of = "a frozen copy of the adapter" if self.has_reference_adapter else "the base alone"
        return f"policy and critic are adapters on one base, the reference is {of}"

    def leave_policy(self) -> None:
        """Take off every adapter but the policy's."""
        for name in [name for name in self.backbone.peft_config if name != POLICY]:
            self.backbone.delete_adapter(name)
        self._switch(POLICY)
        for name, weight in self.backbone.named_parameters():
            weight.requires_grad_(f".{POLICY}" in name)

    def policy_model(self) -> PreTrainedModel:
        return self.backbone

    def _trained_models(self) -> list[Any]:
        return [self.backbone.get_base_model()]

    def _checkpoint_activations(self, settings: dict[str, Any] | None, **others: Any) -> None:
        super()._checkpoint_activations(settings, **others)
        self.backbone.enable_input_require_grads()  # else nothing of a frozen base's first layer asks for gradients

    def is_critic(self, name: str) -> bool:
        return f".{VALUE}" in name or "value_head" in name

    def critic_state(self) -> dict[str, torch.Tensor]:
        head = {f"value_head.{name}": weight for name, weight in self.value_head.state_dict().items()}
        return adapter_weights(self.backbone, VALUE) | head

    def load_critic(self, state: Mapping[str, torch.Tensor]) -> None:
        head = {name.removeprefix("value_head."): w for name, w in state.items() if "value_head." in name}
        self.value_head.load_state_dict(spread(head, self.value_head.state_dict()))
        set_adapter_weights(
            self.backbone, VALUE, {name: w for name, w in state.items() if "value_head." not in name}
        )

    def load_policy(self, folder: Path) -> None:
        set_adapter_weights(self.backbone, POLICY, load_file(folder / "adapter_model.safetensors"))

    def begin_critic(self, reward: str) -> None:
        """Let the critic begin as the reward model with this adapter."""
        self.backbone.delete_adapter(VALUE)
        weights = adapter_weights(self.backbone, reward)
        add_adapter_copy(self.backbone, VALUE, weights, self.backbone.peft_config[reward])
        self.value_head.weight.data.copy_(self.reward_heads[reward])
        self._renew()

    def _renew(self) -> None:
        """After adapters came or went."""
        self._layers = _switchable(self.backbone)
        disable_dropout(self.backbone)
        self.train_only_policy_and_critic()
        self._switch(POLICY)

    # ---- reward models on the same base ---------------------------------------------------------------------

    def add_reward(self, name: str, folder: Path) -> PreTrainedModel:
        """Put a reward model's adapter on the base; returns the reward model, which shares the base's layers.

        Score with it inside `acting(name)`.
        """
        from peft import PeftConfig

        weights = load_file(folder / "adapter_model.safetensors")
        head = {key: weight for key, weight in weights.items() if f".{HEAD}." in key}
        matrices = {key: weight for key, weight in weights.items() if key not in head}
        config = PeftConfig.from_pretrained(str(folder))
        config.modules_to_save = None  # the head is a layer of the model below, not of the shared base
        config.task_type = "CAUSAL_LM"
        add_adapter_copy(self.backbone, name, matrices, config)
        self._renew()
        view = scoring_view(self.backbone.get_base_model(), next(iter(head.values())))
        self.reward_heads[name] = view.get_submodule(HEAD).get_parameter("weight")
        return view


def scoring_view(causal: PreTrainedModel, head: torch.Tensor) -> PreTrainedModel:
    """A sequence classification model whose layers are those of a causal one, with a head of its own.

    Args:
        head: (1, hidden).
    """
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(causal.config)
    config.num_labels = 1
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        view = AutoModelForSequenceClassification.from_config(config)
    setattr(view, view.base_model_prefix, getattr(causal, causal.base_model_prefix))
    layer = nn.Linear(head.shape[1], 1, bias=False, device=causal.device, dtype=torch.float32)
    layer.weight.data.copy_(head)
    setattr(view, HEAD, layer.requires_grad_(False))
    view.config = causal.config  # one attention for both
    return view.eval()


# ---- forward passes -----------------------------------------------------------------------------------------


def logits_at(
    model: PreTrainedModel, inputs: Mapping[str, Any], positions: torch.Tensor, *, padding_free: bool
) -> torch.Tensor:
    """(tokens, vocabulary) at flat positions; where rows lie end to end, no other logits are computed."""
    if padding_free:
        logits: torch.Tensor = model(**inputs, use_cache=False, logits_to_keep=positions).logits[0]
        return logits
    whole: torch.Tensor = model(**inputs, use_cache=False).logits.flatten(0, 1)
    return whole[positions]


def hidden_at(model: PreTrainedModel, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
    """(tokens, hidden) of the last layer."""
    hidden: torch.Tensor = model.base_model(**inputs, use_cache=False).last_hidden_state
    return hidden.flatten(0, 1)[positions]


def values_at(critic: PreTrainedModel, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
    """(tokens,) in float32. The critic may carry an adapter."""
    inner = critic.get_base_model() if hasattr(critic, "peft_config") else critic
    return apply_head(score_head(critic), hidden_at(inner, inputs, positions))


def apply_head(head: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    with torch.autocast(hidden.device.type, enabled=False):
        values: torch.Tensor = head(hidden.to(next(head.parameters()).dtype))[..., 0]
    return values.float()


# ---- making roles -------------------------------------------------------------------------------------------


def value_model_of(policy: PreTrainedModel) -> PreTrainedModel:
    """A critic with a copy of the policy's layers and a head of zeros: every state is worth 0 at first."""
    config = copy.deepcopy(policy.config)
    config.num_labels = 1
    from transformers import AutoModelForSequenceClassification

    critic = AutoModelForSequenceClassification.from_config(
        config, dtype=policy.dtype, attn_implementation=policy.config._attn_implementation
    )
    critic.base_model.load_state_dict(policy.base_model.state_dict())
    nn.init.zeros_(getattr(critic, HEAD).weight)
    return critic.to(policy.device)


def zero_head(model: PreTrainedModel) -> nn.Linear:
    """hidden -> 1, zeros, on the model's device."""
    head = nn.Linear(model.config.get_text_config().hidden_size, 1, bias=False, device=model.device)
    nn.init.zeros_(head.weight)
    return head


def disable_dropout(model: nn.Module) -> None:
    """A ratio of probabilities needs the same network twice: no dropout anywhere, LoRA's and attention's included."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010 (the type checker takes it for a module)


def adapter_weights(model: PeftModel, name: str) -> dict[str, torch.Tensor]:
    """An adapter's weights by the names that peft saves them under."""
    from peft import get_peft_model_state_dict

    state: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, adapter_name=name, save_embedding_layers=False
    )
    return {key: weight.detach().clone() for key, weight in state.items()}


def set_adapter_weights(model: PeftModel, name: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises RuntimeError where a weight is missing or has no place."""
    from peft import set_peft_model_state_dict

    placed = spread(weights, adapter_weights(model, name))
    result = set_peft_model_state_dict(model, placed, adapter_name=name)
    mine = [key for key in result.missing_keys if "lora_" in key and f".{name}." in key]
    if mine or result.unexpected_keys:
        raise RuntimeError(f"adapter {name}: missing {mine[:3]}, unexpected {result.unexpected_keys[:3]}")


def add_adapter_copy(
    model: PeftModel, name: str, weights: Mapping[str, torch.Tensor], config: Any = None
) -> None:
    """A further adapter with these weights; its shape is the policy's where no config is given."""
    added = copy.deepcopy(config or model.peft_config[POLICY])
    added.inference_mode = False
    model.add_adapter(name, added)
    set_adapter_weights(model, name, weights)


def _switchable(model: nn.Module) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


# ---- files ----------------------------------------------------------------------------------------------------


def save_weights(state: Mapping[str, torch.Tensor], file: Path) -> None:
    # clone: safetensors refuses tensors that share memory
    save_file({name: weight.detach().cpu().clone().contiguous() for name, weight in state.items()}, file)


def load_weights(model: PreTrainedModel, folder: Path) -> None:
    """The weights in a folder, all of them and no others; tied ones are stored once."""
    state: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        state.update(load_file(file))
    missing, unexpected = model.load_state_dict(spread(state, model.state_dict()), strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    if unexpected or set(missing) - tied:
        raise RuntimeError(f"{folder}: missing {list(missing)[:3]}, unexpected {list(unexpected)[:3]}")
