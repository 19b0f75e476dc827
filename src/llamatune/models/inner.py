"""The model inside what wraps it."""

from __future__ import annotations

from typing import Any


def without_adapter(model: Any) -> Any:
    """The base model inside an adapter, with the adapter's layers in place; a model without an adapter as it is."""
    return model.get_base_model() if hasattr(model, "peft_config") else model
