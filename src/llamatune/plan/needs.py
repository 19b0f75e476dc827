"""A recipe becomes the parts of a device's peak memory: what llamatune itself holds, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from llamatune.forward.cutting import automatic_tokens
from llamatune.plan.bases import AdapterShape, Origin, adapter_shape
from llamatune.plan.devices import Device
from llamatune.plan.memory import (
    CPU_MARGIN,
    CUDA_CONTEXT,
    MARGIN,
    NF4,
    NF4_DOUBLE,
    PROCESS,
    Held,
    Logits,
    MemoryPart,
    Peak,
    Trained,
    TrainingPass,
    cache_bytes,
    pass_parts,
    trained_parts,
    with_margin,
)
from llamatune.plan.shapes import Shape
from llamatune.recipe.recipes import STAGES, TrainedRecipe
from llamatune.recipe.stages.ppo import ANSWERS_AT_ONCE, PpoRecipe
from llamatune.recipe.stages.reward import RewardRecipe


@dataclass(frozen=True)
class Need:
    """The peak of one device, the tokens of its forward passes, and the answers that it generates at once."""

    peak: Peak
    tokens: int
    longest: int
    at_once: int | None = None


def trained_count(recipe: TrainedRecipe, origin: Origin) -> int:
    """Weights that are trained, PPO's critic included."""
    shape = origin.shape
    if origin.adapter is not None:
        own = adapter_shape(shape, origin.adapter).count
        critic = own if _shares_base(recipe, origin) else _without_output(shape).weights
    else:
        own, critic = shape.weights, _without_output(shape).weights
    return own + critic if isinstance(recipe, PpoRecipe) else own


def need_of(
    recipe: TrainedRecipe, origin: Origin, device: Device, devices: int = 1, tokens: int | None = None
) -> Need:
    """What one of `devices` needs.

    Args:
        tokens: most tokens in a pass, in place of what the recipe says or llamatune chooses.

    Raises:
        ModelError: E230, E231, an adapter that does not fit the base.
    """
    shape = origin.shape
    longest, in_pass = _pass_tokens(recipe, shape, device, devices, tokens)
    parts = [MemoryPart("weights", _held(recipe, origin, device).bytes_of(shape))]
    if recipe.model.quantization == "nf4":
        # A 4-bit matrix is unpacked to be multiplied with.
        parts.append(
            MemoryPart("unpacked matrix", _number(recipe, device) * max(map(prod, shape.linear.values())))
        )
    trained = _trained(recipe, origin, device)
    parts += trained_parts(trained)
    if devices > 1 and not isinstance(recipe, PpoRecipe):
        parts.append(MemoryPart("gradients for the exchange", trained.count * trained.gradient))
    if isinstance(recipe, PpoRecipe):
        parts += _other_roles(recipe, origin, device)
    parts += pass_parts(shape, _step(recipe, origin, device, in_pass))
    fixed = (
        MemoryPart("Python and its libraries", PROCESS, guess=True)
        if device.on_cpu
        else MemoryPart("CUDA context", CUDA_CONTEXT, guess=True)
    )
    of_passes = CPU_MARGIN if device.on_cpu else MARGIN
    if not isinstance(recipe, PpoRecipe):
        return Need(with_margin(parts, fixed, of_passes=of_passes), in_pass, longest)
    at_once = min(recipe.rollout.batch_size or ANSWERS_AT_ONCE, -(-recipe.optimization.batch_size // devices))
    while True:
        sampling = _sampling(recipe, shape, device, at_once)
        peak = with_margin([*parts, *sampling], fixed, of_passes=of_passes)
        # Sampling halves its batch until it fits; where training does not, into what that would need.
        if at_once == 1 or peak.of("sampling") <= max(device.memory, peak.of("training")):
            return Need(peak, in_pass, longest, at_once)
        at_once //= 2


def _pass_tokens(
    recipe: TrainedRecipe, shape: Shape, device: Device, devices: int, tokens: int | None
) -> tuple[int, int]:
    """Tokens of the longest row that the recipe allows, and of the largest pass if all rows are as long."""
    longest, rows = recipe.data.max_length, recipe.optimization.batch_size
    if isinstance(recipe, PpoRecipe):
        longest, rows = longest + recipe.rollout.max_new_tokens, recipe.ppo.mini_batch_size
    elif isinstance(recipe, RewardRecipe) and recipe.loss.objective == "pairs":
        longest *= 2  # two long replies to a short prompt
    whole = STAGES[recipe.stage].task == "generate" and not isinstance(recipe, PpoRecipe)
    vocabulary = shape.vocabulary if whole else None
    width = shape.blocks * shape.hidden
    automatic = automatic_tokens(on_cpu=device.on_cpu, width=width, vocabulary=vocabulary)
    budget = tokens or recipe.hardware.micro_batch_tokens or automatic
    return longest, max(longest, min(budget, -(-rows // devices) * longest))


def _number(recipe: TrainedRecipe, device: Device) -> int:
    """Bytes of a number in matrix products."""
    return 4 if device.on_cpu or recipe.model.dtype == "float32" else 2


def _held(recipe: TrainedRecipe, origin: Origin, device: Device) -> Held:
    """The base as `models/load` holds it: trained weights in float32, frozen ones in the precision of products."""
    settings, number = recipe.model, _number(recipe, device)
    if settings.quantization == "nf4":
        # peft holds whatever is not in 4 bits in float32.
        return Held(NF4_DOUBLE if settings.double_quantization else NF4, 4)
    if settings.dtype in ("bfloat16", "float16"):
        return Held(2, 2)
    return Held(4, 4) if origin.adapter is None else Held(number, number)


def _trained(recipe: TrainedRecipe, origin: Origin, device: Device) -> Trained:
    moments = 2 if "8bit" in recipe.optimization.optimizer else 8
    count = trained_count(recipe, origin)
    if origin.adapter is not None:
        return Trained(count, weight=4, gradient=4, optimizer=moments)
    # The critic's weights are not the base's.
    critic = (count - origin.shape.weights) / count
    number = 2 if recipe.model.dtype in ("bfloat16", "float16") else 4
    moments = min(moments, 2 * number)
    copy = 2 if number == 4 and _number(recipe, device) == 2 else 0
    return Trained(count, weight=number * critic, gradient=number, optimizer=moments, copy=copy)


def _step(recipe: TrainedRecipe, origin: Origin, device: Device, tokens: int) -> TrainingPass:
    shape, number = origin.shape, _number(recipe, device)
    logits: Logits
    positions = tokens
    if isinstance(recipe, RewardRecipe):
        logits = "none"
    elif isinstance(recipe, PpoRecipe):
        logits = "pieces"
        new = recipe.rollout.max_new_tokens
        positions = tokens * new // (new + recipe.data.max_length)
    else:
        fused = recipe.hardware.loss == "fused" or (recipe.hardware.loss == "auto" and not device.on_cpu)
        logits = "fused" if fused else "ours"
    autocast = number == 2 and recipe.model.dtype == "auto"
    in_float32 = origin.adapter is None or recipe.model.quantization == "nf4"
    every = shape.hidden + shape.inner  # the second norm's output, the product in the feed-forward layer
    copied, shared = 0, every
    if origin.adapter is not None:
        adapter: AdapterShape = adapter_shape(shape, origin.adapter)
        # peft turns each adapted layer's input into the adapter's type, and dropout makes one for each.
        if number == 2 or origin.adapter.dropout:
            copied, shared = adapter.widths, 0
    elif autocast:
        copied = sum(wide for wide, _ in shape.linear.values()) - shape.queries - shape.inner
        shared = shape.inner
    return TrainingPass(
        tokens,
        logits,
        positions=positions,
        number=number,
        stream=4 if number == 4 or (autocast and in_float32) else 2,
        copied=copied,
        shared=shared,
        recompute=recipe.hardware.activation_checkpointing,
        offload=recipe.hardware.activation_offloading,
    )


# ---- PPO ------------------------------------------------------------------------------------------------------


def _shares_base(recipe: TrainedRecipe, origin: Origin) -> bool:
    return isinstance(recipe, PpoRecipe) and origin.adapter is not None and recipe.ppo.roles != "separate"


def _without_output(shape: Shape) -> Shape:
    return replace(shape, tied=True)


def _other_roles(recipe: PpoRecipe, origin: Origin, device: Device) -> list[MemoryPart]:
    """The roles that are not trained: a reference, and reward models."""
    shape, number = origin.shape, _number(recipe, device)
    shares = _shares_base(recipe, origin)
    parts = []
    if shares and recipe.model.adapter is not None:
        assert origin.adapter is not None
        parts.append(MemoryPart("reference adapter", 4 * adapter_shape(shape, origin.adapter).count))
    elif not shares:
        parts.append(MemoryPart("reference", _held(recipe, origin, device).bytes_of(shape)))
    for what in recipe.reward.models:
        if shares and what in origin.judges:
            assert origin.adapter is not None
            size = 4.0 * adapter_shape(shape, origin.adapter).count
            parts.append(MemoryPart(f"reward adapter, {what}", size, guess=True))
        else:
            size = number * _without_output(shape).weights
            parts.append(MemoryPart(f"reward model, {what}", size, guess=True))
    return parts


def _sampling(recipe: PpoRecipe, shape: Shape, device: Device, rows: int) -> list[MemoryPart]:
    number, prompt = _number(recipe, device), recipe.data.max_length
    new = recipe.rollout.max_new_tokens
    # Whole distributions: as computed, and three times in float64 to draw from.
    drawing = rows * shape.vocabulary * (number + 4 + 3 * 8)
    reading = rows * prompt * number * (4 * shape.hidden + 2 * shape.inner)
    return [
        MemoryPart("keys and values", cache_bytes(shape, rows, prompt + new, number), "sampling"),
        MemoryPart("reading prompts, drawing tokens", max(reading, drawing), "sampling"),
    ]
