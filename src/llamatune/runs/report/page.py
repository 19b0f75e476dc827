"""The report of a run: from the files in its directory to one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamatune.errors import RecipeError
from llamatune.outside import is_file
from llamatune.recipe.paths import PIPELINE_MARKER
from llamatune.recipe.recipes import STAGES
from llamatune.runs.files import REPORT, write_atomic
from llamatune.runs.report import completions, curves, data, head, ppo, sections, svg, words
from llamatune.runs.report.by_stage import look_of
from llamatune.runs.report.reading import RunFiles, as_mapping, as_text
from llamatune.runs.report.series import KNOWN, Chart, charts, collect
from llamatune.runs.report.steps import pipeline_contents

MOST_CHARTS = 60

_HOLDS = {
    "manifest.json": "what it was made from: versions, machine, hashes",
    "run.json": "its state and its attempts",
    "metrics.jsonl": "what was learned: curves",
    "speed.jsonl": "speed and memory",
    "data.json": "rows kept and left out",
    "evaluation.json": "the evaluation of the reward model",
    "preview.json": "which tokens of a row are trained",
    "replies.jsonl": "replies before and after training",
    "completions.jsonl": "what the policy answered, and what that was worth",
    "result.json": "final figures, written when a run finishes",
}
"""What the page cannot show without a file. events.jsonl is not listed: most runs have nothing to say there."""


_CURVES = ("metrics.jsonl", "speed.jsonl")


def write_report(directory: Path) -> Path:
    """Make `report.html` in a run directory, or in a pipeline's folder, from the files there; an earlier one is
    replaced.

    Raises:
        RecipeError: E037, the directory is not a run.
        DiskError: the page cannot be written.
    """
    if is_file(directory / PIPELINE_MARKER):
        path = directory / REPORT
        write_atomic(path, rendered("pipeline.html.jinja", pipeline_contents(directory)))
        return path
    if not is_file(directory / "resolved.yaml"):
        raise RecipeError(
            "E037",
            "not the directory of a run: it has no resolved.yaml",
            place=str(directory),
            hint="name the folder that the recipe's `output` names",
        )
    path = directory / REPORT
    write_atomic(path, page(directory))
    return path


def page(directory: Path) -> str:
    """The page as text. The same files give the same text, except for a run that is still going on."""
    return rendered("page.html.jinja", contents(directory))


def rendered(template: str, content: dict[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(content)


def _shown(value: Any) -> Any:
    """Every value on its way into the page: bounded, control characters visible. Escaping comes after this."""
    return value if hasattr(value, "__html__") else words.visible(words.shorten(str(value)))


def contents(directory: Path) -> dict[str, Any]:
    """All that the template shows, as plain data."""
    files = RunFiles(directory)
    recipe_text, recipe = files.recipe()
    manifest = files.mapping("manifest.json")
    run = files.mapping("run.json")
    result = files.mapping("result.json")
    metrics = collect(files.lines("metrics.jsonl"))
    speed = collect(files.lines("speed.jsonl"))
    events = list(files.lines("events.jsonl"))
    rows = files.mapping("data.json")
    masks = sections.masks(files.rows("preview.json"))
    replies = sections.replies(files.lines("replies.jsonl"))
    if not as_mapping(recipe.get("generation")).get("prompts") and "replies.jsonl" in files.missing:
        files.missing.remove("replies.jsonl")  # none were asked for

    stage = as_text(recipe.get("stage") or result.get("stage") or "run")
    look, leaves = look_of(stage), STAGES[stage].leaves if stage in STAGES else ()
    evaluated = _evaluation(files, recipe) if "evaluation.json" in leaves else {}
    answered = files.lines("completions.jsonl") if "completions.jsonl" in leaves else ()
    held_out = {"pictures": [], "choices": [], **look.section(evaluated, recipe)}

    state = head.state(run, finished=bool(result))
    attempts = sections.attempts(run, running=state == "running")
    resumes = head.resumes(run, events)
    known, drawn = look.series(metrics, evaluated, recipe)
    shown = charts({**drawn, **speed}, known)
    holds = {**_HOLDS, **look.holds}
    if stage in STAGES:
        # a stage that trains nothing has no curves
        files.missing = [name for name in files.missing if name in leaves or name not in _CURVES]
    return {
        "stage": stage,
        "name": directory.resolve().name,
        "state": state,
        "state_text": head.STATES.get(state, state),
        "subtitle": head.subtitle(recipe, result, run),
        "figures": head.headline_figures(result, run, metrics, speed, rows, look),
        "evaluation": held_out,
        "completions": completions.section(answered),
        "notices": head.notices(
            state, run, resumes, events, shown, files.broken, ppo.notices(held_out["verdict"])
        ),
        "missing": [(name, holds[name]) for name in files.missing if name in holds],
        **_curves(shown, resumes, wide=look.wide),
        "series_left_out": len(metrics) - len(drawn),
        "data": data.section(rows, look.unit),
        "masks": masks,
        "preview": look.preview,
        "about_preview": look.about_preview,
        "replies": replies,
        "environment": sections.environment_section(manifest, recipe),
        "attempts": attempts,
        "events": sections.events(events, head.ALARMS),
        "recipe": sections.recipe(recipe_text),
    }


def _evaluation(files: RunFiles, recipe: dict[str, Any]) -> dict[str, Any]:
    """evaluation.json; it is missed where the recipe asks for held-out rows."""
    said = as_mapping(recipe.get("data"))
    content = files.mapping("evaluation.json")
    if (
        recipe
        and not said.get("eval")
        and not said.get("eval_fraction")
        and "evaluation.json" in files.missing
    ):
        files.missing.remove("evaluation.json")
    return content


def _curves(shown: list[Chart], resumes: list[float], wide: str) -> dict[str, Any]:
    """Charts, and what was logged only once as numbers."""
    single = [chart for chart in shown if chart.single and chart.name not in KNOWN]
    curved = [chart for chart in shown if chart not in single]
    last = max([*(chart.last_step for chart in curved), *resumes], default=1.0)
    return {
        "charts": [_chart(chart, resumes, last, wide) for chart in curved[:MOST_CHARTS]],
        "charts_left_out": max(0, len(curved) - MOST_CHARTS),
        "resumes": words.steps_text(resumes) if resumes else "",
        "single": [(words.shorten(chart.name, 60), *chart.only) for chart in single[:MOST_CHARTS]],
    }


def _chart(chart: Chart, resumes: list[float], last: float, wide: str) -> dict[str, Any]:
    """The chart of this name is drawn twice, for wide and for narrow windows; the others are always narrow."""
    sizes = [svg.WIDE, svg.NARROW] if chart.name == wide else [svg.NARROW]
    return {
        "title": words.shorten(chart.title, 60),
        "summary": chart.summary,
        "odd": chart.odd_text,
        "training": chart.train.logged > 0,
        "held_out": chart.held_out.logged > 0,
        "svgs": [curves.draw(chart, resumes, last, size) for size in sizes] if chart.drawable else [],
    }
