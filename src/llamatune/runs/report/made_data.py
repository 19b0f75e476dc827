"""Stages that make data: what was made, what was left out and why, and some of it to read.

Each function makes the tables of one stage's evaluation.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.runs.report import words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.svg import LINE, OTHER, frame, picture, tick_labels, ticks
from llamatune.runs.report.tables import MOST_COLUMNS, Cell, Table, amount, percent, plain, section_of

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

MOST_ROWS, LONGEST_NAME, LONGEST = 50, 80, 1000
_Curve = list[tuple[float, float]]
_COLOURS = {"in training rows": LINE, "held out": OTHER}
"""Styles whose recall is drawn, as the stage names them."""
_TURNS = (1, 2, 3, 4, 6, 8, 10, 15, 20)
"""Those of a dialogue that a table shows; the paper's table 30 has 2, 4, 6 and 20."""


def _counts(title: str, about: str, counts: Any, column: str) -> Table:
    found = list(as_mapping(counts).items())[:MOST_ROWS]
    rows = [(words.shorten(name, LONGEST_NAME), [Cell(plain(count))]) for name, count in found]
    return Table(title, about, [column], rows)


# ---- Ghost Attention ------------------------------------------------------------------------------------------


def gatt_section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """How long instructions are remembered, and what training rows say."""
    recall = as_mapping(content.get("recall"))
    about = (
        f"{plain(content.get('rows'))} rows, {plain(content.get('shortened'))} of them with the short wording, of "
        f"{plain(content.get('turns'), 3)} turns on average; {plain(content.get('too_short'))} dialogues had fewer "
        "than two whole replies and were left out."
    )
    return section_of(
        _by_turn(
            "Instruction recall by turn",
            "Share of the replies that follow an instruction which only the first turn holds: of this model, before it "
            "learns from these rows (table 30 of the paper).",
            {f"styles {name}": said for name, said in recall.items()},
        ),
        _by_turn(
            "Replies that follow the instruction in every turn",
            "Of the dialogues that were sampled, as far as code can tell. The last reply of each is learnt.",
            {"sampled": content.get("followed_by_turn")},
        ),
        _counts("Why dialogues ended early", about, content.get("ended"), "dialogues"),
        _counts("What is asked for", "Constraints in training rows.", content.get("constraints"), "rows"),
        _dialogues(
            as_rows(content.get("examples")),
            "Training rows",
            "By the instruction that was in every turn when they were sampled. Only the last reply is learnt.",
            "instruction",
        ),
        pictures=_recall_pictures(recall),
    )


def _by_turn(title: str, about: str, found: Mapping[str, Any]) -> Table:
    by_name = {
        name: {turn: row for row in as_rows(said) if (turn := as_number(row.get("turn"))) in _TURNS}
        for name, said in found.items()
    }
    turns = sorted({turn for said in by_name.values() for turn in said})[:MOST_COLUMNS]
    rows = [
        (words.shorten(name, LONGEST_NAME), [_share(said.get(turn)) for turn in turns])
        for name, said in by_name.items()
    ]
    return Table(title, about, [f"turn {words.number(turn)}" for turn in turns], rows if turns else [])


def _recall_pictures(recall: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Recall over turns: styles of training rows, and those held out."""
    curves = {name: curve for name in _COLOURS if len(curve := _recalled(recall.get(name))) > 1}
    if not curves:
        return []
    ends = "; ".join(
        f"{name}: {percent(curve[-1][1])} in turn {plain(curve[-1][0])}" for name, curve in curves.items()
    )
    keys = [("" if _COLOURS[name] == LINE else "held-out", name) for name in curves]
    return [{"title": "Recall by turn", "keys": keys, "summary": ends, "svg": _drawn(curves)}]


def _recalled(said: Any) -> _Curve:
    """(turn, share that follows), as far as it can be drawn."""
    rows = [
        tuple(as_number(row.get(name)) for name in ("turn", "followed", "dialogues"))
        for row in as_rows(said)[:MOST_ROWS]
    ]
    return [
        (turn, followed / of)
        for turn, followed, of in rows
        if turn is not None and followed is not None and of and 0 <= followed <= of and 0 < turn < 1e6
    ]


def _drawn(curves: Mapping[str, _Curve]) -> Markup:
    def paint(axes: Axes) -> None:
        last = max(turn for curve in curves.values() for turn, _ in curve)
        frame(axes, (1, last), (0, 1.02))
        up, across = ticks(0, 1, 5), ticks(1, last, 6, integer=True)
        axes.set_xticks(across, tick_labels(across))
        axes.set_yticks(up, [percent(one) for one in up])
        for name, curve in curves.items():
            axes.plot(*zip(*curve, strict=True), color=_COLOURS[name], linewidth=1.8)

    return picture("recall by turn", paint, up="follow the instruction", across="turn")


def _share(row: Mapping[str, Any] | None) -> Cell:
    found = as_mapping(row)
    followed, of = as_number(found.get("followed")), as_number(found.get("dialogues"))
    if followed is None or not of:
        return Cell("–")
    return Cell(percent(followed / of), amount(of, "dialogues"))


def _dialogues(examples: Sequence[Mapping[str, Any]], title: str, about: str, by: str) -> Table:
    """`by`: what of `made_by` names a row."""
    rows = []
    for row in examples[:MOST_ROWS]:
        lines = tuple(
            words.shorten(f"{as_text(one.get('role'))}: {as_text(one.get('content'))}", LONGEST)
            for one in as_rows(row.get("messages"))
        )
        name = as_text(as_mapping(row.get("made_by")).get(by))
        rows.append((words.shorten(name, LONGEST_NAME), [Cell("", lines=lines)]))
    return Table(title, about, ["row"], rows, lists=("row",))


# ---- self-chat ------------------------------------------------------------------------------------------------


def self_chat_section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """How long the chats are, what the model asked, and some of them to read."""
    about = (
        f"{plain(content.get('rows'))} chats of {plain(content.get('turns'), 3)} turns on average. Of the "
        f"{plain(content.get('asked'))} questions that the model asked, {percent(content.get('questions'))} end with a "
        "question mark."
    )
    return section_of(
        _counts("Turns", about, content.get("by_turns"), "chats"),
        _counts("Why chats ended early", "", content.get("ended"), "chats"),
        _dialogues(
            as_rows(content.get("examples")), "Chats", "By their source. Every reply is learnt.", "source"
        ),
    )


# ---- context distillation -------------------------------------------------------------------------------------


def distillation_section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What preprompts change, by risk category, and some prompts with all their answers."""
    named = {"all": content.get("all"), **as_mapping(content.get("categories"))}
    rows = [
        (words.shorten(name, LONGEST_NAME), _scores(as_mapping(said)))
        for name, said in list(named.items())[:MOST_ROWS]
        if as_mapping(said)
    ]
    scores = Table(
        "Safety scores by category",
        "Kept: the share of prompts that are learnt with an answer made under a preprompt, because the judge scores it "
        "above the original one. Then mean scores of all original answers, of those after a preprompt, after a "
        "preprompt and the template of the category, and of the answers that are learnt (figure 16 of the paper).",
        ["kept", "original", "preprompt", "template", "learnt"],
        rows,
    )
    return section_of(
        scores,
        _counts("Where the answers are from", "Of those that are learnt.", content.get("origins"), "prompts"),
        _answers(as_rows(content.get("examples"))),
    )


def _scores(said: Mapping[str, Any]) -> list[Cell]:
    means = [Cell(plain(said.get(name), 3)) for name in ("original", "preprompt", "template", "learnt")]
    return [Cell(percent(said.get("kept")), amount(said.get("prompts"), "prompts")), *means]


def _answers(examples: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for row in examples[:MOST_ROWS]:
        lines = tuple(
            words.shorten(
                f"{as_text(one.get('origin'))}, {plain(one.get('score'), 3)}: {as_text(one.get('text'))}",
                LONGEST,
            )
            for one in as_rows(row.get("answers"))
        )
        rows.append(
            (
                words.shorten(as_text(row.get("prompt")), LONGEST),
                [Cell("", lines=lines), Cell(as_text(row.get("learnt")))],
            )
        )
    return Table(
        "Answers side by side",
        "With the judge's scores.",
        ["answers", "learnt"],
        rows,
        lists=("answers", "learnt"),
    )


# ---- preferences ------------------------------------------------------------------------------------------------


def preferences_section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What came of the comparisons, and some of them side by side."""
    about = (
        f"{plain(content.get('preferences'))} preferences of {plain(content.get('comparisons'))} comparisons, "
        f"{plain(content.get('test'))} of them held out. The judge prefers the reply that it sees first in "
        f"{percent(content.get('first_preferred'))} of the cases."
    )
    safety = (
        "Which replies are safe. Where the chosen one is unsafe and the other safe, there is no preference."
    )
    wins = "`model` gave one reply to each prompt, `other` the other one."
    return section_of(
        _counts("Outcomes", about, content.get("outcomes"), "comparisons"),
        _counts("How much better", "As the judge says.", content.get("ratings"), "comparisons"),
        _counts("Safety", safety, content.get("safety"), "comparisons"),
        _counts("Who won", wins, content.get("wins"), "comparisons"),
        _pairs(as_rows(content.get("examples"))),
    )


def _pairs(examples: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for row in examples[:MOST_ROWS]:
        sides = [as_mapping(row.get(side)) for side in ("chosen", "rejected")]
        cells = [
            Cell(words.shorten(as_text(side.get("text")), LONGEST), as_text(side.get("by"))) for side in sides
        ]
        rating = as_text(row.get("rating")).replace("_", " ")
        rows.append((words.shorten(as_text(row.get("prompt")), LONGEST), [*cells, Cell(rating)]))
    columns = ["chosen", "rejected", "how much better"]
    return Table("Pairs", "Some of the preferences.", columns, rows, lists=tuple(columns))
