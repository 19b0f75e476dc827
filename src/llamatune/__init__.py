"""Fine-tune Llama-architecture models from YAML recipes: `llamatune run R.yaml`, or `run(load(path))`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llamatune.errors import LlamatuneError
    from llamatune.pipeline import run
    from llamatune.recipe.load import load
    from llamatune.rl.config import PPOConfig
    from llamatune.rl.ppo_trainer import PPOTrainer

__version__ = "0.1.0"
__all__ = ["LlamatuneError", "PPOConfig", "PPOTrainer", "__version__", "load", "run"]

# Imported at first use, so that `import llamatune` and the light commands stay fast.
_HOMES = {
    "LlamatuneError": "llamatune.errors",
    "PPOConfig": "llamatune.rl.config",
    "PPOTrainer": "llamatune.rl.ppo_trainer",
    "load": "llamatune.recipe.load",
    "run": "llamatune.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llamatune' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
