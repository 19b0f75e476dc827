"""Peaks of llamatune's own runs on a CPU, as docs and benchmarks/results have them, in GiB of the process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from llamatune.models.base import BUILTIN
from llamatune.plan.bases import Origin
from llamatune.plan.devices import device_of
from llamatune.plan.needs import need_of
from llamatune.plan.shapes import KNOWN_CONFIGS, shape_of
from llamatune.recipe.load import loads
from llamatune.recipe.recipes import TrainedRecipe

_PICO = json.loads((BUILTIN / "pico/config.json").read_text("utf-8"))
_SHAPES = {
    "pico": _PICO,
    "5m": _PICO
    | {"hidden_size": 256, "intermediate_size": 688, "num_attention_heads": 8, "num_key_value_heads": 8},
    "150m": _PICO
    | {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12, "num_attention_heads": 16}
    | {"num_key_value_heads": 16, "head_dim": 64, "tie_word_embeddings": False},
    "SmolLM2-135M": KNOWN_CONFIGS["HuggingFaceTB/SmolLM2-135M-Instruct"],
}
_LORA = {"lora": {"rank": 16, "alpha": 32}}


@dataclass(frozen=True)
class Measured:
    """`tokens`: in a pass, as far as known; `source`: where the peak is written down."""

    case: str
    shape: str
    stage: str
    model: dict[str, Any]
    length: int
    tokens: int
    peak: float
    source: str
    others: dict[str, Any]
    unmet: str = ""

    @property
    def predicted(self) -> float:
        recipe = {
            "stage": self.stage,
            "output": "runs/measured",
            "model": {"base": "pico", **self.model},
            "data": {"train": [{"path": "rows.jsonl"}], "max_length": self.length},
            "optimization": {"batch_size": 64},
            "hardware": {"device": "cpu", "micro_batch_tokens": self.tokens},
        }
        judges = frozenset({"helpfulness", "safety"})
        read = loads(json.dumps(recipe | self.others))
        assert isinstance(read, TrainedRecipe)
        origin = Origin(shape_of(_SHAPES[self.shape], self.shape), read.model.lora, "measured", judges)
        return need_of(read, origin, device_of("cpu")).peak.bytes / 2**30


_WIDER = "not understood: a block's activations take twice what is counted, in plain trl as well"
_PPO = {
    "rollout": {"max_new_tokens": 64},
    "reward": {"helpfulness": "runs/pico-reward-helpful", "safety": "runs/pico-reward-safety"},
    "ppo": {"mini_batch_size": 16},
    "optimization": {"batch_size": 16},
}

OURS = [
    Measured("SFT, all weights, Alpaca", "pico", "sft", {}, 1464, 4096, 1.25, "sft_alpaca_pico.md", {}),
    Measured("SFT, all weights, Alpaca", "5m", "sft", {}, 1464, 4096, 1.50, "sft_alpaca_5m.md", {}),
    Measured("SFT, all weights, pico's data", "pico", "sft", {}, 227, 2750, 1.00, "sft_pico_data.md", {}),
    Measured("reward, all weights, HH", "pico", "reward", {}, 1024, 4096, 1.17, "reward_hh_pico.md", {}),
    Measured(
        "reward, all weights, pico's data", "pico", "reward", {}, 238, 3650, 1.11, "reward_pico_data.md", {}
    ),
    Measured("SFT, LoRA, 91 rows", "SmolLM2-135M", "sft", _LORA, 256, 904, 3.65, "docs/first_run.md", {}),
    Measured("SFT, LoRA, Alpaca", "SmolLM2-135M", "sft", _LORA, 1024, 1365, 4.61, "two steps of 32 rows", {}),
    Measured("SFT, LoRA", "150m", "sft", _LORA, 128, 1024, 3.63, "ppo_memory.md", {}, _WIDER),
    Measured(
        "PPO, five roles on one base", "150m", "ppo", _LORA, 64, 1024, 4.10, "ppo_memory.md", _PPO, _WIDER
    ),
]
