"""The plan of a recipe: what it needs on a device, whether that fits, and what would make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from llamatune.errors import LlamatuneError, RecipeError
from llamatune.plan.answers import answers_disk, answers_need, answers_work
from llamatune.plan.bases import Origin, origin_of
from llamatune.plan.devices import Device, device_of
from llamatune.plan.needs import Need, need_of, trained_count
from llamatune.plan.work import THE_RUN, Work, disk_of, work_of
from llamatune.recipe.graph.steps import Pipeline
from llamatune.recipe.load import load_with_problems
from llamatune.recipe.recipes import TrainedRecipe
from llamatune.recipe.shipped import find_recipe
from llamatune.recipe.stages.common import EpochRecipe, SamplingRecipe, StageRecipe

PlannedRecipe = TrainedRecipe | SamplingRecipe


@dataclass(frozen=True)
class Way:
    """One more change that lowers the peak: the overrides up to and with it, and the peak with all of them."""

    what: str
    overrides: tuple[str, ...]
    peak: float
    fits: bool


@dataclass(frozen=True)
class Plan:
    """What a recipe needs on `devices` devices of a kind."""

    recipe: PlannedRecipe
    origin: Origin
    device: Device
    devices: int
    need: Need
    work: Work
    trained: int
    disk: int
    ways: tuple[Way, ...]

    @property
    def fits(self) -> bool:
        return self.need.peak.bytes <= self.device.memory

    @property
    def guesses(self) -> list[str]:
        """What had to be assumed, in sentences."""
        of_device = [self.device.guess] if self.device.guess else []
        return [*of_device, *self.origin.guesses, *self.work.guesses]

    def to_json(self) -> dict[str, Any]:
        work, need = self.work, self.need
        return {
            "stage": self.recipe.stage,
            "output": self.recipe.output,
            "base": self.recipe.model.base,
            "shape_from": self.origin.source,
            "weights": self.origin.shape.weights,
            "trained": self.trained,
            "device": {
                "name": self.device.name,
                "count": self.devices,
                "memory": self.device.memory,
                "watts": self.device.watts,
                "guess": self.device.guess is not None,
            },
            "memory": {
                "peak": round(need.peak.bytes),
                "reached": need.peak.reached,
                "fits": self.fits,
                "tokens_in_a_pass": need.tokens,
                "answers_at_once": need.at_once,
                "parts": [asdict(part) | {"bytes": round(part.bytes)} for part in need.peak.parts],
            },
            "ways": [asdict(way) | {"peak": round(way.peak)} for way in self.ways],
            "work": {
                "of": work.of,
                "rows": round(work.rows),
                "tokens": round(work.tokens),
                "steps": work.steps,
                "seconds": round(work.seconds, 1),
                "device_hours": round(work.device_hours, 3),
                "kilowatt_hours": None if work.kilowatt_hours is None else round(work.kilowatt_hours, 3),
            },
            "disk": self.disk,
            "guesses": self.guesses,
        }


@dataclass(frozen=True)
class PipelinePlan:
    """What each step of a pipeline needs, by name."""

    pipeline: Pipeline
    steps: dict[str, Plan]

    @property
    def fits(self) -> bool:
        return all(step.fits for step in self.steps.values())

    @property
    def largest(self) -> Plan:
        """The step that needs most memory."""
        return max(self.steps.values(), key=lambda step: step.need.peak.bytes)

    @property
    def seconds(self) -> float:
        """Of all steps, one after another; with cards, as many at a time as the recipe says."""
        count = 1 if self.largest.device.on_cpu else self.pipeline.recipe.side_by_side
        now, running, left = 0.0, dict[str, float](), dict(self.pipeline.needs)
        while left or running:
            ready = next(
                (name for name, needs in left.items() if not set(needs) & (left.keys() | running.keys())),
                None,
            )
            if ready is None or len(running) == count:
                now = running.pop(min(running, key=running.__getitem__))
            else:
                del left[ready]
                running[ready] = now + self.steps[ready].work.seconds
        return now

    @property
    def of(self) -> str:
        """What `seconds` is of: the run, unless there are steps whose number of rows is not known."""
        known = all(step.work.of == THE_RUN for step in self.steps.values())
        return THE_RUN if known else "1,000 rows a step"

    def to_json(self) -> dict[str, Any]:
        plans = self.steps.values()
        return {
            "stage": self.pipeline.stage,
            "output": self.pipeline.output,
            "peak": round(self.largest.need.peak.bytes),
            "seconds": round(self.seconds, 1),
            "of": self.of,
            "disk": sum(step.disk for step in plans),
            "steps": {name: step.to_json() for name, step in self.steps.items()},
        }


def plan(
    name: str | Path,
    overrides: Sequence[str] = (),
    *,
    device: str | None = None,
    devices: int | None = None,
    nodes: int = 1,
    ways: bool = True,
) -> Plan:
    """`plan_all` of a stage's recipe. Raises RecipeError, E065, for a pipeline."""
    found = plan_all(name, overrides, device=device, devices=devices, nodes=nodes, ways=ways)
    if isinstance(found, PipelinePlan):
        raise RecipeError("E065", f"`{name}` is a pipeline: plan its steps", place="stage")
    return found


def plan_all(
    name: str | Path,
    overrides: Sequence[str] = (),
    *,
    device: str | None = None,
    devices: int | None = None,
    nodes: int = 1,
    ways: bool = True,
) -> Plan | PipelinePlan:
    """Plan a recipe, a file or a shipped one; of a pipeline, every step. Files that it names need not be there.

    Args:
        device: a card's name, or `cpu`; what is here, when None.
        devices: on each machine, each with a process; as many as the recipe's `hardware.devices`, or one, when None.
        nodes: machines.
        ways: also look for what would make a stage's recipe fit, where it does not.

    Raises:
        RecipeError: it is no recipe; E041, an unknown device.
        ModelError: E260, a base whose shape is not known; E230, E231, an adapter that does not fit it.
    """
    loaded, problems = load_with_problems(name, overrides)
    if loaded is None:
        raise RecipeError.of(problems)
    found = plan_loaded(loaded, find_recipe(name).parent, device=device, devices=devices, nodes=nodes)
    if isinstance(found, PipelinePlan) or found.fits or not ways:
        return found
    return replace(found, ways=_ways(name, overrides, found))


def plan_loaded(
    loaded: PlannedRecipe | Pipeline,
    folder: Path,
    *,
    device: str | None = None,
    devices: int | None = None,
    nodes: int = 1,
) -> Plan | PipelinePlan:
    """`plan_all` of a recipe that is loaded, without ways. `folder`: where its data cards are looked for."""
    place = device_of(device)
    steps = loaded.steps if isinstance(loaded, Pipeline) else []
    makers = {step.recipe.output: step.recipe for step in steps}

    def planned(recipe: StageRecipe, folder: Path) -> Plan:
        assert isinstance(recipe, PlannedRecipe)
        on = device_of("cpu") if device is None and recipe.hardware.device == "cpu" else place
        return _plan(recipe, folder, on, (devices or recipe.hardware.devices or 1) * nodes, makers)

    if isinstance(loaded, Pipeline):
        return PipelinePlan(loaded, {step.name: planned(step.recipe, step.folder) for step in steps})
    return planned(loaded, folder)


def _plan(
    recipe: PlannedRecipe, folder: Path, place: Device, devices: int, makers: Mapping[str, StageRecipe]
) -> Plan:
    """Without what would make it fit. `makers`: see `origin_of`."""
    origin = origin_of(recipe, makers)
    if isinstance(recipe, SamplingRecipe):
        need = answers_need(recipe, origin, place, makers)
        work = answers_work(recipe, origin, place, devices, need.at_once or 1, folder, makers)
        return Plan(recipe, origin, place, devices, need, work, 0, answers_disk(recipe, work), ())
    need = need_of(recipe, origin, place, devices)
    trained = trained_count(recipe, origin)
    work = work_of(recipe, origin, place, devices, need.at_once, folder)
    return Plan(recipe, origin, place, devices, need, work, trained, disk_of(recipe, trained), ())


def _ways(name: str | Path, overrides: Sequence[str], planned: Plan) -> tuple[Way, ...]:
    """Changes in the order of what they cost, each on top of those before, up to the first that fits.

    Each is loaded as an override of the recipe, so that what is advised is what the recipe takes.
    """
    found: list[Way] = []
    taken: dict[str, str] = {}
    device, lowest = planned.device, planned.need.peak.bytes
    for what, key, value in _candidates(planned):
        tried = taken | {key: value}
        written = tuple(f"{one}={tried[one]}" for one in tried)
        try:
            changed = load_with_problems(name, [*overrides, *written])[0]
            assert changed is not None and not isinstance(changed, Pipeline)
            then = _plan(changed, Path(), device, planned.devices, {}).need.peak.bytes
        # This stage does not have it.
        except LlamatuneError:
            continue
        if then >= lowest:
            continue
        taken, lowest = tried, then
        if found and found[-1].what == what:
            found.pop()
        found.append(Way(what, written, lowest, lowest <= device.memory))
        if found[-1].fits:
            break
    return tuple(found)


def _candidates(planned: Plan) -> Iterator[tuple[str, str, str]]:
    """(what, key, value) of overrides, the cheapest first."""
    recipe, hardware, need = planned.recipe, planned.recipe.hardware, planned.need
    if isinstance(recipe, SamplingRecipe):
        # Answers under way are halved until they fit.
        if recipe.model.quantization == "none":
            yield "hold the base in 4 bits", "model.quantization", "nf4"
        return
    assert need.tokens is not None and need.longest is not None
    if not hardware.activation_checkpointing:
        yield "recompute activations, for a third more time", "hardware.activation_checkpointing", "true"
    tokens = need.tokens
    while tokens > need.longest:
        tokens = max(tokens // 2, need.longest)
        yield "smaller passes, the same global batch", "hardware.micro_batch_tokens", str(tokens)
    if planned.devices > 1 and not planned.device.on_cpu:
        yield "weights spread over the devices", "hardware.sharding", "fsdp"
        if isinstance(recipe, EpochRecipe):
            yield "their parts in host memory", "hardware.cpu_offload", "true"
    if recipe.model.lora is None and recipe.model.adapter is None:
        yield "train an adapter: LoRA, usually at 10 times the learning rate", "model.lora.rank", "16"
    if recipe.model.quantization == "none":
        yield "hold the frozen base in 4 bits: QLoRA", "model.quantization", "nf4"
    if planned.device.on_cpu:
        return
    if "8bit" not in recipe.optimization.optimizer:
        yield (
            "optimizer state in 8 bits, in host memory if need be",
            "optimization.optimizer",
            "paged_adamw_8bit",
        )
    if not hardware.activation_offloading:
        yield "activations in host memory", "hardware.activation_offloading", "true"
