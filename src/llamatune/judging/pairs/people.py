"""People compare: the run leaves comparisons.jsonl and waits for a file of labels.

    comparisons.jsonl   {"id", "prompt": [{role, content}, ...], "first": text, "second": text}
    labels.jsonl        {"id", "better": "first" | "second" | "none", "rating", "first_safe", "second_safe"}

Who gave which reply is in neither. `rating` (one of the four grades) and the two safety labels may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llamatune.data.rows import RATINGS
from llamatune.errors import DataError, WaitsForPeople, gate, reason_of
from llamatune.judging.pairs.comparing import Comparison, Opinion, PairOutcome
from llamatune.models.facts import label_facts
from llamatune.outside import open_plain, parse_json
from llamatune.runs.handover import COMPARISONS, write_rows
from llamatune.runs.run import Run
from llamatune.wording import counted

_BETTER = {"first": 0, "second": 1, "none": None}


class People:
    """A judge of pairs.

    Args:
        run: where to leave what is to be compared, and to note which labels it was made from.
        labels: where people's labels are, or will be.
    """

    def __init__(self, run: Run, labels: Path) -> None:
        self.run = run
        self.comparisons = run.directory / COMPARISONS
        self.labels = labels
        self._shown: dict[str, Comparison] = {}

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Opinion]:
        """Raises:
        WaitsForPeople: E903, labels are missing.
        DataError: E149, a label that cannot be read.
        """
        self._shown |= {one.id: one for one in comparisons}
        if self.run.is_main:
            write_rows(self.comparisons, map(_row, self._shown.values()))
        # Before they are read: of labels that change meanwhile, the run is made from older ones, and says so.
        self.run.came_later = label_facts([self.labels])
        found = read_labels(self.labels) if self.labels.is_file() else {}
        missing = sum(one.id not in found for one in comparisons)
        if missing:
            raise WaitsForPeople(
                "E903",
                f"{counted(missing, 'comparison')} of {len(comparisons):,} in {self.comparisons} "
                f"{'waits' if missing == 1 else 'wait'} for a label in {self.labels}",
                place=str(self.comparisons),
                hint="label them, then the same command goes on",
            )
        return [found[one.id] for one in comparisons]


def _row(one: Comparison) -> dict[str, Any]:
    return {
        "id": one.id,
        "prompt": one.prompt["prompt"],
        "first": one.first.text,
        "second": one.second.text,
    }


def read_labels(file: Path) -> dict[str, Opinion]:
    """Labels by the comparison's id; the last one counts.

    Raises:
        DataError: E149.
    """
    found = {}
    with gate(DataError, "E149", "labels that cannot be read", place=str(file)), open_plain(file) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                name, opinion = _read(line.decode("utf-8", "replace"), f"{file}:{number}")
                found[name] = opinion
    return found


def _read(line: str, place: str) -> tuple[str, Opinion]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise _bad(f"cannot be read as JSON ({reason_of(error)})", place) from None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise _bad("has no `id`", place)
    if row.get("better") not in list(_BETTER):
        raise _bad(f"says {row.get('better')!r} under `better`, not first, second or none", place)
    rating = row.get("rating")
    if rating is not None and rating not in RATINGS:
        raise _bad(f"says {rating!r} under `rating`, not one of {', '.join(RATINGS)}", place)
    safe = (_safe(row, "first_safe", place), _safe(row, "second_safe", place))
    return row["id"], Opinion(_BETTER[row["better"]], rating, safe, PairOutcome.SKIPPED)


def _safe(row: Mapping[str, Any], name: str, place: str) -> bool | None:
    value = row.get(name)
    if value is not None and not isinstance(value, bool):
        raise _bad(f"says {value!r} under `{name}`, not true or false", place)
    return value


def _bad(what: str, place: str) -> DataError:
    return DataError(
        "E149",
        f"a label {what}",
        place=place,
        hint="mend the line; the samples and the other labels are kept",
    )
