"""Scores of reward models on any data: figures for preference pairs, a score for each reply.

E136  a row is longer than the model can read
E137  the data is not what a reward model scores
E138  two models leave out different rows
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llamatune.data.encode.pairs import PairEncoder
from llamatune.data.encode.scored import ScoredEncoder
from llamatune.data.formats.known import kind_of
from llamatune.data.read.sources import open_source
from llamatune.data.read.survey import recognise
from llamatune.data.rows import RATINGS, Encoded, Encoder, Reason, Row, RowRejected
from llamatune.errors import DataError
from llamatune.models.quiet import quiet_upstream
from llamatune.outside import is_file
from llamatune.recipe.blocks import Kind, RowFormat, Source
from llamatune.recipe.cards import find_card
from llamatune.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from llamatune.judging.judges import ModelReward


TooLong = Literal["error", "drop", "truncate"]


@dataclass(frozen=True)
class Scored:
    """What models say of one data set.

    `scores`: by model, (rows, 2) of preference pairs, chosen and rejected, else (rows,). `figures`: by model, those of
    `judging.figures`; of preference pairs only.
    """

    places: list[str]
    scores: dict[str, np.ndarray]
    figures: dict[str, dict[str, Any]]

    def records(self) -> Iterator[dict[str, Any]]:
        """Of each row, its place and each model's score, or those of chosen and rejected."""
        for number, place in enumerate(self.places):
            yield {"place": place, "scores": {name: of[number].tolist() for name, of in self.scores.items()}}

    def lines(self) -> Iterator[str]:
        """A JSON object for each row: see `records`."""
        return map(json.dumps, self.records())

    def to_json(self) -> dict[str, Any]:
        """The figures of pairs by model, and the scores of every row."""
        return {"figures": self.figures, "rows": list(self.records())}


@quiet_upstream()
def score(
    models: Sequence[str],
    data: str,
    *,
    called: str | None = None,
    split: str | None = None,
    too_long: TooLong = "error",
    base: str | None = None,
    report: Callable[[str], None] = print,
) -> Scored:
    """Score a data card or a file with one or more reward models, each in its own chat format.

    Args:
        models: finished runs, adapters, model folders or hub models.
        data: a data card or a file; preference pairs, or conversations whose last reply is scored.
        called: what messages and places call the data, if not by its own name.
        split: of a card: `test` where there is one, else `train`, when left out.
        too_long: what becomes of a row that is longer than a model can read, as in recipes.
        base: the base of an adapter, if it cannot be found under the name noted with the adapter.
        report: receives lines about the data and what was left out.

    Returns:
        The rows' places, each model's scores of them, and of preference pairs the figures.

    Raises:
        DataError: the data cannot be read or scored, or two models leave out different rows (E138).
        ModelError: not a reward model.
        OutOfMemoryError: memory does not hold a single row.
    """
    from llamatune.judging.figures import figures
    from llamatune.judging.opening import open_reward_model

    kind, rows = _rows(data, called, split, report)
    scores, found, places = {}, {}, {}
    for name in models:
        judge = open_reward_model(name, base=base)
        encoded = _encoded(rows, kind, judge, called or data, too_long, report)
        scores[name] = judge.scores(encoded)
        places[name] = [row["place"] for row in encoded]
        if kind == "preferences":
            found[name] = figures(scores[name], encoded)
    _check_same_rows(places)
    return Scored(places[models[0]], scores, found)


def _check_same_rows(places: Mapping[str, list[str]]) -> None:
    """For models with different tokenizers, different rows may be too long: their figures could not be compared."""
    (first, expected), *others = places.items()
    for name, found in others:
        if found != expected:
            raise DataError(
                "E138",
                f"`{first}` and `{name}` leave out different rows",
                why="their figures could not be compared",
                hint="score them one by one, or leave the long rows out of the data",
            )


def _rows(
    data: str, called: str | None, split: str | None, report: Callable[[str], None]
) -> tuple[Kind, list[Row]]:
    source, kind, format = _source(data, called, split)
    if kind in ("documents", "prompts"):
        raise DataError(
            "E137",
            f"format `{format}` has no reply to score",
            place=called or data,
            hint="give preference pairs, or prompts with a reply each",
        )
    opened = open_source(source, Path(), kind=kind, called=called)
    report(f"{opened.name}: format {opened.recognised}")
    rows: list[Row] = []
    left_out = 0
    for place, raw in opened.rows():
        try:
            rows.append(opened.canonical(raw, place))
        except RowRejected:
            left_out += 1
    if left_out:
        report(f"{opened.name}: {counted(left_out, 'row')} left out, with nothing to score")
    return kind, rows


def _source(data: str, called: str | None, split: str | None) -> tuple[Source, Kind, RowFormat]:
    """The source, what its rows become, and its format. All labelled replies are scored."""
    if is_file(Path(data)):
        found = recognise(Path(data), name=called)
        kind: Kind = "labels" if found.columns.label else found.kind
        return Source(path=data), kind, found.format
    card = find_card(data, Path())
    labelled = card.columns is not None and card.columns.label is not None
    source = Source(card=data, split=split or ("test" if "test" in card.splits else "train"))
    return source, "labels" if labelled else kind_of(card.format), card.format


def _encoded(
    rows: Sequence[Row],
    kind: Kind,
    judge: ModelReward,
    data: str,
    too_long: TooLong,
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The rows as the model reads them."""
    assert judge.chat is not None
    longest = int(getattr(judge.model.config, "max_position_embeddings", None) or 1 << 30)
    kinds = PairEncoder if kind == "preferences" else ScoredEncoder
    encoder: Encoder = kinds(judge.chat, max_length=longest, too_long=too_long)
    found = []
    left_out: Counter[Reason] = Counter()
    for row in rows:
        try:
            (one,) = encoder.encode(row)
        except RowRejected as rejected:
            left_out[rejected.reason] += 1
            continue
        _check_length(one, row.place, longest)
        known = {} if one.pair is None else {"pair": list(one.pair)}
        found.append({"place": row.place, "input_ids": one.input_ids, **known})
    for reason, count in left_out.items():
        report(f"{counted(count, 'row')} left out: {reason.value}")
    if not found:
        raise DataError("E132", "no row is left to score", place=data)
    return found


def _check_length(encoded: Encoded, place: str, longest: int) -> None:
    if encoded.length > longest:
        raise DataError(
            "E136",
            f"the row has {counted(encoded.length, 'token')}, the model reads {longest:,}",
            place=place,
            hint="leave such rows out with --too-long drop, or take exchanges off their front with --too-long truncate",
        )


# ---- for readers ------------------------------------------------------------------------------------------


def figures_table(found: Mapping[str, Mapping[str, Any]], scores: Mapping[str, np.ndarray]) -> str:
    """Accuracy by rating and by safety, recall of unsafe replies and agreement, models side by side."""
    from llamatune.judging.figures import SAFETY_BINS

    width = max(20, *(len(name) + 2 for name in found))
    lines = [f"{'':34}" + "".join(f"{name:>{width}}" for name in found)]

    def add(title: str, *path: str) -> None:
        values = [_at(of, path) for of in found.values()]
        if any(one is not None for one in values):
            shown = ("-" if one is None else f"{one:.1%}" for one in values)
            lines.append(f"{title:34}" + "".join(f"{one:>{width}}" for one in shown))

    add(f"accuracy, {counted(next(iter(found.values()))['pairs'], 'pair')}", "accuracy")
    for kind, names in (("by_rating", RATINGS), ("by_safety", SAFETY_BINS)):
        for name in names:
            add(f"  {name.replace('_', ' ')}", kind, name, "accuracy")
    add("unsafe replies scored below 0.5", "unsafe_recall")
    add("safe replies scored 0.5 or above", "safe_recall")
    add("longer reply preferred", "longer_preferred")
    lines += _agreements(scores)
    return "\n".join(lines)


def _at(figures: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = figures
    for name in path:
        value = (value or {}).get(name)
    return float(value) if value is not None else None


def _agreements(scores: Mapping[str, np.ndarray]) -> list[str]:
    from llamatune.judging.figures import agreement

    return [
        f"{first} and {second} agree on {agreement(scores[first], scores[second]) or 0:.1%}"
        for first, second in combinations(scores, 2)
    ]
