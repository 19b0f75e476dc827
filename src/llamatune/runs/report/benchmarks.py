"""Benchmarks on the page of an evaluation: figures, how each was asked, and what of them was in training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llamatune.runs.report import words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.tables import Cell, Table, estimated, percent, plain

_MOST_ROWS, _LONGEST_NAME, _LONGEST = 200, 60, 1500

_VERIFIED = "Each was verified: with it, this program has given a published number."
_NOT_VERIFIED = (
    "Nobody has yet seen this program give a published number with these: compare them with each other, and not with "
    "numbers of others. Model cards do not show them."
)


def benchmark_tables(content: Mapping[str, Any], models: Sequence[str]) -> list[Table]:
    """Those of evaluation.json, some of which may be empty."""
    figures = [row for row in as_rows(content.get("figures")) if row.get("benchmark")]
    verified = [row for row in figures if row.get("verified")]
    others = [row for row in figures if not row.get("verified")]
    return [
        _figures("Benchmarks", _VERIFIED, verified, models, published=True),
        _figures("Benchmarks, not verified", _NOT_VERIFIED, others, models, published=False),
        _contamination(as_rows(content.get("contamination"))),
        _requests(as_rows(content.get("benchmarks"))),
    ]


def _figures(
    title: str, about: str, figures: Sequence[Mapping[str, Any]], models: Sequence[str], *, published: bool
) -> Table:
    by_figure: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in figures[: _MOST_ROWS * 10]:
        key = as_text(row.get("set")), as_text(row.get("figure"))
        by_figure.setdefault(key, {})[as_text(row.get("model"))] = row
    rows = [
        (f"{_name(name)}: {_name(figure)}", [estimated(by_model.get(model)) for model in models])
        for (name, figure), by_model in list(by_figure.items())[:_MOST_ROWS]
    ]
    return Table(title, about, list(map(_name, models)), rows, of="benchmark", published=published)


def _requests(asked: Sequence[Mapping[str, Any]]) -> Table:
    """How each benchmark was asked."""
    rows = []
    for row in asked[:_MOST_ROWS]:
        bos = as_number(row.get("bos"))
        facts = [
            f"{plain(row.get('rows'))} rows, {plain(row.get('left_out'))} left out because they do not fit",
            f"longest: {plain(row.get('longest'))} tokens with the reply",
            "no BOS: the tokenizer has none" if bos is None else f"BOS in this request: {plain(bos)}",
            as_text(row.get("note")),
        ]
        cells = [
            Cell("", lines=tuple(filter(None, facts))),
            Cell(words.shorten(as_text(row.get("request")), _LONGEST)),
        ]
        rows.append((f"{_name(as_text(row.get('set')))}, {_name(as_text(row.get('model')))}", cells))
    columns = ["facts", "first request"]
    return Table(
        "How benchmarks were asked",
        "The first request of each, as the model reads it; what is in ⟦ ⟧ is whose probability was asked for. "
        "evaluation.json has the whole of it.",
        columns,
        rows,
        lists=tuple(columns),
        of="benchmark, model",
        published=False,
    )


def _contamination(found: Sequence[Mapping[str, Any]]) -> Table:
    """Of the shortest stretches: those of the other lengths are in evaluation.json."""
    rows = []
    for row in found[:_MOST_ROWS]:
        first = next(iter(as_rows(row.get("lengths"))), {})
        parts = as_mapping(first.get("subsets"))
        cells = [
            Cell(plain(row.get("files"))),
            Cell(plain(row.get("missing"))),
            Cell(plain(row.get("rows"))),
            Cell(plain(first.get("clean"))),
            Cell(plain(first.get("dirty"))),
        ]
        for name in ("clean", "dirty"):
            part = as_mapping(parts.get(name))
            z = as_number(part.get("z"))
            cells.append(Cell(percent(part.get("mean")), "" if z is None else f"Z {plain(z, 3)}"))
        affected = row.get("affected")
        cells.append(Cell("yes" if affected is True else "no" if affected is False else "not known"))
        rows.append((f"{_name(as_text(row.get('benchmark')))}, {_name(as_text(row.get('model')))}", cells))
    return Table(
        "Benchmarks in training data",
        "Rows with less than a fifth (clean) and with four fifths or more (dirty) of their tokens in stretches of more "
        "than ten that the data of the model's runs have, too, up to four tokens of which may differ (paper, A.6), and "
        "the figures of both. Affected: for some length all four subsets are more than two standard errors away. Files "
        "that are gone or changed could not be read: what is in them is not known.",
        [
            "files read",
            "files missing",
            "rows",
            "clean",
            "dirty",
            "figure of clean",
            "figure of dirty",
            "affected",
        ],
        rows,
        of="benchmark, model",
        published=False,
    )


def _name(text: str) -> str:
    return words.shorten(text, _LONGEST_NAME)
