"""Roles that are models of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from llamatune.forward.outputs import logits_at, values_at
from llamatune.models.heads import score_head
from llamatune.ppo.roles.base import RoleName, Roles, disable_dropout
from llamatune.ppo.roles.sharding import spread
from llamatune.ppo.roles.weights import (
    POLICY,
    load_weights,
    set_adapter_weights,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Separate(Roles):
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

    def forward(self, role: RoleName, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
        if role == "value":
            return values_at(self.critic, inputs, positions)
        model = self.policy if role == "policy" else self.reference
        return logits_at(model, inputs, positions, padding_free=self.padding_free)

    def acting(self, role: RoleName) -> AbstractContextManager[None]:
        return nullcontext()

    @property
    def describe(self) -> str:
        return "policy, critic and reference are models of their own"

    def leave_alone(self, policy: PreTrainedModel) -> None:
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
