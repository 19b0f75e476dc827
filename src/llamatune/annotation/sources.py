"""What is to be compared: the pairs that a run waits for, those of a file, or what two models answer to whoever asks.

runs/x            of stage preferences or evaluate, with comparisons.jsonl: its labels file takes what is said
runs/x            of a stage that left preferences.jsonl: those pairs, to be judged anew
pairs.jsonl       {"id", "prompt", "first", "second"}, or any format of preferences that recipes read
a model           every pair is sampled when an annotator asks something
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamatune.annotation.scales import Scale
from llamatune.annotation.store import ShownPair
from llamatune.data.formats.canonical import canonical
from llamatune.data.formats.record import Raw
from llamatune.data.read.readers import read_rows
from llamatune.data.read.survey import recognise
from llamatune.data.rows import Preference, RowRejected
from llamatune.errors import DataError, gate
from llamatune.outside import is_file, is_folder, parse_json, read_whole
from llamatune.recipe.load import load_stage
from llamatune.recipe.paths import MARKER
from llamatune.recipe.stages.evaluate import EvaluateRecipe
from llamatune.recipe.stages.preferences import PreferencesRecipe
from llamatune.runs.handover import COMPARISONS, LABELS, PREFERENCES, Result, take

_COMPARED = {"id", "prompt", "first", "second"}


@dataclass(frozen=True)
class Compared:
    """What was found. `labels`: the file in which a run waits for what people say; `command` goes on with that run.
    `model`: the name of a model to ask, where nothing is there to be compared. `left_out`: how many pairs cannot be
    compared, by reason."""

    name: str
    pairs: list[ShownPair] = field(default_factory=list)
    scale: Scale = "grades"
    labels: Path | None = None
    model: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    labelled: frozenset[str] = frozenset()
    """Pairs that have a label already, from elsewhere."""


def find_compared(what: str) -> Compared:
    """What a name on the command line means.

    Raises:
        DataError: E170, nothing in it can be compared; and what reading a file raises.
        RecipeError: a run whose recipe cannot be read.
    """
    path = Path(what)
    if is_file(path):
        return _of_file(path, plain_name(path.stem))
    if is_folder(path):
        if (path / COMPARISONS).is_file():
            return _of_waiting(path)
        result = Result.read(path)
        if result is not None and PREFERENCES in result.files:
            return _of_file(take(what, PREFERENCES), plain_name(path.resolve().name))
        if result is not None and result.artefact.endswith(".jsonl"):
            raise _nothing(f"the run `{what}` leaves {result.artefact}, in which nothing is compared", what)
    return Compared(plain_name(path.name or what), model=what)


def _of_waiting(run: Path) -> Compared:
    """A run that waits for people's labels, or has had them."""
    recipe = load_stage(run / MARKER, allow_outside=True)
    scale: Scale = "grades"
    if isinstance(recipe, EvaluateRecipe):
        scale, named = "seven", recipe.judges.labels
    elif isinstance(recipe, PreferencesRecipe):
        named = recipe.labels
    else:
        raise _nothing(f"a run of stage `{recipe.stage}` waits for nobody's labels", str(run))
    labels = run / LABELS if named is None else Path(named)
    # All of them, whatever they are: the run waits for each.
    found = _of_file(run / COMPARISONS, plain_name(run.resolve().name), whole=True)
    return Compared(
        found.name,
        found.pairs,
        scale,
        labels,
        None,
        found.left_out,
        frozenset(labels_in(labels)) & _ids(found),
    )


def _ids(found: Compared) -> set[str]:
    return {one.id for one in found.pairs}


def labels_in(file: Path) -> dict[str, str]:
    """Lines of a labels file by the id that each is for; a line that is none is left to whoever reads the file."""
    found: dict[str, str] = {}
    if is_file(file):
        with gate(DataError, "E149", "labels that cannot be read", place=str(file)):
            lines = read_whole(file).decode("utf-8", "replace").split("\n")
        for number, line in enumerate(lines):
            if line.strip():
                try:
                    found[str(parse_json(line)["id"])] = line
                except (ValueError, TypeError, KeyError):
                    found[f"line {number}"] = line
    return found


# ---- a file ------------------------------------------------------------------------------------------------


def _of_file(path: Path, name: str, *, whole: bool = False) -> Compared:
    left_out: dict[str, int] = {}
    pairs: dict[str, ShownPair] = {}
    for one in _pairs(path, left_out):
        why = _again(one, pairs[one.id]) if one.id in pairs else None if whole else _flaw(one)
        if why is None:
            pairs[one.id] = one
        else:
            left_out[why] = left_out.get(why, 0) + 1
    if not pairs:
        counts = "; ".join(f"{why}: {count:,}" for why, count in left_out.items())
        raise _nothing(f"no pair can be compared{f' ({counts})' if counts else ''}", str(path))
    return Compared(name, list(pairs.values()), left_out=left_out)


def _pairs(path: Path, left_out: dict[str, int]) -> Iterator[ShownPair]:
    first = next(iter(read_rows(path)), None)
    if first is not None and set(first[1]) >= _COMPARED:
        for place, raw in read_rows(path):
            yield _comparison(raw, place)
        return
    recognised = recognise(path, kind="preferences")
    for place, raw in read_rows(path):
        try:
            row = canonical(raw, recognised, place)
        except RowRejected as rejected:
            left_out[rejected.reason.value] = left_out.get(rejected.reason.value, 0) + 1
            continue
        assert isinstance(row, Preference)
        if len(row.chosen) > 1 or len(row.rejected) > 1:
            why = "a reply of several messages"
            left_out[why] = left_out.get(why, 0) + 1
            continue
        prompt = [{"role": one.role, "content": _whole(one.content, one.input)} for one in row.prompt]
        yield _shown(prompt, row.chosen[0].content, row.rejected[0].content, {"place": place})


def _whole(content: str, more: str | None) -> str:
    return f"{content}\n\n{more}" if more else content


def _shown(prompt: list[dict[str, str]], first: str, second: str, made_by: dict[str, Any]) -> ShownPair:
    said = json.dumps([prompt, first, second])
    return ShownPair(hashlib.sha256(said.encode()).hexdigest()[:24], prompt, first, second, made_by)


def _comparison(raw: Raw, place: str) -> ShownPair:
    prompt = raw.get("prompt")
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    name, first, second = (raw.get(key) for key in ("id", "first", "second"))
    good = isinstance(prompt, list) and all(
        isinstance(one, dict)
        and one.get("role") in ("system", "user", "assistant")
        and isinstance(one.get("content"), str)
        for one in prompt
    )
    said = isinstance(first, str) and isinstance(second, str)
    if not good or not prompt or not said or name is None:
        raise DataError(
            "E170",
            "a row is no comparison: `prompt` holds messages {role, content}, `first` and `second` are texts",
            place=place,
            hint="mend the row",
        )
    messages = [{"role": one["role"], "content": one["content"]} for one in prompt]
    return ShownPair(str(name), messages, first, second, {"place": place})


def _flaw(one: ShownPair) -> str | None:
    first, second = (one.first or "").strip(), (one.second or "").strip()
    if not first or not second:
        return "a reply is empty"
    return "the same reply twice" if first == second else None


def _again(one: ShownPair, before: ShownPair) -> str:
    """Why a pair is left out whose id was there before. Raises DataError where that was of other texts."""
    if (one.prompt, one.first, one.second) == (before.prompt, before.first, before.second):
        return "the same pair again"
    raise DataError(
        "E170",
        f"the id `{one.id}` is that of another pair, in {before.made_by['place']}",
        place=one.made_by["place"],
        why="what people say of one of them would be kept as said of the other",
        hint="give each pair an `id` of its own",
    )


def plain_name(name: str) -> str:
    """As a folder and a data card may be called."""
    kept = "".join(one if one.isascii() and one.isalnum() else "-" for one in name.lower())
    return "-".join(filter(None, kept.split("-")))[:50] or "pairs"


def _nothing(what: str, place: str) -> DataError:
    return DataError("E170", what, place=place)
