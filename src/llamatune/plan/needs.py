"""A recipe becomes the parts of a device's peak memory: what llamatune itself holds, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

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
from llamatune.recipe.stages.common import ModelRecipe
from llamatune.recipe.stages.ppo import ANSWERS_AT_ONCE, PpoRecipe
from llamatune.recipe.stages.reward import RewardRecipe


@dataclass(frozen=True)
class Need:
    """The peak of one device. `tokens`: of a pass that trains, `longest`: of its longest row, None where nothing is
    trained; `at_once`: answers that it generates at once, None where there are none."""

    peak: Peak
    tokens: int | None
    longest: int | None
    at_once: int | None = None


class Length(NamedTuple):
    """Most tokens of a prompt, and of its answer."""

    prompt: int
    new: int


def trained_count(recipe: TrainedRecipe, origin: Origin) -> int:
    """Weights that are trained, PPO's critic included."""
    shape = origin.shape
    if origin.adapter is not None:
        own = adapter_shape(shape, origin.adapter).count
        critic = own if _shares_base(recipe, origin) else without_output(shape).weights
    else:
        own, critic = shape.weights, without_output(shape).weights
    return own + critic if isinstance(recipe, PpoRecipe) else own


def need_of(recipe: TrainedRecipe, origin: Origin, device: Device, devices: int = 1) -> Need:
    """What one of `devices` needs.

    Raises:
        ModelError: E230, E231, an adapter that does not fit the base.
    """
    shape = origin.shape
    longest, in_pass = _pass_tokens(recipe, shape, device, devices)
    held, trained = _held(recipe, origin, device), _trained(recipe, origin, device)
    parts = unpacked(recipe, shape, number_of(recipe, device))
    if recipe.hardware.sharding != "none":
        parts += _shards(recipe, shape, held, trained, number_of(recipe, device), devices)
    else:
        parts += [MemoryPart("weights", held.bytes_of(shape)), *trained_parts(trained)]
        if devices > 1 and not isinstance(recipe, PpoRecipe):
            parts.append(MemoryPart("gradients for the exchange", trained.count * trained.gradient))
    if isinstance(recipe, PpoRecipe):
        parts += _other_roles(recipe, origin, device, devices)
    parts += pass_parts(shape, _step(recipe, origin, device, in_pass))
    if not isinstance(recipe, PpoRecipe):
        return Need(_of_process(parts, device), in_pass, longest)
    at_once = min(recipe.rollout.batch_size or ANSWERS_AT_ONCE, -(-recipe.optimization.batch_size // devices))
    length = Length(recipe.data.max_length, recipe.rollout.max_new_tokens)
    peak, at_once = with_answers(parts, shape, device, number_of(recipe, device), length, at_once)
    return Need(peak, in_pass, longest, at_once)


def _shards(
    recipe: TrainedRecipe, shape: Shape, held: Held, trained: Trained, number: int, devices: int
) -> list[MemoryPart]:
    """One device's part of everything, unless it is in host memory; and what is whole at a time: embedding and output
    layer, and of the blocks the one in use and the next one, with the gradients of the trained among them."""
    own = [MemoryPart("its part of the weights", held.bytes_of(shape) / devices)]
    own += trained_parts(replace(trained, copy=0), devices)
    block = shape.linear_weights / shape.blocks
    ends = shape.other_weights
    gathered = number * (ends + 2 * block)
    exchanged = trained.gradient * trained.count / shape.weights * (ends + block)
    return [
        *(own if not recipe.hardware.cpu_offload else []),
        MemoryPart("whole layers, in use", gathered, guess=True),
        MemoryPart("gradients of whole layers", exchanged, "training", guess=True),
    ]


def with_answers(
    parts: Sequence[MemoryPart], shape: Shape, device: Device, number: int, length: Length, at_once: int
) -> tuple[Peak, int]:
    """The peak of these parts and of answers under way, and how many of those there are at once.

    Sampling halves them until they fit; where training does not, into what that would need.

    Args:
        number: bytes of a number in matrix products.
        at_once: most answers at once.
    """
    while True:
        peak = _of_process([*parts, *_sampling(shape, number, length, at_once)], device)
        if at_once == 1 or peak.of("sampling") <= max(device.memory, peak.of("training")):
            return peak, at_once
        at_once //= 2


def _of_process(parts: Sequence[MemoryPart], device: Device) -> Peak:
    """With what a process takes anyway."""
    if device.on_cpu:
        libraries = MemoryPart("Python and its libraries", PROCESS, guess=True)
        return with_margin(parts, libraries, of_passes=CPU_MARGIN)
    return with_margin(parts, MemoryPart("CUDA context", CUDA_CONTEXT, guess=True), of_passes=MARGIN)


def unpacked(recipe: ModelRecipe, shape: Shape, number: int) -> list[MemoryPart]:
    """A 4-bit matrix is unpacked to be multiplied with."""
    if recipe.model.quantization != "nf4":
        return []
    return [MemoryPart("unpacked matrix", number * max(map(prod, shape.linear.values())))]


def _pass_tokens(recipe: TrainedRecipe, shape: Shape, device: Device, devices: int) -> tuple[int, int]:
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
    budget = recipe.hardware.micro_batch_tokens or automatic
    return longest, max(longest, min(budget, -(-rows // devices) * longest))


def number_of(recipe: ModelRecipe, device: Device) -> int:
    """Bytes of a number in matrix products."""
    if recipe.hardware.precision == "bfloat16":
        return 2
    return 4 if device.on_cpu or recipe.model.dtype == "float32" else 2


def _held(recipe: TrainedRecipe, origin: Origin, device: Device) -> Held:
    """The base as `models/load` holds it: trained weights in float32, frozen ones in the precision of products."""
    settings, number = recipe.model, number_of(recipe, device)
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
    copy = 2 if number == 4 and number_of(recipe, device) == 2 else 0
    return Trained(count, weight=number * critic, gradient=number, optimizer=moments, copy=copy)


def _step(recipe: TrainedRecipe, origin: Origin, device: Device, tokens: int) -> TrainingPass:
    shape, number = origin.shape, number_of(recipe, device)
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


def without_output(shape: Shape) -> Shape:
    return replace(shape, tied=True)


def _other_roles(recipe: PpoRecipe, origin: Origin, device: Device, devices: int) -> list[MemoryPart]:
    """The roles that are not trained: a reference, and reward models. Sharding spreads the reference, but no reward
    model, and answers are sampled from a whole copy of the policy."""
    shape, number = origin.shape, number_of(recipe, device)
    shares = _shares_base(recipe, origin)
    sharded = recipe.hardware.sharding != "none"
    parts = [MemoryPart("whole copy of the policy", number * shape.weights, "sampling")] if sharded else []
    if shares and recipe.model.adapter is not None:
        assert origin.adapter is not None
        parts.append(MemoryPart("reference adapter", 4 * adapter_shape(shape, origin.adapter).count))
    elif not shares:
        whole = _held(recipe, origin, device).bytes_of(shape)
        parts.append(MemoryPart("reference", whole / devices if sharded else whole))
    for what in recipe.reward.models:
        if shares and what in origin.judges and not sharded:
            assert origin.adapter is not None
            size = 4.0 * adapter_shape(shape, origin.adapter).count
            parts.append(MemoryPart(f"reward adapter, {what}", size, guess=True))
        else:
            size = number * without_output(shape).weights
            parts.append(MemoryPart(f"reward model, {what}", size, guess=True))
    return parts


def _sampling(shape: Shape, number: int, length: Length, rows: int) -> list[MemoryPart]:
    # Whole distributions: as computed, and three times in float64 to draw from.
    drawing = rows * shape.vocabulary * (number + 4 + 3 * 8)
    reading = rows * length.prompt * number * (4 * shape.hidden + 2 * shape.inner)
    return [
        MemoryPart(
            "keys and values", cache_bytes(shape, rows, length.prompt + length.new, number), "sampling"
        ),
        MemoryPart("reading prompts, drawing tokens", max(reading, drawing), "sampling"),
    ]
