"""Fine-tune Llama-architecture models from YAML recipes: `llamatune run R.yaml`, or `run(load(path))`.

What a notebook needs is here, and listed by `dir(llamatune)`; docs/python.md says what each is for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llamatune.version import __version__

if TYPE_CHECKING:
    from llamatune.commands.best_of import best_of, judge, sample
    from llamatune.commands.chat import chat_with
    from llamatune.commands.preview import preview_rows
    from llamatune.commands.score import score
    from llamatune.errors import LlamatuneError
    from llamatune.judging.judges import Judge
    from llamatune.judging.opening import open_judges
    from llamatune.models.found import find
    from llamatune.models.open import open_model
    from llamatune.pipeline import run
    from llamatune.ppo.config import PPOConfig
    from llamatune.ppo.trainer import PPOTrainer
    from llamatune.recipe.load import load
    from llamatune.training.win_rate import WinRateCallback

__all__ = [
    "Judge",
    "LlamatuneError",
    "PPOConfig",
    "PPOTrainer",
    "WinRateCallback",
    "__version__",
    "best_of",
    "chat_with",
    "find",
    "judge",
    "load",
    "open_judges",
    "open_model",
    "preview_rows",
    "run",
    "sample",
    "score",
]

# Imported at first use, so that `import llamatune` and the light commands stay fast.
_HOMES = {
    "Judge": "judging.judges",
    "LlamatuneError": "errors",
    "PPOConfig": "ppo.config",
    "PPOTrainer": "ppo.trainer",
    "WinRateCallback": "training.win_rate",
    "best_of": "commands.best_of",
    "chat_with": "commands.chat",
    "find": "models.found",
    "judge": "commands.best_of",
    "load": "recipe.load",
    "open_judges": "judging.opening",
    "open_model": "models.open",
    "preview_rows": "commands.preview",
    "run": "pipeline",
    "sample": "commands.best_of",
    "score": "commands.score",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'llamatune' has no attribute {name!r}")
    from llamatune.models.quiet import without_hub_kernels

    with without_hub_kernels():
        return getattr(importlib.import_module(f"llamatune.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
