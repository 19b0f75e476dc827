"""Fine-tune Llama-architecture models from YAML recipes: `llamatune run R.yaml`, or `run(load(path))`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llamatune.version import __version__

if TYPE_CHECKING:
    from llamatune.errors import LlamatuneError
    from llamatune.pipeline import run
    from llamatune.ppo.config import PPOConfig
    from llamatune.ppo.trainer import PPOTrainer
    from llamatune.recipe.load import load

__all__ = ["LlamatuneError", "PPOConfig", "PPOTrainer", "__version__", "load", "run"]

# Imported at first use, so that `import llamatune` and the light commands stay fast.
_HOMES = {
    "LlamatuneError": "llamatune.errors",
    "PPOConfig": "llamatune.ppo.config",
    "PPOTrainer": "llamatune.ppo.trainer",
    "load": "llamatune.recipe.load",
    "run": "llamatune.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llamatune' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
