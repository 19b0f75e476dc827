"""Tokens, steps, hours, disk and energy of a run, under assumptions that are said with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llamatune.plan.bases import Origin
from llamatune.plan.devices import Device
from llamatune.plan.rows import Amount, amount_of, rows_of_epoch
from llamatune.plan.shapes import Shape
from llamatune.recipe.recipes import STAGES, TrainedRecipe
from llamatune.recipe.stages.common import TrainingRecipe
from llamatune.recipe.stages.ppo import PpoRecipe
from llamatune.recipe.stages.pretrain import PretrainRecipe
from llamatune.recipe.stages.reward import RewardRecipe
from llamatune.recipe.stages.sft import SftRecipe

SHARE = 0.35
"""Of a card's arithmetic, recomputation counted: 0.31 to 0.39 were published for all weights of 7B and 8B on A100 and
H100, 0.22 to 0.38 for adapters on one card."""
SHARE_4_BITS = 0.25
"""With a 4-bit base, which is unpacked for each product; measured to take 1.0 to 2.0 times as long as 16 bits."""
SHARE_BANDWIDTH = 0.25
"""Of a card's bandwidth, while sampling with transformers: a 7B in 16 bits gave 31 tokens/s on an A100."""
THE_RUN = "the run"
"""What a figure is of, where the number of rows is known."""
CO2_A_KWH = 0.4235
"""Kilograms: what the Llama 2 paper's table of carbon gives, 31.22 t for 184,320 GPU hours at 400 W."""


@dataclass(frozen=True)
class Work:
    """Of a whole run, or, where the number of rows is not known (`of` says so), of a thousand rows.

    `seconds`: with all devices at work. `tokens`: trained on, or sampled and trained on.
    """

    of: str
    rows: float
    tokens: float
    steps: int | None
    seconds: float
    devices: int
    watts: float | None
    guesses: tuple[str, ...]
    unit: str = "row"
    """What `rows` counts: rows, or answers of a stage that trains nothing."""

    @property
    def device_hours(self) -> float:
        return self.seconds * self.devices / 3600

    @property
    def kilowatt_hours(self) -> float | None:
        return None if self.watts is None else self.device_hours * self.watts / 1000


def disk_of(recipe: TrainingRecipe, trained: int) -> int:
    """Bytes of the checkpoints that are there at a time, one being written included, and of what the run leaves.

    Args:
        trained: how many weights the recipe trains.
    """
    moment = 1 if "8bit" in recipe.optimization.optimizer else 4
    artefact = 4 * trained
    checkpoint = artefact + 2 * moment * trained
    return (recipe.checkpoint.keep + 1) * checkpoint + artefact


def work_of(
    recipe: TrainedRecipe, origin: Origin, device: Device, devices: int, at_once: int | None, recipe_dir: Path
) -> Work:
    """What a run has to compute, and how long that takes.

    Args:
        at_once: answers that PPO samples at once.
    """
    amounts = [amount_of(source, recipe_dir) for source in recipe.data.train]
    length, guess = length_of(amounts, recipe.data.max_length)
    quantized = recipe.model.quantization == "nf4"
    guesses = [speed_said(device, quantized=quantized), guess]
    steps: int | None
    if isinstance(recipe, PpoRecipe):
        iterations, new = recipe.optimization.iterations, recipe.rollout.max_new_tokens
        of, steps = THE_RUN, iterations * recipe.steps_per_iteration
        seen = float(iterations * recipe.optimization.batch_size)
        seconds = iterations * _iteration(recipe, origin, device, devices, length, at_once or 1)
        guesses.append(f"every answer has {new:,} tokens")
        length += new
    else:
        rows = _rows(recipe, amounts, length)
        if rows is not None and not all(amount.counted for amount in amounts):
            guesses.append(f"about {rows:,.0f} rows, from the size of the first ones")
        if isinstance(recipe, PretrainRecipe) and recipe.data.packing:
            length = recipe.data.max_length
        of, steps, seen = _epochs(recipe, rows)
        a_token = operations(origin.shape, length, has_output=STAGES[recipe.stage].task == "generate")
        needed = seen * length * a_token * _forward_passes(recipe, origin)
        seconds = needed / (speed_of(device, quantized=quantized) * devices)
    return Work(of, seen, seen * length, steps, seconds, devices, device.watts, tuple(guesses))


def length_of(amounts: Sequence[Amount], longest: int) -> tuple[float, str]:
    """Tokens of a row or prompt, at most `longest`, and where that is from."""
    lengths = [amount.tokens for amount in amounts if amount.tokens]
    if not lengths:
        return longest / 2, f"rows of {longest / 2:,.0f} tokens: half of data.max_length"
    length = min(sum(lengths) / len(lengths), longest)
    return length, f"rows of {length:,.0f} tokens: a token is taken for 4 bytes"


def _rows(recipe: TrainedRecipe, amounts: Sequence[Amount], length: float) -> float | None:
    """Rows of an epoch, those that are held out left out; documents are packed into full rows."""
    rows = rows_of_epoch(recipe.data.train, amounts)
    if rows is None:
        return None
    if isinstance(recipe, PretrainRecipe) and recipe.data.packing:
        rows = max(rows * length / recipe.data.max_length, 1)
    return rows * (1 - recipe.data.eval_fraction)


def _epochs(
    recipe: PretrainRecipe | SftRecipe | RewardRecipe, rows: float | None
) -> tuple[str, int | None, float]:
    """Of what, steps, and rows that are seen."""
    settings = recipe.optimization
    if settings.max_steps is not None:
        return THE_RUN, settings.max_steps, float(settings.max_steps * settings.batch_size)
    if rows is None:
        return "1,000 rows", None, 1000.0
    steps = math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs)
    return THE_RUN, steps, rows * settings.epochs


def operations(shape: Shape, length: float, *, has_output: bool = True) -> float:
    """Of a token's forward pass: two for each weight, and attention over half of the row on average."""
    weights = shape.linear_weights + (shape.embedding if has_output else 0)
    return 2 * weights + 2 * shape.queries * length * shape.blocks


def _forward_passes(recipe: TrainedRecipe, origin: Origin) -> float:
    """Of a training step, in forward passes: itself, gradients of activations, gradients of weights, recomputation."""
    return 2 + (origin.adapter is None) + recipe.hardware.activation_checkpointing


def speed_of(device: Device, *, quantized: bool) -> float:
    """Operations a second that are used."""
    if device.on_cpu:
        return device.arithmetic
    return device.arithmetic * (SHARE_4_BITS if quantized else SHARE)


def speed_said(device: Device, *, quantized: bool) -> str:
    """`speed_of` as a sentence."""
    if device.on_cpu:
        return "two cores of a server's processor compute 0.1 TFLOP/s, as measured with pico"
    share = speed_of(device, quantized=quantized) / device.arithmetic
    return f"{share:.0%} of the card's 16-bit arithmetic ({device.arithmetic / 1e12:,.0f} TFLOP/s) is used"


def _iteration(
    recipe: PpoRecipe, origin: Origin, device: Device, devices: int, prompt: float, at_once: int
) -> float:
    """Seconds of an iteration of PPO: sampling, passes that read, passes that train."""
    shape, new = origin.shape, recipe.rollout.max_new_tokens
    answers, length = recipe.optimization.batch_size / devices, prompt + new
    quantized = recipe.model.quantization == "nf4"
    speed, token = speed_of(device, quantized=quantized), operations(shape, length)
    sampling = sampling_seconds(
        shape, device, quantized=quantized, answers=answers, at_once=at_once, new=new, length=length
    )
    # Policy, reference, critic, and reward models, which read all answers once.
    reading = answers * length * token * (3 + len(recipe.reward.models))
    training = recipe.ppo.epochs * answers * length * token * 2 * _forward_passes(recipe, origin)
    return sampling + (reading + training) / speed


def sampling_seconds(
    shape: Shape, device: Device, *, quantized: bool, answers: float, at_once: int, new: int, length: float
) -> float:
    """Of one device that samples `answers`, `at_once` side by side, of `new` tokens each; `length` with the prompt."""
    weight = 4 if device.on_cpu else 2
    # Each token reads all weights and the keys and values so far; 4-bit weights are unpacked to 16 bits first.
    read = weight * shape.weights * (1.5 if quantized else 1)
    read += at_once * length * shape.blocks * 2 * shape.keys * weight
    bandwidth = device.bandwidth * (1 if device.on_cpu else SHARE_BANDWIDTH)
    computed = at_once * operations(shape, length) / speed_of(device, quantized=quantized)
    return math.ceil(answers / at_once) * new * max(read / bandwidth, computed)
