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

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from llamatune.ppo.roles.sharding import layer_classes

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Role = Literal["policy", "reference", "value"]


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


def disable_dropout(model: nn.Module) -> None:
    """A ratio of probabilities needs the same network twice: no dropout anywhere, LoRA's and attention's included."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010 (the type checker takes it for a module)
