"""The report of a pipeline: its steps with times, where each artefact comes from, and figures by version.

Everything is read from the files in its folder: pipeline.json says which steps there are and what each start did, the
runs of the steps say the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llamatune.recipe.hashing import file_sha256
from llamatune.recipe.paths import FINISHED, MARKER, PIPELINE_MARKER
from llamatune.runs.files import REPORT
from llamatune.runs.report import head
from llamatune.runs.report.reading import RunFiles, as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.sections import recipe as recipe_lines
from llamatune.runs.report.side_by_side import through_models
from llamatune.runs.report.tables import Cell, Table, heading, percent, plain
from llamatune.runs.report.words import duration, number, shorten, utc

PIPELINE_RECORD = "pipeline.json"
"""Which steps a pipeline has, those that it has begun, and what each start did."""
MOST_STEPS, MOST_STARTS, MOST_PROMPTS, _MOST_FIGURES = 500, 20, 6, 8
_TOGETHER = "all sets"
"""What an evaluation calls all its sets of prompts together."""
_NAME = re.compile(r"(?:round-\d{1,4}/)?[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""What a step can be called: nothing that leads out of the pipeline's folder."""


@dataclass(frozen=True)
class StepFiles:
    """A step as pipeline.json tells of it, and the files of its run."""

    name: str
    stage: str
    recipe: str
    needs: tuple[str, ...]
    files: RunFiles

    @classmethod
    def of(cls, told: Mapping[str, Any], folder: Path) -> StepFiles | None:
        """None for what cannot be a step."""
        name = as_text(told.get("name"))
        if not _NAME.fullmatch(name):
            return None
        return cls(
            name,
            as_text(told.get("stage")),
            as_text(told.get("recipe")),
            tuple(one for one in _listed(told.get("needs")) if isinstance(one, str)),
            RunFiles(folder / name),
        )

    @cached_property
    def result(self) -> dict[str, Any]:
        return self.files.mapping(FINISHED)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return self.files.mapping("manifest.json")

    @cached_property
    def state(self) -> str:
        if not (self.files.directory / MARKER).is_file():
            return "waits"
        return head.state(self.files.mapping("run.json"), finished=bool(self.result))

    @property
    def anchor(self) -> str:
        return self.name.replace("/", "-")

    @property
    def artefact(self) -> tuple[str, str]:
        """What it leaves, and its sha256."""
        name = as_text(self.result.get("artefact"))
        return name, as_text(as_mapping(as_mapping(self.result.get("files")).get(name)).get("sha256"))


def pipeline_contents(folder: Path) -> dict[str, Any]:
    """All that the template shows, as plain data."""
    files = RunFiles(folder)
    record = files.mapping(PIPELINE_RECORD)
    told = (StepFiles.of(one, folder) for one in as_rows(record.get("steps"))[:MOST_STEPS])
    steps = [step for step in told if step is not None]
    starts = as_rows(record.get("starts"))
    done = sum(step.state == "finished" for step in steps)
    running = any(step.state == "running" for step in steps)
    state = "finished" if steps and done == len(steps) else "running" if running else "unfinished"
    seconds = [as_number(step.result.get("seconds")) or 0.0 for step in steps]
    try:
        text = (folder / PIPELINE_MARKER).read_text("utf-8", "replace")
    except OSError:
        text = ""
    return {
        "name": folder.resolve().name,
        "state": state,
        "state_text": head.STATES[state],
        "broken": sorted(files.broken.items()),
        "tiles": [
            ("steps", f"{number(done)} of {number(len(steps))}", "finished"),
            ("time", duration(sum(seconds)), "of all steps, as each last ran"),
            *_last_start(starts[-1] if starts else {}),
        ],
        "rounds": [_round(name, some) for name, some in _by_round(steps)],
        "versions": [*_versions(steps)],
        "compared": [*_compared(steps)],
        "figures": [*_figures_by_stage(steps)],
        "lineage": [_lineage(step) for step in steps if step.result],
        "starts": [_start(one) for one in reversed(starts[-MOST_STARTS:])],
        "recipe": recipe_lines(text),
    }


def version_lines(folder: Path) -> Iterator[str]:
    """What the evaluations of a pipeline found of each model, for a terminal."""
    told = (
        StepFiles.of(one, folder) for one in as_rows(RunFiles(folder).mapping(PIPELINE_RECORD).get("steps"))
    )
    for table in _versions(step for step in told if step is not None):
        yield table.title
        rows = [
            [table.of, *table.columns],
            *([name, *(cell.text for cell in row)] for name, row in table.rows),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for name, *cells in rows:
            columns = (f"{cell:>{wide}}" for cell, wide in zip(cells, widths[1:], strict=True))
            yield "  ".join([f"  {name:{widths[0]}}", *columns])
        if table.left_out:
            yield f"  {table.left_out}"


def _last_start(start: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    did = [as_mapping(one) for one in as_mapping(start.get("steps")).values()]
    reused = sum(one.get("did") == "done" for one in did)
    when = utc(start.get("started")) if start else ""
    return (
        [("last start", f"{number(len(did) - reused)} ran, {number(reused)} reused", when)] if start else []
    )


def _by_round(steps: Iterable[StepFiles]) -> Iterator[tuple[str, list[StepFiles]]]:
    """Steps of a round together, in the order in which the first of each comes."""
    found: dict[str, list[StepFiles]] = {}
    for step in steps:
        found.setdefault(step.name.rpartition("/")[0], []).append(step)
    yield from found.items()


def _round(name: str, steps: list[StepFiles]) -> dict[str, Any]:
    return {"name": name.replace("-", " ") if name else "steps", "steps": [_step(step) for step in steps]}


def _step(step: StepFiles) -> dict[str, Any]:
    amount, shown = as_number(step.result.get("steps")), [*_figures(step)]
    return {
        "name": step.name.rpartition("/")[2],
        "anchor": step.anchor,
        "report": f"{step.name}/{REPORT}" if (step.files.directory / REPORT).is_file() else "",
        "stage": step.stage.replace("_", " "),
        "needs": [(one, one.replace("/", "-")) for one in step.needs],
        "state": step.state,
        "state_text": head.STATES.get(step.state, step.state),
        "time": duration(step.result.get("seconds")) if step.result else "–",
        "steps": number(amount) if amount is not None else "–",
        "figures": [(heading(name), value) for name, value in shown[:_MOST_FIGURES]],
        "figures_left_out": len(shown[_MOST_FIGURES:]),
    }


def _figures(step: StepFiles) -> Iterator[tuple[str, str]]:
    for name, value in as_mapping(step.result.get("figures")).items():
        if name != "peak_memory_gib" and as_number(value) is not None:
            is_share = name.startswith("accuracy") or name.endswith("_share")
            yield name, percent(value) if is_share else plain(value, 3)


def _figures_by_stage(steps: Iterable[StepFiles]) -> Iterator[Table]:
    """A table for each stage: a row for each of its steps, a column for each figure of their results."""
    stages: dict[str, dict[str, dict[str, str]]] = {}
    for step in steps:
        if step.result and step.stage != "evaluate":
            stages.setdefault(step.stage, {})[step.name] = dict(_figures(step))
    for stage, rows in stages.items():
        columns, left_out = _first(name for row in rows.values() for name in row)
        cells = [(name, [Cell(row.get(column, "–")) for column in columns]) for name, row in rows.items()]
        if columns:
            heads = [heading(column) for column in columns]
            yield Table(heading(stage), "as each step ended", heads, cells, of="step", left_out=left_out)


def _evaluations(steps: Iterable[StepFiles]) -> Iterator[StepFiles]:
    """The steps that compare models, as far as they have finished: what they found is not in their results."""
    return (step for step in steps if step.stage == "evaluate" and step.result)


def _versions(steps: Iterable[StepFiles]) -> Iterator[Table]:
    """What each evaluation found of each model, in its order: over all sets together, and by turn."""
    for step in _evaluations(steps):
        figures = as_rows(step.files.mapping("evaluation.json").get("figures"))
        sets = list(dict.fromkeys(as_text(row.get("set")) for row in figures))
        # Each set by itself is in the step's own report.
        for name in sets[sets.index(_TOGETHER) if _TOGETHER in sets else 0 :]:
            yield _version_table(step.name, name, [row for row in figures if as_text(row.get("set")) == name])


def _version_table(step: str, set_: str, rows: list[dict[str, Any]]) -> Table:
    columns, left_out = _first(as_text(row.get("figure")) for row in rows)
    by_model: dict[str, dict[str, Cell]] = {}
    for row in rows:
        by_model.setdefault(as_text(row.get("model")), {})[as_text(row.get("figure"))] = _estimate(row)
    cells = [
        (shorten(name, 60), [known.get(column, Cell("–")) for column in columns])
        for name, known in by_model.items()
    ]
    heads = [heading(column) for column in columns]
    title = f"{step}: {shorten(set_, 60)}"
    return Table(title, "with 95% intervals", heads, cells, of="model", left_out=left_out)


def _first(names: Iterable[str]) -> tuple[list[str], str]:
    """The names that get a column, and which do not, in words."""
    every = list(dict.fromkeys(names))
    others = ", ".join(map(heading, every[_MOST_FIGURES:]))
    return every[:_MOST_FIGURES], f"Left out here, and in the step's own report: {others}." if others else ""


def _compared(steps: Iterable[StepFiles]) -> Iterator[dict[str, Any]]:
    """Of each evaluation: pictures over the models (figure 11 of the paper), and their replies to the same prompts."""
    for step in _evaluations(steps):
        content = step.files.mapping("evaluation.json")
        sets = [as_text(row.get("set")) for row in as_rows(content.get("figures"))]
        set_ = _TOGETHER if _TOGETHER in sets else next(iter(sets), "")
        yield {"name": step.name, **through_models(content, set_, MOST_PROMPTS)}


def _estimate(row: Mapping[str, Any]) -> Cell:
    show = percent if row.get("unit") == "share" else plain
    low, high = as_number(row.get("low")), as_number(row.get("high"))
    note = f"{show(low)} to {show(high)}" if low is not None and high is not None else ""
    return Cell(show(row.get("value")), note)


def _lineage(step: StepFiles) -> dict[str, Any]:
    """What a step left, and what it was made from."""
    facts = as_mapping(step.manifest.get("facts"))
    artefact, sha256 = step.artefact
    try:
        recipe = file_sha256(step.files.directory / MARKER)
    except OSError:
        recipe = ""
    return {
        "name": step.name,
        "anchor": step.anchor,
        "artefact": artefact,
        "hash": _short(sha256),
        "recipe": (step.recipe, _short(recipe)),
        "base": _short(as_mapping(facts.get("base")).get("weights")),
        "data": [
            (role, _short(sha))
            for role, sources in as_mapping(facts.get("data")).items()
            for source in as_rows(sources)
            for sha in _listed(source.get("sha256"))
        ],
        "needs": [(one, one.replace("/", "-")) for one in step.needs],
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _short(sha256: Any) -> dict[str, str]:
    """A hash as a reader compares it, and whole."""
    text = as_text(sha256)
    return {"text": text[:12] or "–", "full": text}


def _start(start: Mapping[str, Any]) -> dict[str, Any]:
    did = {name: as_mapping(one) for name, one in as_mapping(start.get("steps")).items()}
    ran = [
        f"{name} {as_text(one.get('did'))}"
        + (f" ({as_text(one.get('why'))})" if one.get("why") else "")
        + (f", {duration(one.get('seconds'))}" if "seconds" in one else "")
        for name, one in did.items()
        if one.get("did") != "done"
    ]
    reused = [name for name, one in did.items() if one.get("did") == "done"]
    return {"started": utc(start.get("started")), "ran": ran, "reused": ", ".join(reused)}
