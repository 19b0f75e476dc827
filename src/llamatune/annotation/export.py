"""What people said, as files that recipes read.

    preferences.jsonl    a preference a row, for stage reward: the pairs on which most annotators chose the same reply
    judgements.jsonl     every judgement, its annotator by number
    annotations.json     figures: see `figures`
    labels.jsonl         where a run waits for it: what most annotators said of each of its comparisons

And the data card of preferences.jsonl, which keeps what its user has written into it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

from llamatune.annotation.figures import annotation_figures, left_of, numbered
from llamatune.annotation.scales import Scale, Session, grade_of
from llamatune.annotation.sources import labels_in
from llamatune.annotation.store import Judgement, ShownPair, Store
from llamatune.data.read.cards import draft_card, update_card
from llamatune.recipe.parsing.yaml import parse, read_text, to_yaml
from llamatune.runs.files import write_atomic, write_json
from llamatune.runs.handover import PREFERENCES, preference_row, write_rows

JUDGEMENTS = "judgements.jsonl"
FIGURES = "annotations.json"


@dataclass(frozen=True)
class JointVerdict:
    """What the annotators of a pair said together. `chosen`: 0 the first, 1 the second, None for neither, because they
    said so or were divided. `size`: how much better, as in `scales`. `safe`: of the first and of the second."""

    pair: ShownPair
    chosen: int | None
    size: int
    safe: tuple[bool | None, bool | None]
    judged: int
    agreed: int

    @property
    def is_preference(self) -> bool:
        """The paper leaves out a chosen reply that is unsafe where the other one is safe."""
        if self.chosen is None:
            return False
        return (self.safe[self.chosen], self.safe[1 - self.chosen]) != (False, True)


def verdict_of(pair: ShownPair, judgements: Sequence[Judgement]) -> JointVerdict | None:
    """What most said; None where everybody skipped the pair.

    A reply is chosen if more annotators chose it than chose the other one or neither; how much better it is, is the
    median of those who chose it, the smaller of two in the middle. A reply is safe if more than half say so: in doubt
    it is not. (What one does with several annotators is left open by the paper.)
    """
    said = [one for one in judgements if one.verdict is not None]
    if not said:
        return None
    counts = Counter(one.chosen for one in said)
    (first, most), *others = counts.most_common()
    chosen = None if others and others[0][1] == most else first
    sizes = [abs(one.verdict or 0) for one in said if one.chosen == chosen and chosen is not None]
    safe = (_safe(one.first_safe for one in said), _safe(one.second_safe for one in said))
    return JointVerdict(pair, chosen, median_low(sizes) if sizes else 0, safe, len(said), counts[chosen])


def _safe(said: Iterable[bool | None]) -> bool | None:
    known = [one for one in said if one is not None]
    return sum(known) * 2 > len(known) if known else None


@dataclass(frozen=True)
class Exported:
    """What was written: `preferences` of `pairs` that were judged, the `figures`, and the card, if there is a row."""

    preferences: int
    outcomes: dict[str, int]
    figures: dict[str, Any]
    labels: int
    card: Path | None


def export(
    store: Store,
    folder: Path,
    *,
    name: str,
    session: Session,
    scale: Scale,
    labels: Path | None = None,
    licence: str | None = None,
    cards: Path = Path("data_cards"),
) -> Exported:
    """Write all files, each whole or not at all.

    Raises:
        DiskError: one cannot be written.
        DataError: the card that is there cannot be read.
    """
    judgements = store.judgements()
    by_pair: dict[str, list[Judgement]] = {}
    for one in judgements:
        by_pair.setdefault(one.pair, []).append(one)
    verdicts = [
        found
        for pair in store.pairs().values()
        if (found := verdict_of(pair, by_pair.get(pair.id, []))) is not None
    ]
    kept = [one for one in verdicts if one.is_preference]
    skipped = len(by_pair) - len(verdicts)
    figures = annotation_figures(judgements, session, scale)
    figures["outcomes"] = outcomes = {
        what: count for what, count in {**_outcomes(verdicts), "skipped": skipped}.items() if count
    }
    numbers = numbered(judgements)
    write_rows(folder / PREFERENCES, (_preference(one, session, scale) for one in kept))
    write_rows(folder / JUDGEMENTS, (_judgement_row(one, numbers[one.annotator]) for one in judgements))
    write_json(folder / FIGURES, figures)
    written = 0 if labels is None else _write_labels(labels, verdicts, by_pair, store.ever_judged(), scale)
    card = _card(folder / PREFERENCES, name, session, figures, licence, cards) if kept else None
    return Exported(len(kept), outcomes, figures, written, card)


def _outcomes(verdicts: Sequence[JointVerdict]) -> dict[str, int]:
    found = {"a preference": 0, "no reply is better": 0, "annotators are divided": 0}
    found["the chosen reply is unsafe and the other one safe"] = 0
    for one in verdicts:
        if one.is_preference:
            found["a preference"] += 1
        elif one.chosen is not None:
            found["the chosen reply is unsafe and the other one safe"] += 1
        else:
            divided = one.agreed < one.judged
            found["annotators are divided" if divided else "no reply is better"] += 1
    return found


# ---- rows --------------------------------------------------------------------------------------------------


def _preference(one: JointVerdict, session: Session, scale: Scale) -> dict[str, Any]:
    assert one.chosen is not None
    chosen, other = one.chosen, 1 - one.chosen
    replies = (one.pair.first or "", one.pair.second or "")
    labels: dict[str, Any] = {"rating": grade_of(scale, one.size)}
    if one.safe[chosen] is not None:
        labels |= {"chosen_safe": one.safe[chosen], "rejected_safe": one.safe[other]}
    names = ("first", "second")
    made_by = {
        "stage": "annotate",
        "judge": "human",
        "session": session,
        "comparison": one.pair.id,
        "annotators": one.judged,
        "agreed": one.agreed,
        "chosen_was": names[chosen],
        "is_safety": session == "safety",
        "turn": sum(message["role"] == "user" for message in one.pair.prompt),
    }
    if set(names) <= set(one.pair.made_by):
        made_by |= {"chosen": one.pair.made_by[names[chosen]], "rejected": one.pair.made_by[names[other]]}
    return preference_row(one.pair.prompt, replies[chosen], replies[other], made_by, **labels)


def _judgement_row(one: Judgement, annotator: str) -> dict[str, Any]:
    return {
        "pair": one.pair,
        "annotator": annotator,
        "verdict": one.verdict,
        "first_safe": one.first_safe,
        "second_safe": one.second_safe,
        "skipped": one.skipped,
        "chose_left": left_of(one),
        "seconds": round(one.seconds, 1),
        "at": one.ended,
    }


def _write_labels(
    file: Path,
    verdicts: Sequence[JointVerdict],
    judged: Mapping[str, Sequence[Judgement]],
    ever: frozenset[str],
    scale: Scale,
) -> int:
    """Bring a run's labels up to date; those that are from elsewhere stay. Returns how many are from here.

    Args:
        ever: the pairs that were judged here at any time. The label of one whose judgements were all undone goes.
    """
    ours = {one.pair.id: _label(one, scale) for one in verdicts}
    ours |= {name: {"id": name, "better": "none"} for name in judged if name not in ours}
    there = labels_in(file)
    kept = [line for name, line in there.items() if name not in ours and name not in ever]
    lines = [*kept, *(json.dumps(one) for one in ours.values())]
    if ours or len(kept) < len(there):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, "".join(f"{line}\n" for line in lines))
    return len(ours)


def _label(one: JointVerdict, scale: Scale) -> dict[str, Any]:
    better = "none" if one.chosen is None else ("first", "second")[one.chosen]
    found: dict[str, Any] = {"id": one.pair.id, "better": better}
    if one.chosen is not None:
        found["rating"] = grade_of(scale, one.size)
    if one.safe[0] is not None:
        found |= {"first_safe": one.safe[0], "second_safe": one.safe[1]}
    return found


# ---- the card ----------------------------------------------------------------------------------------------

_FENCE = "---\n"


def _card(
    rows: Path, name: str, session: Session, figures: Mapping[str, Any], licence: str | None, cards: Path
) -> Path:
    """Write the card of the rows, or bring hashes and figures of the one that is there up to date."""
    path = cards / f"{name}.md"
    if not path.is_file():
        draft_card(rows, cards, name=name)
        _change(path, lambda front: front | _told(session, licence))
    else:
        update_card(name, Path())
    said = {key: figures[key] for key in ("session", "scale", "judgements", "agreement")}
    said["annotators"] = len(figures["annotators"])
    said["median_seconds"] = [one["median_seconds"] for one in figures["annotators"]]
    _change(path, lambda front: front | {"x_annotation": said} | _terms(licence))
    return path


def _told(session: Session, licence: str | None) -> dict[str, Any]:
    return {
        "description": f"Replies compared by people, for {session}, with `llamatune annotate`.",
        "category": session,
        "uses": {"intended": ["reward models"]},
        "limits": [
            "Replies were written by models: they may state what is false, and rejected ones may be unsafe.",
            "The judgements are those of few people; `x_annotation` says how many, and how far they agree.",
        ],
        **_terms(licence),
    }


def _terms(licence: str | None) -> dict[str, Any]:
    return {} if licence is None else {"license": {"id": licence}}


def _change(path: Path, how: Any) -> None:
    text = read_text(path)
    _, front, body = text.split(_FENCE, 2)
    data = parse("\n" + front, str(path)).data
    assert isinstance(data, dict)
    write_atomic(path, f"{_FENCE}{to_yaml(how(data))}{_FENCE}{body}")


def exported_lines(found: Exported, folder: Path) -> Iterator[str]:
    """For the terminal: what became of the pairs."""
    counts = "; ".join(f"{what}: {count:,}" for what, count in found.outcomes.items())
    yield f"{folder / PREFERENCES}: {counts or 'nothing was judged yet'}"
    if found.card is not None:
        yield f"{found.card}: its data card"
