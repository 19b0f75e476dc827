"""What a stage that only asks its models needs: them and their judges side by side, and the answers under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from llamatune.errors import ModelError
from llamatune.plan.bases import Origin, adapter_shape, shape_named
from llamatune.plan.devices import Device
from llamatune.plan.memory import NF4, NF4_DOUBLE, Held, MemoryPart
from llamatune.plan.needs import Length, Need, number_of, unpacked, with_answers, without_output
from llamatune.plan.rows import amount_of, rows_of_epoch
from llamatune.plan.shapes import Shape
from llamatune.plan.work import THE_RUN, Work, length_of, operations, sampling_seconds, speed_of, speed_said
from llamatune.recipe.reading import models
from llamatune.recipe.stages.common import SamplingRecipe, StageRecipe
from llamatune.recipe.stages.evaluate import EvaluateRecipe

_BYTES_OF_TOKEN = 16
"""Of a sampled token on the disk: its number and its text, in a shard and again in what is handed over."""

Makers = Mapping[str, StageRecipe]


def answers_need(recipe: SamplingRecipe, origin: Origin, device: Device, makers: Makers) -> Need:
    """What a device needs, one of many or not. `makers`: see `bases.origin_of`."""
    shape, number = origin.shape, number_of(recipe, device)
    parts = [MemoryPart("weights", _held(recipe, number).bytes_of(shape)), *unpacked(recipe, shape, number)]
    if origin.adapter is not None:
        parts.append(MemoryPart("adapter", number * adapter_shape(shape, origin.adapter).count))
    named = dict(models(recipe))
    if other := named.get(("other", "base")) or named.get(("other", "adapter")):
        held = _held(recipe, number).bytes_of(shape_named(other, makers))
        parts.append(MemoryPart("the other model", held))
    for judge, judged in _judges(recipe, shape, makers):
        size = number * without_output(judged).weights
        parts.append(MemoryPart(f"reward model, {judge}", size, guess=True))
    length = Length(recipe.data.max_length, recipe.sampling.max_new_tokens)
    peak, at_once = with_answers(parts, shape, device, number, length, recipe.sampling.batch_size)
    return Need(peak, None, None, at_once)


def _held(recipe: SamplingRecipe, number: int) -> Held:
    if recipe.model.quantization == "nf4":
        return Held(NF4_DOUBLE if recipe.model.double_quantization else NF4, 4)
    return Held(number, number)


def _judges(recipe: SamplingRecipe, shape: Shape, makers: Makers) -> Iterator[tuple[str, Shape]]:
    """Reward models by what they judge; one whose base is not known is taken to be as large as the model asked."""
    for at, name in models(recipe):
        if at[-1] not in ("helpfulness", "safety"):
            continue
        try:
            yield str(at[-1]), shape_named(name, makers)
        except ModelError:
            yield str(at[-1]), shape


def answers_work(
    recipe: SamplingRecipe,
    origin: Origin,
    device: Device,
    devices: int,
    at_once: int,
    recipe_dir: Path,
    makers: Makers,
) -> Work:
    """What a run has to sample and judge, and how long that takes."""
    amounts = [amount_of(source, recipe_dir) for source in recipe.asked]
    prompts = rows_of_epoch(recipe.asked, amounts)
    prompt, guess = length_of(amounts, recipe.data.max_length)
    new = recipe.sampling.max_new_tokens
    answers = (1000 if prompts is None else prompts) * recipe.answers_each
    quantized = recipe.model.quantization == "nf4"
    each, length = answers / devices, prompt + new
    seconds = sampling_seconds(
        origin.shape, device, quantized=quantized, answers=each, at_once=at_once, new=new, length=length
    )
    speed = speed_of(device, quantized=quantized)
    for _, judged in _judges(recipe, origin.shape, makers):
        seconds += each * length * operations(judged, length, has_output=False) / speed
    guesses: tuple[str, ...] = (
        speed_said(device, quantized=quantized),
        guess,
        f"every answer has {new:,} tokens",
    )
    if isinstance(recipe, EvaluateRecipe) and recipe.benchmarks.any:
        guesses += ("what benchmarks ask is not counted",)
    of = "1,000 prompts" if prompts is None else THE_RUN
    tokens = answers * length
    return Work(of, answers, tokens, None, seconds, devices, device.watts, guesses, unit="answer")


def answers_disk(recipe: SamplingRecipe, work: Work) -> int:
    """Bytes of samples, and of what the run leaves."""
    return round(work.rows * recipe.sampling.max_new_tokens * _BYTES_OF_TOKEN)
