"""What the annotators say, in figures: how many pairs, how fast, how they use the grades, whether they prefer a side of
the page, and how far they agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from llamatune.annotation.agreement import gwet
from llamatune.annotation.scales import SAFE, STEPS, Scale, Session
from llamatune.annotation.store import Judgement
from llamatune.judging.evaluation.estimates import Share
from llamatune.runs.report.words import duration
from llamatune.wording import counted


def annotation_figures(judgements: Sequence[Judgement], session: Session, scale: Scale) -> dict[str, Any]:
    """annotations.json. Annotators are numbered in the order in which they began: their names stay in the database."""
    numbers = numbered(judgements)
    by_annotator: dict[str, list[Judgement]] = {name: [] for name in numbers}
    for one in judgements:
        by_annotator[one.annotator].append(one)
    said = [one for one in judgements if one.verdict is not None]
    return {
        "session": session,
        "scale": scale,
        "judgements": len(judgements),
        "skipped": sum(one.skipped for one in judgements),
        "pairs": len({one.pair for one in judgements}),
        "annotators": [
            {"annotator": numbers[name], **_of_annotator(some, scale)} for name, some in by_annotator.items()
        ],
        "agreement": {
            name: found.record()
            for name, found in (
                ("grades", gwet(_counts(said, list(STEPS[scale]), lambda one: one.verdict), "ordinal")),
                (
                    "choice",
                    gwet(_counts(said, [-1, 0, 1][:: 1 if scale == "seven" else 2], _sign), "nominal"),
                ),
                ("safety", gwet(_counts(said, list(SAFE.values()), _safety), "nominal")),
            )
            if found is not None
        },
    }


def numbered(judgements: Sequence[Judgement]) -> dict[str, str]:
    """What annotators are called in files that others read."""
    names = dict.fromkeys(one.annotator for one in sorted(judgements, key=lambda one: one.number))
    return {name: f"annotator {number}" for number, name in enumerate(names, 1)}


def left_of(one: Judgement) -> bool | None:
    """Whether the reply on the left was chosen; None of no choice."""
    return None if one.chosen is None else (one.chosen == 0) == one.first_left


def _of_annotator(some: Sequence[Judgement], scale: Scale) -> dict[str, Any]:
    sides = [side for side in map(left_of, some) if side is not None]
    steps = Counter(abs(one.verdict) for one in some if one.verdict is not None)
    return {
        "judgements": len(some),
        "skipped": sum(one.skipped for one in some),
        "median_seconds": round(median(one.seconds for one in some), 1),
        "left": Share(sum(sides), len(sides)).record(),
        "sizes": {str(size): steps[size] for size in sorted(set(map(abs, STEPS[scale])), reverse=True)},
    }


def _sign(one: Judgement) -> int:
    verdict = one.verdict or 0
    return (verdict > 0) - (verdict < 0)


def _safety(one: Judgement) -> tuple[bool | None, bool | None]:
    return one.first_safe, one.second_safe


def _counts(judgements: Sequence[Judgement], categories: Sequence[Any], what: Any) -> list[list[int]]:
    """(pairs, categories) how often each pair was put into each."""
    found: dict[str, Counter[Any]] = defaultdict(Counter)
    for one in judgements:
        if (said := what(one)) in categories:
            found[one.pair][said] += 1
    return [[counts[one] for one in categories] for counts in found.values()]


def figure_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """For the terminal."""
    if not figures["annotators"]:
        return
    yield f"{'':16}{'judged':>8}{'skipped':>9}{'median':>9}  left reply chosen"
    for one in figures["annotators"]:
        left = one["left"]
        share = Share(left["hits"], left["of"])
        biased = share.of and not share.interval[0] <= 0.5 <= share.interval[1]
        yield (
            f"{one['annotator']:16}{one['judgements']:>8,}{one['skipped']:>9,}{duration(one['median_seconds']):>9}  "
            f"{share}{'  prefers a side' if biased else ''}"
        )
    for name, found in figures["agreement"].items():
        interval = "" if found["low"] is None else f" ({found['low']:.2f} to {found['high']:.2f})"
        yield f"agreement on {name}, Gwet's AC: {found['value']:.2f}{interval} on {counted(found['pairs'], 'pair')}"
