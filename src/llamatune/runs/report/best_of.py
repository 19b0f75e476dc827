"""A round of rejection sampling: what more samples gain, what was kept, and why the rest was not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.runs.report import disagreement, words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.svg import INK, LINE, OTHER, frame, picture, tick_labels, ticks
from llamatune.runs.report.tables import Cell, Table, percent, plain, section_of

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

MOST_ROWS, MOST_POINTS, LONGEST_NAME, LONGEST = 50, 1000, 80, 2000

_Curve = list[tuple[float, float]]


def section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Tables and pictures of evaluation.json."""
    temperatures = as_mapping(content.get("temperatures"))
    tables = [_counts(content), _sets(content, temperatures), _temperatures(temperatures), _rounds(content)]
    tables += disagreement.tables(as_rows([content.get("disagreement")]))
    return section_of(
        *tables,
        pictures=_pictures(content, temperatures),
        choices=[_choice(row) for row in as_rows(content.get("examples"))[:MOST_ROWS]],
    )


# ---- tables ---------------------------------------------------------------------------------------------------


def _counts(content: Mapping[str, Any]) -> Table:
    fates = as_mapping(content.get("fates"))
    every = sum(filter(None, map(as_number, fates.values()))) or 1.0
    tokens, prompts = as_mapping(content.get("tokens")), as_mapping(content.get("prompts"))
    about = (
        f"Of {plain(prompts.get('asked'))} prompts, {plain(prompts.get('without_a_row'))} have no answer that can be "
        f"kept, and the answers to {plain(prompts.get('all_equal'))} all have the same reward. Answers have "
        f"{plain(tokens.get('all'), 3)} tokens on average, those that are kept {plain(tokens.get('kept'), 3)}."
    )
    rows = [
        (_name(fate), [Cell(plain(count)), Cell(percent((as_number(count) or 0.0) / every))])
        for fate, count in list(fates.items())[:MOST_ROWS]
    ]
    return Table("What became of the samples", about, ["samples", "share"], rows)


def _sets(content: Mapping[str, Any], temperatures: Mapping[str, Any]) -> Table:
    chosen = plain(content.get("temperature"))
    sets = {f"{name}": said for name, said in as_mapping(content.get("sets")).items()}
    for at, said in temperatures.items():
        if at != chosen:
            sets |= {f"{name} at {at}": of for name, of in as_mapping(as_mapping(said).get("sets")).items()}
    rows = []
    for name, said in list(sets.items())[:MOST_ROWS]:
        found = as_mapping(said)
        bleu = as_number(found.get("self_bleu"))
        cells = [plain(found.get("prompts")), plain(found.get("mean")), plain(found.get("best"))]
        cells += [percent(found.get("unique_share")), plain(bleu, 3), percent(found.get("ended"))]
        rows.append((_name(name), [Cell(text) for text in cells]))
    return Table(
        "By set of prompts",
        f"At temperature {chosen}, and where others were tried, on the prompts of the trial. Self-BLEU says how alike "
        "the answers to a prompt are, from 0 to 1: it falls with the temperature where there are many ways to answer "
        "well (figure 21 of the paper).",
        ["prompts", "mean reward", "best of all", "different answers", "Self-BLEU", "ended"],
        rows,
    )


def _temperatures(temperatures: Mapping[str, Any]) -> Table:
    rows = []
    for at, said in list(temperatures.items())[:MOST_ROWS]:
        curve = as_rows(as_mapping(said).get("curve"))
        if curve:
            cells = [plain(curve[-1].get(name)) for name in ("mean", "median", "max")]
            rows.append((_name(at), [Cell(plain(as_mapping(said).get("prompts"))), *map(Cell, cells)]))
    return Table(
        "Temperatures",
        "All were tried on the same prompts; the one whose best answers are best on average is taken.",
        ["prompts", "mean", "median", "best of all"],
        rows,
    )


def _rounds(content: Mapping[str, Any]) -> Table:
    rounds = as_mapping(content.get("rounds"))
    rows = [(_name(name), [Cell(plain(count))]) for name, count in list(rounds.items())[:MOST_ROWS]]
    about = "Answers of earlier rounds compete again, judged by today's reward models."
    return Table("Which round the winners are from", about, ["kept"], rows if len(rows) > 1 else [])


def _name(text: str) -> str:
    return words.shorten(text, LONGEST_NAME)


# ---- pictures -------------------------------------------------------------------------------------------------


def _pictures(content: Mapping[str, Any], temperatures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Figure 7 of the paper, and figure 8 where several temperatures were tried."""
    best, middle = (_points(content.get("curve"), name) for name in ("max", "median"))
    found = []
    if best and middle:
        found.append(
            {
                "title": "Best and median of N",
                "keys": [("", "best"), ("held-out", "median")],
                "summary": f"best {plain(best[-1][1])}, median {plain(middle[-1][1])} of {plain(best[-1][0])}",
                "svg": _drawn("best of n", [best, middle]),
            }
        )
    curves = {at: _points(as_mapping(said).get("curve"), "max") for at, said in temperatures.items()}
    curves = {at: curve for at, curve in list(curves.items())[:MOST_ROWS] if curve}
    if len(curves) > 1:
        ends = "; ".join(f"{_name(at)}: {plain(curve[-1][1])}" for at, curve in curves.items())
        found.append(
            {
                "title": "Best of N by temperature",
                "keys": [],
                "summary": ends,
                "svg": _drawn("temperatures", list(curves.values()), alike=True),
            }
        )
    return found


def _points(curve: Any, name: str) -> _Curve:
    """What can be drawn of a curve."""
    pairs = ((as_number(row.get("n")), as_number(row.get(name))) for row in as_rows(curve)[:MOST_POINTS])
    return [(n, y) for n, y in pairs if n is not None and y is not None and 0 < n < 1e9 and abs(y) < 1e100]


def _drawn(name: str, curves: Sequence[_Curve], *, alike: bool = False) -> Markup:
    """Lines over N, on a logarithmic axis; `alike`: of one kind, paler from one to the next."""

    def paint(axes: Axes) -> None:
        every = [y for curve in curves for _, y in curve]
        low, high = min(every), max(every)
        air = 0.06 * (high - low) or 0.5
        most = max(curve[-1][0] for curve in curves)
        frame(axes, (0, math.log2(most) + 0.05 or 1), (low - air, high + air))
        up = ticks(low - air, high + air, 5)
        across = [2**power for power in range(int(math.log2(most)) + 1)]
        axes.set_xticks([math.log2(n) for n in across], [words.number(n) for n in across])
        axes.set_yticks(up, tick_labels(up))
        for at, curve in enumerate(curves):
            colour = LINE if alike or at == 0 else OTHER
            alpha = 1 - 0.7 * at / len(curves) if alike else 1.0
            axes.plot(
                [math.log2(n) for n, _ in curve],
                [y for _, y in curve],
                color=colour,
                alpha=alpha,
                linewidth=1.8,
            )
            if alike:
                axes.plot([math.log2(curve[-1][0])], [curve[-1][1]], color=INK, marker="o", markersize=3)

    return picture(name, paint, up="reward", across="samples N")


# ---- samples --------------------------------------------------------------------------------------------------


def _choice(row: Mapping[str, Any]) -> dict[str, Any]:
    prompt = words.shorten(as_text(row.get("prompt")), LONGEST)
    return {
        "prompt": prompt,
        **{side: _answer(as_mapping(row.get(side)), prompt) for side in ("best", "worst")},
    }


def _answer(said: Mapping[str, Any], prompt: str) -> dict[str, Any]:
    scores = [f"{_name(name)} {plain(value)}" for name, value in as_mapping(said.get("scores")).items()]
    figures = [f"reward {plain(said.get('reward'))}", *scores[:6], f"{plain(said.get('tokens'))} tokens"]
    return {
        "prompt": prompt,
        "text": words.shorten(as_text(said.get("text")), LONGEST),
        "figures": " · ".join([*figures, as_text(said.get("fate"))]),
        "cut": said.get("ended") is False,
    }
