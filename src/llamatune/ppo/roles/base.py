"""The roles of PPO: who acts, who judges its states, and where it started from.

Two ways to hold them. `Separate`: a model each. `Adapters`: one (quantised) base, and for each role a LoRA adapter,
critic and reward models with a scalar head; the reference is the base with its adapters off, or a frozen copy of the
adapter that the policy started from. Either way it is one module whose `forward` plays a role, so that what wraps
modules for several processes sees every call.

Hazards of adapters, each with a test (H1 to H9 in docs/ppo_correctness.md): peft's own switches change which weights
are trained, so roles are switched by the layers' flags alone; the base is never merged into; a forward pass and its
backward pass happen inside the same `acting` block, because checkpointed layers run again in the backward pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from llamatune.forward.sharding import is_sharded
from llamatune.ppo.roles.sharding import layer_classes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RoleName = Literal["policy", "reference", "value"]
TRAINED: tuple[RoleName, RoleName] = ("policy", "value")
"""In the order of their passes in an update."""


class Roles(nn.Module, ABC):
    """Policy, reference and critic, however they are held."""

    padding_free = False
    """Whether the rows of `forward`'s inputs lie end to end."""

    # ---- playing ----------------------------------------------------------------------------------------------

    @abstractmethod
    def forward(self, role: RoleName, inputs: Mapping[str, Any], positions: torch.Tensor) -> torch.Tensor:
        """Logits (tokens, vocabulary) at flat positions, or the critic's values (tokens,) there.

        Call it, and the backward pass of what it gives, inside `acting(role)`.
        """

    @abstractmethod
    def acting(self, role: RoleName) -> AbstractContextManager[None]:
        """Let a role act for the duration of the block; outside of any, the policy acts."""

    @property
    @abstractmethod
    def describe(self) -> str:
        """Who shares what, in a few words."""

    # ---- weights ----------------------------------------------------------------------------------------------

    @abstractmethod
    def policy_model(self) -> PreTrainedModel:
        """What generates, and is saved: the very model that was given."""

    @abstractmethod
    def leave_alone(self, policy: PreTrainedModel) -> None:
        """Take everything off the policy's model, or off a copy of it, that the other roles put on it."""

    @abstractmethod
    def is_critic(self, name: str) -> bool:
        """Whether a weight, by its name in this module, is the critic's."""

    @abstractmethod
    def begin_critic(self, reward: Any) -> None:
        """Let the critic begin as a reward model: this one, or the one with this adapter on the shared base."""

    @property
    def sharded(self) -> bool:
        """Whether FSDP2 has spread the weights over the processes."""
        return is_sharded(self)

    def trained_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The trained weights of policy and critic, by their names in this module."""
        return ((name, weight) for name, weight in self.named_parameters() if weight.requires_grad)

    def drop_gradients(self, role: RoleName) -> None:
        """Of the policy, or of the critic."""
        for name, weight in self.trained_weights():
            if self.is_critic(name) == (role == "value"):
                weight.grad = None

    # ---- files ------------------------------------------------------------------------------------------------

    @abstractmethod
    def critic_state(self) -> dict[str, torch.Tensor]:
        """The critic's weights for a checkpoint; sharded ones as they are."""

    @abstractmethod
    def load_critic(self, state: Mapping[str, torch.Tensor]) -> None:
        """What `critic_state` gave, whole."""

    @abstractmethod
    def load_policy(self, folder: Path) -> None:
        """The weights of a saved policy."""

    # ---- what transformers and accelerate ask of a model ---------------------------------------------------------

    @abstractmethod
    def _trained_models(self) -> list[Any]:
        """The layers that activation checkpointing is for."""

    @property
    def _no_split_modules(self) -> list[str]:
        """The layers that accelerate shards separately."""
        return layer_classes(self.children())

    @property
    def is_gradient_checkpointing(self) -> bool:
        return all(getattr(model, "is_gradient_checkpointing", False) for model in self._trained_models())

    def _checkpoint_activations(self, settings: dict[str, Any] | None, **others: Any) -> None:
        for model in self._trained_models():
            enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
            enable(settings or {"use_reentrant": False}, **others)

    # transformers' names for the same thing: the first up to 5.22, the others since.

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


def disable_dropout(model: nn.Module) -> None:
    """A ratio of probabilities needs the same network twice: no dropout anywhere, LoRA's and attention's included."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010 (the type checker takes it for a module)
