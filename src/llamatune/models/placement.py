"""Where a model runs and in which precision: decided once, printed, never silently changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llamatune.errors import ModelError
from llamatune.runs.ranks import processes

if TYPE_CHECKING:
    from llamatune.recipe.blocks import Hardware, Model
    from llamatune.recipe.stages.common import TrainingRecipe


@dataclass(frozen=True)
class Placement:
    """Device, data types, attention implementation and number of processes of this run.

    `weights`: the data type that the base is loaded in. `autocast`: the data type of matrix products, None for that of
    the weights. Trained weights are float32 unless the recipe names a `dtype`: in bfloat16 an update smaller than
    0.4% of a weight is rounded away. `attention`: None for sdpa, or eager where the model has no other. `sharded`:
    whether weights will be spread over the devices of several processes.
    """

    device: str
    weights: str
    autocast: str | None
    attention: str | None
    processes: int
    sharded: bool = False

    @property
    def loads_on(self) -> str:
        """Where weights are when they come from their files: one device does not hold those that are to be spread."""
        return "cpu" if self.sharded else self.device

    def describe(self, attention: str) -> str:
        """In words; `attention` is the loaded model's."""
        precision = (
            self.weights
            if self.autocast in (None, self.weights)
            else f"{self.weights} ({self.autocast} maths)"
        )
        return f"{self.device}, {precision}, {attention} attention"


def place(model: Model, hardware: Hardware) -> Placement:
    """Decide where and how to run.

    Raises:
        ModelError: a data type, attention or optimizer that this device does not have.
    """
    import torch

    cuda = hardware.device == "auto" and torch.cuda.is_available()
    asked = hardware.precision == "bfloat16"
    has_bf16 = asked or (cuda and torch.cuda.is_bf16_supported())
    sharded = hardware.sharding != "none"
    trains_weights = _trains_weights(model)
    check_precision(model, cuda=cuda)
    if model.dtype == "auto":
        half = "bfloat16" if has_bf16 else "float16"
        in_half = cuda or asked
        weights = "float32" if not in_half or trains_weights else half
        autocast = half if in_half and (has_bf16 or not trains_weights) else None
    else:
        weights = model.dtype
        own = model.dtype if cuda and model.dtype != "float32" else None
        autocast = "bfloat16" if asked else own
    return Placement(
        device="cuda" if cuda else "cpu",
        weights=weights,
        autocast=autocast,
        attention=_attention(model.attention, cuda=cuda and not sharded, half=autocast is not None),
        processes=processes(),
        sharded=sharded,
    )


def check_precision(model: Model, *, cuda: bool) -> None:
    """Raises ModelError (E220) for a data type that is of no use there."""
    if model.dtype == "float16" and (not cuda or _trains_weights(model)):
        raise ModelError(
            "E220",
            "float16 works on a GPU, as the data type of a frozen base",
            place="model.dtype",
            why="float16 overflows in full training, and CPUs do not compute in it",
            hint="use `dtype: auto`; nearest valid: float32 on a CPU, bfloat16 on a GPU, float16 with `lora` on a GPU",
        )


def check_cpu(recipe: TrainingRecipe) -> None:
    """Refuse what a CPU would quietly not do. Raises ModelError (E220)."""
    if recipe.optimization.optimizer.startswith("paged"):
        raise ModelError(
            "E220",
            f"{recipe.optimization.optimizer} needs a GPU",
            place="optimization.optimizer",
            why="bitsandbytes would quietly take another optimizer on a CPU",
            hint="use `optimizer: adamw`: the same updates, with the state in ordinary memory",
        )
    if recipe.hardware.activation_offloading:
        raise ModelError(
            "E220",
            "activation_offloading needs a GPU",
            place="hardware.activation_offloading",
            why="on a CPU, activations are in host memory already",
            hint="remove it; `activation_checkpointing: true` saves memory on a CPU too",
        )


def _trains_weights(model: Model) -> bool:
    return model.lora is None and model.adapter is None


def _attention(asked: str, *, cuda: bool, half: bool) -> str | None:
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    available = {
        "flash_attention_2": cuda and half and is_flash_attn_2_available(),
        "flash_attention_3": cuda and half and is_flash_attn_3_available(),
    }
    if asked == "auto":
        return "flash_attention_2" if available["flash_attention_2"] else None
    check_attention(asked, available.get(asked, True))
    return asked


def check_attention(asked: str, available: bool) -> None:
    """Raises ModelError (E220) for an implementation that is not available."""
    if not available:
        raise ModelError(
            "E220",
            f"{asked} is not available here",
            place="model.attention",
            why="it needs a CUDA GPU, a 16-bit data type and its own package",
            hint="use `attention: auto`, or install the package",
        )
