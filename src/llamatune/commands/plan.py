"""`llamatune plan`: memory part by part, what would make it fit, hours, disk and energy, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llamatune.plan.planned import PipelinePlan, Plan
from llamatune.plan.work import CO2_A_KWH, THE_RUN
from llamatune.recipe.recipes import STAGES
from llamatune.recipe.shipped import recipe_name
from llamatune.runs.files import size
from llamatune.runs.report.words import duration
from llamatune.wording import counted, in_shell

if TYPE_CHECKING:
    from llamatune.commands.measure import MeasuredStep


def pipeline_plan_lines(planned: PipelinePlan) -> Iterator[str]:
    """For a terminal: a line for each step, and all of them together."""
    width = max(map(len, planned.steps))
    for step in planned.pipeline.steps:
        head = f"{step.name:{width}}  {step.recipe.stage:{max(map(len, STAGES))}}"
        one = planned.steps[step.name]
        yield (
            f"{head}  {size(round(one.need.peak.bytes)):>9}, {_verdict(one)}; "
            f"{duration(one.work.seconds)} for {one.work.of} (guess); disk {size(one.disk)}"
        )
    plans = planned.steps.values()
    most, of = planned.largest, "" if planned.of == THE_RUN else f" for {planned.of}"
    yield (
        f"all      {size(round(most.need.peak.bytes))} on {most.device.name} ({size(round(most.device.memory))}), "
        f"disk {size(sum(one.disk for one in plans))}, "
        f"{duration(planned.seconds)}{of} (guess)"
    )
    for guess in sorted({one.device.guess for one in plans if one.device.guess}):
        yield f"guess    {guess}"
    first = planned.pipeline.steps[0]
    yield f"for one step in full: llamatune plan {in_shell(recipe_name(first.file))} [KEY=VALUE ...]"


def plan_lines(planned: Plan) -> Iterator[str]:
    """For a terminal. Every figure that is a guess says so."""
    device, need, work = planned.device, planned.need, planned.work
    shape = planned.origin.shape
    many = f"{planned.devices} x " if planned.devices > 1 else ""
    yield (
        f"model    {planned.recipe.model.base}: {_billions(shape.weights)} weights, "
        f"{_billions(planned.trained) if planned.trained else 'none'} trained (shape from {planned.origin.source})"
    )
    yield f"device   {many}{device.name}, {size(round(device.memory))} each{' (guess)' if device.guess else ''}"
    yield f"memory   {size(round(need.peak.bytes))} at the peak of a device: {_verdict(planned)}"
    shown = [part for part in need.peak.parts if part.bytes >= need.peak.bytes / 1000]
    width = max(len(part.name) for part in shown)
    for part in shown:
        when = "" if part.when == "always" else f", while {part.when}"
        yield f"  {part.name:{width}}  {size(round(part.bytes)):>10}{when}{' (guess)' if part.guess else ''}"
    yield from _passes(planned)
    for way in planned.ways:
        yield f"to fit   {way.what}: {size(round(way.peak))}{', fits' if way.fits else ', still too much'}"
    if planned.ways:
        yield f"  {' '.join(planned.ways[-1].overrides)}"
    steps = f", {counted(work.steps, 'step')}" if work.steps is not None else ""
    yield f"work     {work.of}: {work.tokens:,.0f} tokens of {counted(round(work.rows), work.unit)}{steps} (guess)"
    energy = ""
    if work.kilowatt_hours is not None:
        energy = (
            f", {work.kilowatt_hours:,.2f} kWh at {device.watts:,.0f} W, "
            f"{work.kilowatt_hours * CO2_A_KWH:,.2f} kg CO2"
        )
    hours = f", {work.device_hours:,.2f} device hours" if not device.on_cpu else ""
    yield f"time     {duration(work.seconds)}{hours}{energy} (guess)"
    kept = "checkpoints" if planned.trained else "samples"
    yield f"disk     {size(planned.disk)}: {kept}, and what the run leaves"
    for guess in planned.guesses:
        yield f"guess    {guess}"
    if energy:
        yield "guess    the card's full power, and the Llama 2 paper's 0.42 kg of CO2 a kWh; no cooling"


def measured_line(step: MeasuredStep) -> str:
    """A step that was made here, beside what the plan says of it."""
    planned = "no plan of the card's time, which is a guess"
    if step.planned_seconds is not None:
        planned = f"plan: {duration(step.planned_seconds)}"
    return (
        f"measured a step of {counted(step.rows, 'row')} of {step.length:,} tokens: "
        f"{size(round(step.peak))} at the peak (plan: {size(round(step.planned_peak))}), "
        f"{duration(step.seconds)} ({planned})"
    )


def _verdict(planned: Plan) -> str:
    if planned.fits:
        return "fits"
    over = planned.need.peak.bytes - planned.device.memory
    return f"too much by {size(round(over))}"


def _passes(planned: Plan) -> Iterator[str]:
    need = planned.need
    if need.tokens is not None:
        yield f"  passes of {need.tokens:,} tokens, if all rows are as long as allowed ({need.longest:,})"
    if need.at_once is not None:
        yield f"  {counted(need.at_once, 'answer')} sampled at once, as many as fit or as the recipe allows"


def _billions(count: int) -> str:
    return f"{count / 1e9:,.2f}B" if count >= 1e9 else f"{count / 1e6:,.1f}M"
