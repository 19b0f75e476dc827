"""An evaluation: figures and win rates of all models with their intervals, and their replies, the worst cases first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from llamatune.runs.report import benchmarks, words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.svg import INK, LINE, frame, picture, ticks
from llamatune.runs.report.tables import (
    MOST_COLUMNS,
    Cell,
    Table,
    estimated,
    percent,
    plain,
    section_of,
)

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

MOST_ROWS, LONGEST_NAME, LONGEST = 200, 60, 1000
_DRAWN = ("correct", "unsafe", "false refusals")
"""Shares of replies that say most about helpfulness and safety."""

_Point = tuple[float, float, float]
"""A figure, and where its interval begins and ends."""


def section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Tables and pictures of evaluation.json."""
    models, left_out = _models(content)
    baseline = as_text(content.get("baseline"))
    won = as_rows(content.get("win_rates"))
    figures = [row for row in as_rows(content.get("figures")) if not row.get("benchmark")]
    tables = [*_figures(figures, models)]
    tables += [_win_rates(won, baseline), _strengths(as_mapping(content.get("strengths")), baseline)]
    tables += _violations(as_rows(content.get("violations")), models)
    tables += [_examples(as_rows(content.get("examples")), models)]
    tables += benchmarks.benchmark_tables(content, models)
    return section_of(*tables, pictures=_pictures(won, models, baseline), models_left_out=left_out)


def through_models(content: Mapping[str, Any], set_: str, most: int) -> dict[str, Any]:
    """What the page of a pipeline takes of evaluation.json: pictures of win rates, and of how helpful and safe the
    replies to that set are, over the models; and replies of all of them to `most` prompts."""
    models, left_out = _models(content)
    by_figure: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in as_rows(content.get("figures")):
        if as_text(row.get("figure")) in _DRAWN and as_text(row.get("set")) == set_:
            by_figure.setdefault(as_text(row.get("figure")), {})[as_text(row.get("model"))] = row
    pictures = _pictures(as_rows(content.get("win_rates")), models, as_text(content.get("baseline")))
    for figure, by_model in by_figure.items():
        points = [_estimated_point(by_model.get(model)) for model in models]
        if sum(point is not None for point in points) > 1:
            better = as_text(next(iter(by_model.values())).get("better"))
            title = f"{_name(figure)}{f' ({better} is better)' if better else ''}"
            svg = _curve(f"share {len(pictures)}", points, up="share", half=False)
            pictures.append({"title": title, "keys": [], "summary": _told(models, points), "svg": svg})
    replies = _examples(as_rows(content.get("examples"))[:most], models)
    return {"pictures": pictures, "replies": replies, "models_left_out": left_out}


def _models(content: Mapping[str, Any]) -> tuple[list[str], int]:
    """The names of the models that are shown, and how many more there are."""
    named = content.get("models")
    every = [as_text(name) for name in named] if isinstance(named, list) else []
    return every[:MOST_COLUMNS], len(every[MOST_COLUMNS:])


def _name(text: str) -> str:
    return words.shorten(text, LONGEST_NAME)


# ---- figures ----------------------------------------------------------------------------------------------------


def _figures(figures: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[Table]:
    """A table a set: a row a figure, a column a model."""
    sets: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in figures[: MOST_ROWS * 10]:
        by_figure = sets.setdefault(as_text(row.get("set")), {})
        by_figure.setdefault(as_text(row.get("figure")), {})[as_text(row.get("model"))] = row
    tables = []
    for name, by_figure in sets.items():
        rows = []
        for figure, by_model in list(by_figure.items())[:MOST_ROWS]:
            better = next((as_text(row.get("better")) for row in by_model.values()), "")
            told = f"{_name(figure)}{f' ({better} is better)' if better else ''}"
            rows.append((told, [estimated(by_model.get(model)) for model in models]))
        about = "With 95% intervals: of shares Wilson's, of other figures a bootstrap's over prompts."
        tables.append(Table(_name(name), about, [_name(model) for model in models], rows, of="figure"))
    return tables


# ---- win rates ----------------------------------------------------------------------------------------------------


def _win_rates(won: Sequence[Mapping[str, Any]], baseline: str) -> Table:
    rows = []
    for row in won[:MOST_ROWS]:
        name = f"{as_text(row.get('model'))}, {as_text(row.get('judge'))}, {as_text(row.get('set'))}"
        counts = " / ".join(plain(row.get(part)) for part in ("win", "tie", "loss"))
        cells = [Cell(counts), *(estimated(row.get(part)) for part in ("rate", "share", "at_equal_length"))]
        cells += [Cell(plain(row.get("length_ratio"), 3))]
        cells += [estimated(row.get(part)) for part in ("consistency", "first_position")]
        cells += [_silence(row)]
        rows.append((words.shorten(name, 2 * LONGEST_NAME), cells))
    columns = ["win / tie / loss", "win rate", "with ties", "at equal length", "length ratio"]
    columns += ["consistent", "first preferred", "not answered"]
    empty = [at for at in range(len(columns)) if all(cells[at].text == "–" for _, cells in rows)]
    return Table(
        f"Win rates against {_name(baseline)}",
        "Win rate is win / (win + loss), as in the paper; with ties, each tie is half a win. At equal length: what "
        "that would be if both wrote equally long replies. A judge who sees an order is asked in both: consistent are "
        "matches with the same word in both, and only those are won. First preferred: games won by what was shown "
        "first. Not answered: questions that the judge gave no verdict on; a pair is left out unless all are answered.",
        [column for at, column in enumerate(columns) if at not in empty],
        [(name, [cell for at, cell in enumerate(cells) if at not in empty]) for name, cells in rows],
        of="model, judge, set",
    )


def _silence(row: Mapping[str, Any]) -> Cell:
    """How many questions were not answered, and why; a dash of a judge who is not asked any."""
    if not isinstance(row.get("unanswered"), Mapping):
        return Cell("–")
    why = [(name, as_number(number) or 0) for name, number in as_mapping(row.get("unanswered")).items()]
    once = as_number(row.get("answered_once"))
    notes = [f"{_name(name)}: {plain(number)}" for name, number in why[:MOST_COLUMNS]]
    notes += [f"{plain(once)} of the pairs in one order only"] if once else []
    return Cell(plain(sum(number for _, number in why)), ", ".join(notes))


def _strengths(found: Mapping[str, Any], baseline: str) -> Table:
    judges = list(found)[:MOST_COLUMNS]
    names = list(dict.fromkeys(name for judge in judges for name in as_mapping(found[judge])))
    rows = [
        (
            _name(name),
            [
                estimated({**as_mapping(as_mapping(found[judge]).get(name)), "unit": "number"})
                for judge in judges
            ],
        )
        for name in names[:MOST_ROWS]
    ]
    return Table(
        "Strengths",
        "Of Bradley and Terry, from the matches of every model with every other, in log-odds against "
        f"{_name(baseline)}: a difference of 1.1 is three wins in four.",
        [_name(judge) for judge in judges],
        rows,
        of="model",
    )


def _violations(found: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[Table]:
    """Two tables a model and judge: a row a category, a column an attack; and what else replies do."""
    tables = []
    judges = list(dict.fromkeys(as_text(row.get("judge")) for row in found))[:MOST_COLUMNS]
    for model, judge in product(models, judges):
        by_part: dict[str, dict[str, Mapping[str, Any]]] = {}
        attacks: dict[str, None] = {}
        for row in found[: MOST_ROWS * 10]:
            if row.get("model") == model and as_text(row.get("judge")) == judge:
                by_part.setdefault(as_text(row.get("category")), {})[as_text(row.get("attack"))] = row
                attacks[as_text(row.get("attack"))] = None
        columns = list(attacks)[:MOST_COLUMNS]
        rows, outcomes = [], []
        for category, by_attack in list(by_part.items())[:MOST_ROWS]:
            rows.append((_name(category), [_violated(by_attack.get(attack)) for attack in columns]))
            whole = as_mapping(by_attack.get("all"))
            every = (whole, whole.get("refused"), whole.get("neither"))
            outcomes.append((_name(category), [_violated(as_mapping(one)) for one in every]))
        about = (
            "Of prompts that ask for something unsafe, by risk category and attack: the share of unsafe replies by "
            f"{_name(judge) or 'whoever judged'}, with Wilson's 95% interval."
        )
        by = f", by {_name(judge)}" if judge else ""
        tables.append(
            Table(
                f"Violations of {_name(model)}{by}",
                about,
                list(map(_name, attacks))[:MOST_COLUMNS],
                rows,
                of="category",
            )
        )
        about = (
            "Of the same prompts, whatever the attack: the shares of replies that are unsafe, that refuse (by the "
            "oracle, or else by how they begin), and that do neither."
        )
        columns = ["unsafe", "refused", "neither"]
        tables.append(
            Table(
                f"Replies of {_name(model)} to unsafe requests{by}", about, columns, outcomes, of="category"
            )
        )
    return tables


def _violated(row: Mapping[str, Any] | None) -> Cell:
    """Narrow: there may be many columns."""
    found = as_mapping(row)
    share, low, high = (as_number(found.get(name)) for name in ("share", "low", "high"))
    if share is None or low is None or high is None:
        return Cell("–")
    return Cell(percent(share), f"{100 * low:.0f}–{100 * high:.0f}%, {plain(found.get('of'))}")


# ---- pictures -----------------------------------------------------------------------------------------------------


def _pictures(won: Sequence[Mapping[str, Any]], models: Sequence[str], baseline: str) -> list[dict[str, Any]]:
    """Figure 11 of the paper: by judge, over the models in their order. Of the last set, which is all of them."""
    if len(models) < 2:
        return []
    judges = list(dict.fromkeys(as_text(row.get("judge")) for row in won))
    found: list[dict[str, Any]] = []
    for judge in judges[:MOST_COLUMNS]:
        rows = [row for row in won if row.get("judge") == judge]
        last = rows[-1].get("set")
        by_model = {as_text(row.get("model")): row for row in rows if row.get("set") == last}
        points = [_point(by_model.get(model), model == baseline) for model in models]
        if sum(point is not None for point in points) < 2:
            continue
        found.append(
            {
                "title": f"Win rate by {_name(judge)}",
                "keys": [],
                "summary": _told(models, points),
                "svg": _curve(f"win rates {len(found)}", points, up="wins, ties half", half=True),
            }
        )
    return found


def _point(row: Mapping[str, Any] | None, is_baseline: bool) -> _Point | None:
    if is_baseline:
        return 0.5, 0.5, 0.5
    return _estimated_point(as_mapping(as_mapping(row).get("share")))


def _estimated_point(share: Mapping[str, Any] | None) -> _Point | None:
    value, low, high = (as_number(as_mapping(share).get(name)) for name in ("value", "low", "high"))
    if value is None or low is None or high is None or not 0 <= low <= value <= high <= 1:
        return None
    return value, low, high


def _told(models: Sequence[str], points: Sequence[_Point | None]) -> str:
    """What a picture says, in words, with the numbers that are below it."""
    return ", ".join(
        f"{at} {_name(model)} {percent(point[0])}"
        for at, (model, point) in enumerate(zip(models, points, strict=True), 1)
        if point is not None
    )


def _curve(name: str, points: Sequence[_Point | None], *, up: str, half: bool) -> Markup:
    """Shares over the numbers of the models, each with its interval; `half`: a line at what the baseline has."""

    def paint(axes: Axes) -> None:
        there = [(at, point) for at, point in enumerate(points, 1) if point is not None]
        frame(axes, (0.5, len(points) + 0.5), (0, 1))
        marks = ticks(0, 1, 5)
        axes.set_xticks(
            [float(at) for at in range(1, len(points) + 1)], [str(at + 1) for at in range(len(points))]
        )
        axes.set_yticks(marks, [f"{100 * one:.0f}%" for one in marks])
        if half:
            axes.axhline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 4)))
        axes.plot([at for at, _ in there], [point[0] for _, point in there], color=LINE, linewidth=1.8)
        for at, (value, low, high) in there:
            axes.plot([at, at], [low, high], color=LINE, linewidth=1.2)
            axes.plot([at], [value], color=LINE, marker="o", markersize=4)

    return picture(name, paint, up=up, across="model")


# ---- replies ------------------------------------------------------------------------------------------------------


def _examples(examples: Sequence[Mapping[str, Any]], models: Sequence[str]) -> Table:
    rows = []
    for row in examples[:MOST_ROWS]:
        replies = as_mapping(row.get("replies"))
        cells = [_reply(as_mapping(replies.get(model))) for model in models]
        rows.append((words.shorten(as_text(row.get("prompt")), LONGEST), cells))
    columns = [_name(model) for model in models]
    return Table(
        "Replies side by side",
        "The worst cases first: where the last model is furthest behind the baseline, or has lost to it where nobody "
        "gives scores, or has the lowest score where it is the only one. replies.jsonl has all of them.",
        columns,
        rows,
        lists=tuple(columns),
        of="prompt",
    )


def _reply(said: Mapping[str, Any]) -> Cell:
    notes = [f"{_name(judge)} {plain(score, 3)}" for judge, score in as_mapping(said.get("scores")).items()]
    text = as_text(said.get("text"))
    notes += ["cut off"] if said.get("ended") is False else []
    notes += ["empty"] if said and not text.strip() else []
    return Cell(words.shorten(text, LONGEST), ", ".join(notes))
