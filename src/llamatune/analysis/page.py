"""What the page about a data set shows: a section for each kind of figure, with a picture where one says more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llamatune.analysis.summary import LISTED
from llamatune.runs.report.svg import LINE, frame, picture, tick_labels, ticks
from llamatune.runs.report.tables import Cell, Table, heading, percent
from llamatune.runs.report.words import number
from llamatune.wording import counted

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

_MOST_BARS, _FEWEST_BARS = 12, 6
"""Bars of a picture; with fewer, the others' room stays empty."""
_UNITS = {
    "documents": "documents",
    "conversations": "conversations",
    "preferences": "pairs",
    "prompts": "prompts",
}
_CODE = re.compile(r"[A-Za-z-]{2,12}")

_NOT_RUN = {
    "tokens": ("tokens", "name a base, whose tokenizer counts them: --base MODEL"),
    "languages": ("languages", "left out by --without languages; all documents are taken to be in English"),
    "near_duplicates": ("near duplicates", "left out by --without near-duplicates"),
    "against": ("contamination", "name a benchmark and a tokenizer: --against FILE_OR_CARD --base MODEL"),
    "toxicity": ("toxicity", "no classifier is shipped; name the folder of one: --toxicity FOLDER"),
}


def analysis_contents(record: Mapping[str, Any]) -> dict[str, Any]:
    """All that the template shows, from what analysis.json holds."""
    data, means = record["data"], record["means"]
    return {
        "name": record["name"],
        "subtitle": [
            ("format", data["format"]),
            *([("split", data["split"])] if data["split"] else []),
            *(("sha256", f"{one[:12]}…") for one in data["sha256"]),
        ],
        "figures": _tiles(record),
        "not_run": [_NOT_RUN[part] for part in _NOT_RUN if means[part] is None],
        "sections": list(_sections(record)),
    }


def unit(record: Mapping[str, Any]) -> str:
    """What a row of the data is called."""
    return _UNITS.get(record["data"]["kind"], "rows")


def _tiles(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows, lengths, duplicates = record["rows"], record["lengths"], record["duplicates"]
    looked = rows["looked_at"]
    lost = sum(rows["left_out"].values()) + sum(rows["bad"].values())
    found = [
        (unit(record), number(looked), f"{counted(rows['read'], 'row')} read, {number(lost)} not usable"),
        ("words", number(lengths["words"]["total"]), f"median {number(lengths['words']['median'])}"),
    ]
    if "tokens" in lengths:
        base = record["means"]["tokens"]
        found.append(("tokens", number(lengths["tokens"]["total"]), f"by the tokenizer of {base}"))
    for code, share in list(record["languages"].items())[:1] if record["means"]["languages"] else []:
        found.append((f"language {code}", percent(share), "the most frequent one"))
    for kind in ("exact", "near"):
        if duplicates[kind] is not None:
            copies = duplicates[kind]["copies"]
            found.append(
                (f"{kind} duplicates", number(copies), f"{percent(copies / max(looked, 1))} of them")
            )
    return found


def _sections(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    of = unit(record)
    yield _section("Lengths", *_lengths(record), f"All {of} as whole texts, without chat templates.")
    if record["means"]["languages"]:
        yield _section("Languages", *_languages(record), "Below a confidence of 0.5 a language is unknown.")
    about = f"Of {number(record['english'])} {of} in English; words as whole words, whatever their capitals."
    yield _section("Pronouns", [_pronouns(record)], None, about)
    yield _section("Identity", [_identity(record)], None, f"{about} Terms: {record['means']['terms']}.")
    if record["toxicity"]:
        yield _section("Toxicity", [], _toxicity(record), _about_toxicity(record))
    yield _section("Duplicates", list(_duplicates(record)), None, "")
    if record["personal_data"]:
        text = "By its form; nothing of it is shown. Cards and accounts only with a right check digit."
        yield _section("Personal data", [_personal(record)], None, text)
    if record["contamination"]:
        about = (
            f"Rows of {record['means']['against']} whose tokens are in these texts, too, in stretches of more than so "
            "many tokens, of which four may differ (paper, A.6). Clean: less than a fifth of a row; dirty: four fifths "
            "or more."
        )
        yield _section("Contamination", [_contamination(record["contamination"])], None, about)
    if record["turns"]:
        system = percent(record["turns"]["with_system_message"])
        yield _section(
            "Turns", [_turns(record["turns"])], None, f"{system} of the {of} have a system message."
        )
    if record["pairs"]:
        yield _section("Pairs", *_pairs(record["pairs"]), _about_pairs(record["pairs"]))
    if record["rows"]["left_out"] or record["rows"]["bad"]:
        yield _section("Not usable", [_lost(record["rows"])], None, "")


def _section(title: str, tables: Sequence[Table], image: dict[str, Any] | None, about: str) -> dict[str, Any]:
    return {
        "id": title.lower().replace(" ", "-"),
        "title": title,
        "about": about,
        "tables": [table for table in tables if table.rows],
        "picture": image,
    }


def _table(of: str, columns: list[str], rows: list[tuple[str, list[Cell]]], title: str = "") -> Table:
    lists = tuple(column for at, column in enumerate(columns) if any(cells[at].lines for _, cells in rows))
    return Table(title, "", columns, rows, lists, of)


# ---- sections ---------------------------------------------------------------------------------------------


_LENGTHS = ("total", "mean", "median", "p90", "p99", "longest")


def _lengths(record: Mapping[str, Any]) -> tuple[list[Table], dict[str, Any]]:
    lengths = record["lengths"]
    rows = [
        (name, [Cell(number(lengths[name][key])) for key in _LENGTHS])
        for name in ("words", "characters", "tokens")
        if name in lengths
    ]
    edges, counts = zip(*lengths["histogram"], strict=True)
    image = bars("lengths", [number(edge) for edge in edges], counts, up=unit(record), across="words, from")
    summary = f"half have at most {number(lengths['words']['median'])}"
    return [_table("in", [*_LENGTHS], rows)], {"title": "Words", "summary": summary, "svg": image}


def _languages(record: Mapping[str, Any]) -> tuple[list[Table], dict[str, Any]]:
    listed = {code: share for code, share in record["languages"].items() if share >= LISTED}
    looked = record["rows"]["looked_at"]
    rows = [
        (code, [Cell(_fine(share)), Cell(number(round(share * looked)))]) for code, share in listed.items()
    ]
    drawn = {code: share for code, share in list(listed.items())[:_MOST_BARS] if _CODE.fullmatch(code)}
    image = bars(
        "languages", list(drawn), [100 * share for share in drawn.values()], up="%", across="language"
    )
    summary = f"{number(len(record['languages']))} found"
    return [_table("language", ["share", unit(record)], rows)], {
        "title": "Share",
        "summary": summary,
        "svg": image,
    }


def _pronouns(record: Mapping[str, Any]) -> Table:
    found = record["pronouns"]
    named = (
        ("any gendered", "gendered", "of all"),
        ("she", "she", "of the gendered"),
        ("he", "he", "of the gendered"),
        ("unspecified (they)", "unspecified", "of the gendered"),
        ("any person", "any_person", "of all"),
        ("first person", "first_person", "of any person"),
        ("second person", "second_person", "of any person"),
        ("third person", "third_person", "of any person"),
    )
    return _table("pronouns", ["share"], [(what, [Cell(percent(found[key]), of)]) for what, key, of in named])


def _identity(record: Mapping[str, Any]) -> Table:
    rows = []
    for axis, found in record["identity"].items():
        terms = tuple(f"{term} {percent(share)}" for term, share in found["terms"].items())
        rows.append((axis, [Cell(percent(found["share"])), Cell("", lines=terms)]))
    return _table("axis", ["share", "most frequent, share within the axis"], rows)


def _toxicity(record: Mapping[str, Any]) -> dict[str, Any]:
    found = record["toxicity"]
    labels = [f"{at / 20:.1f}" if at % 4 == 0 else "" for at in range(20)]
    image = bars("toxicity", labels, found["histogram"], up=unit(record), across="toxicity, from")
    return {"title": "Toxicity", "summary": f"{_fine(found['toxic'])} at 0.5 or more", "svg": image}


def _about_toxicity(record: Mapping[str, Any]) -> str:
    share, found = record["means"]["toxicity_share"], record["toxicity"]
    return (
        f"By {record['means']['toxicity']}, on {counted(found['documents'], 'text')}, a sample of {percent(share)}: "
        "the mean over the lines of each."
    )


def _duplicates(record: Mapping[str, Any]) -> Iterator[Table]:
    rows, looked = [], max(record["rows"]["looked_at"], 1)
    pairs = []
    for kind, found in record["duplicates"].items():
        if found is None:
            continue
        largest = number(found["sizes"][-1][0]) if found["sizes"] else "–"
        cells = [
            number(found["copies"]),
            percent(found["copies"] / looked),
            number(found["groups"]),
            largest,
        ]
        rows.append((kind, [Cell(cell) for cell in cells]))
        pairs += [(kind, [Cell("", lines=(one,)), Cell("", lines=(other,))]) for one, other in found["first"]]
    yield _table("kind", ["copies", "share", "groups", "largest group"], rows)
    yield _table("kind", ["one", "another"], pairs, title="Of the largest groups")


def _personal(record: Mapping[str, Any]) -> Table:
    rows = [
        (
            kind,
            [
                Cell(number(one["documents"])),
                Cell(number(one["number"])),
                Cell("", lines=tuple(one["first"])),
            ],
        )
        for kind, one in record["personal_data"].items()
    ]
    return _table("what looks like", [unit(record), "number", "first ones"], rows)


def _contamination(found: Mapping[str, Any]) -> Table:
    rows = [
        (
            f"longer than {length}",
            [
                Cell(percent(one["share"])),
                Cell(number(one["clean"]), f"of {number(found['rows'])}"),
                Cell(number(one["dirty"])),
            ],
        )
        for length, one in found["longer_than"].items()
    ]
    return _table("stretches", ["mean share of a row", "clean rows", "dirty rows"], rows)


def _turns(turns: Mapping[str, Any]) -> Table:
    keys = ("mean", "median", "p90", "longest")
    rows = [
        (heading(name), [Cell(number(found[key])) for key in keys])
        for name, found in turns.items()
        if isinstance(found, Mapping)
    ]
    return _table("of a conversation", list(keys), rows)


def _pairs(pairs: Mapping[str, Any]) -> tuple[list[Table], dict[str, Any]]:
    total = max(sum(pairs["ratings"].values()), 1)
    labels = [
        (f"{kind}: {heading(name)}", [Cell(number(times)), Cell(percent(times / total))])
        for kind in ("ratings", "safety")
        for name, times in pairs[kind].items()
    ]
    keys = ("mean", "median", "p90", "longest")
    lengths = [
        (side, [Cell(number(pairs[f"words_of_{side}_replies"][key])) for key in keys])
        for side in ("chosen", "rejected")
    ]
    more, times = zip(*pairs["words_more_in_the_chosen"], strict=True)
    shown = [number(one) if one % 100 == 0 else "" for one in more]
    image = bars("pairs", shown, times, up="pairs", across="words more in the chosen reply")
    summary = f"the longer one is chosen in {percent(pairs['longer_is_right'])}"
    tables = [_table("label", ["pairs", "share"], labels), _table("words of replies", list(keys), lengths)]
    return tables, {"title": "Length", "summary": summary, "svg": image}


def _about_pairs(pairs: Mapping[str, Any]) -> str:
    text = (
        f"The chosen reply is longer in {percent(pairs['chosen_longer'])} of the pairs, the rejected one in "
        f"{percent(pairs['rejected_longer'])}: always choosing the longer one would be right in "
        f"{percent(pairs['longer_is_right'])} of those that differ."
    )
    if pairs["judged_again"]:
        text += (
            f" Two judgements of the same pair agree in {percent(pairs['agreement'])} of "
            f"{counted(pairs['judged_again'], 'case')}."
        )
    else:
        text += " No pair occurs twice, so nothing can be said about agreement."
    return text


def _lost(rows: Mapping[str, Any]) -> Table:
    found = [(reason, [Cell(number(times)), Cell("")]) for reason, times in rows["left_out"].items()]
    for code, times in rows["bad"].items():
        found.append((f"bad row, {code}", [Cell(number(times)), Cell("", lines=tuple(rows["first_bad"]))]))
    if not rows["bad"]:
        return _table("reason", ["rows"], [(reason, cells[:1]) for reason, cells in found])
    return _table("reason", ["rows", "first ones"], found)


def _fine(share: float) -> str:
    """A share with as many digits as the paper gives languages."""
    return f"{100 * share:.2f}%"


# ---- pictures ---------------------------------------------------------------------------------------------


def bars(name: str, labels: Sequence[str], heights: Sequence[float], *, up: str, across: str) -> Markup:
    """A bar for each label; labels are numbers or codes of ours, never text of the data."""

    def paint(axes: Axes) -> None:
        top = max([*heights, 0]) or 1.0
        frame(axes, (-0.6, max(len(heights), _FEWEST_BARS) - 0.4), (0.0, 1.06 * top))
        axes.bar(range(len(heights)), list(heights), width=0.82, color=LINE)
        step = max(1, len(labels) // 8) if all(labels) else 1
        axes.set_xticks(range(0, len(labels), step), labels[::step])
        rising = ticks(0.0, 1.06 * top, 5)
        axes.set_yticks(rising, tick_labels(rising))

    return picture(f"analysis {name}", paint, up=up, across=across)
