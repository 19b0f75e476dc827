"""How the page of a stage differs from that of any other run. A stage without an entry gets the common page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llamatune.runs.report import best_of, evaluation, made_data, ppo, side_by_side
from llamatune.runs.report.series import KNOWN, Known, Series

Metrics = Mapping[str, Series]


def _plain_series(
    metrics: Metrics, evaluated: Mapping[str, Any], recipe: Mapping[str, Any]
) -> tuple[dict[str, Known], Metrics]:
    return KNOWN, metrics


@dataclass(frozen=True)
class Look:
    """What a stage's page shows, and in which words.

    `section`: (evaluation.json, recipe) -> tables, pictures and a verdict. `series`: (metrics, evaluation.json, recipe)
    -> titles and units, and what is drawn. `holds`: what the page cannot show without a file, where this stage says so
    in other words. `wide`: the chart that gets the width of the page.
    """

    rows: str = "training rows"
    unit: str = ""
    """What an epoch is counted in, where that is not trained tokens."""
    section: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]] = evaluation.section
    series: Callable[
        [Metrics, Mapping[str, Any], Mapping[str, Any]], tuple[Mapping[str, Known], Mapping[str, Series]]
    ] = _plain_series
    tiles: Callable[[Metrics], list[tuple[str, str, str]]] | None = None
    """The first figures of the page; training and held-out loss when None."""
    is_told: Callable[[str], bool] = lambda name: False
    """Whether a figure of result.json is elsewhere on the page."""
    holds: Mapping[str, str] = field(default_factory=dict)
    wide: str = "loss"
    preview: str = "Masks"
    about_preview: str = "tokens are trained: the loss counts them. The rest is context that the model reads."


def _no_tiles(metrics: Metrics) -> list[tuple[str, str, str]]:
    """Nothing is trained: the first figures are those of the result."""
    return []


def _of_made_data(section: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]) -> Look:
    return Look(
        rows="prompts",
        unit="prompts",
        section=section,
        tiles=_no_tiles,
        holds={
            "evaluation.json": "what came of the samples",
            "preview.json": "prompts as the model reads them",
        },
        wide="",
        preview="Prompts",
        about_preview="",
    )


LOOKS = {
    "reward": Look(
        unit="pairs",
        series=evaluation.series,
        about_preview="tokens end a reply: there the model scores it, and the loss counts the score. The rest is "
        "context that the model reads.",
    ),
    "rejection_sampling": _of_made_data(best_of.section),
    "ppo": Look(
        rows="training prompts",
        unit="prompts",
        section=ppo.section,
        series=ppo.series,
        tiles=ppo.tiles,
        is_told=ppo.is_told,
        holds={
            "evaluation.json": "rewards of held-out prompts over time",
            "preview.json": "prompts as the policy reads them",
        },
        wide="",
        preview="Prompts",
        about_preview="",
    ),
    "gatt": _of_made_data(made_data.gatt_section),
    "preferences": _of_made_data(made_data.preferences_section),
    "context_distillation": _of_made_data(made_data.distillation_section),
    "self_chat": _of_made_data(made_data.self_chat_section),
    "evaluate": replace(
        _of_made_data(side_by_side.section),
        holds={
            "evaluation.json": "figures and win rates",
            "preview.json": "prompts as the models read them",
        },
    ),
}


def look_of(stage: str) -> Look:
    return LOOKS.get(stage, Look())
