"""Roles that share one (quantised) base: an adapter each, critic and reward models with a scalar head."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from llamatune.forward.outputs import apply_head, hidden_at, logits_at
from llamatune.models.adapters import HEAD_WEIGHT, check_tensors, has_its_layers, read_adapter
from llamatune.models.base import HEAD, Base
from llamatune.ppo.roles.base import RoleName, Roles, disable_dropout
from llamatune.ppo.roles.sharding import spread
from llamatune.ppo.roles.weights import (
    POLICY,
    REFERENCE,
    VALUE,
    adapter_weights,
    add_adapter_copy,
    set_adapter_weights,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Adapters(Roles):
    """One base for all roles.

    Args:
        backbone: a causal language model with the policy's adapter, named `default`.
        value_head: a linear layer to one number, in float32.

    The critic's adapter begins as a copy of the policy's; unless that is new, the reference is a frozen copy of it.
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

    def forward(self, role: RoleName, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
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

    def leave_alone(self, policy: Any) -> None:
        """Take off every adapter but the policy's."""
        for name in [name for name in policy.peft_config if name != POLICY]:
            policy.delete_adapter(name)
        for layer in _switchable(policy):
            layer._active_adapter = [POLICY]
            layer._disable_adapters = False
        for name, weight in policy.named_parameters():
            weight.requires_grad_(f".{POLICY}" in name)

    def policy_model(self) -> PreTrainedModel:
        return self.backbone

    def _trained_models(self) -> list[Any]:
        return [self.backbone.get_base_model()]

    def _checkpoint_activations(self, settings: dict[str, Any] | None, **others: Any) -> None:
        super()._checkpoint_activations(settings, **others)
        self.backbone.enable_input_require_grads()  # else nothing in a frozen base's first layer asks for gradients

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
        """To be called after adapters were added or removed."""
        self._layers = _switchable(self.backbone)
        disable_dropout(self.backbone)
        self.train_only_policy_and_critic()
        self._switch(POLICY)

    # ---- reward models on the same base ---------------------------------------------------------------------

    def add_reward(self, name: str, folder: Path, base: Base) -> PreTrainedModel:
        """Put a reward model's adapter on the base; returns the reward model, which shares the base's layers.

        Score with it inside `acting(name)`.

        Raises:
            ModelError: E233 and E234, as wherever an adapter is loaded.
        """
        config, weights = read_adapter(folder)
        config.modules_to_save = None  # the head is a layer of the model below, not of the shared base
        config.task_type = "CAUSAL_LM"
        config.inference_mode = False
        with has_its_layers(folder, base):
            self.backbone.add_adapter(name, config)
        needed = {key: tuple(weight.shape) for key, weight in adapter_weights(self.backbone, name).items()}
        head = {HEAD_WEIGHT: (1, self.value_head.in_features)}
        check_tensors(weights, needed | head, folder, base)
        matrices = {key: weight for key, weight in weights.items() if key != HEAD_WEIGHT}
        set_adapter_weights(self.backbone, name, matrices)
        self._renew()
        view = scoring_view(self.backbone.get_base_model(), weights[HEAD_WEIGHT])
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


def _switchable(model: nn.Module) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
