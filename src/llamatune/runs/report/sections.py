"""The sections below the curves: data, masks, replies, environment, attempts, events, the recipe.

Each function takes what a file held and gives plain data for the template.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any

from llamatune.runs.manifest import flatten
from llamatune.runs.report import words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text

MOST_SOURCES, MOST_REPLIES, MOST_FACTS, MOST_EVENTS, MOST_LINES = 200, 40, 200, 200, 2000
LONGEST_ROW, LONGEST_REPLY, LONGEST_FACT = 3000, 2000, 300


def data(data: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a source, and the training sources together."""
    sources = [(row, as_mapping(row.get("counts"))) for row in as_rows(data.get("sources"))]
    rows = [_source(source, counts) for source, counts in sources[:MOST_SOURCES]]
    total = as_mapping(data.get("counts"))
    if total and sum(row["role"] == "train" for row in rows) > 1:
        rows.append({**_source({"name": "all training rows"}, total), "total": True})
    return rows


def _source(source: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    notes = [source.get(key) for key in ("format", "licence")]
    if (weight := as_number(source.get("weight"))) is not None and weight != 1:
        notes.append(f"weight {words.number(weight)}")
    if not source.get("card") and source.get("role"):
        notes.append("no data card")
    if source.get("revision"):
        notes.append(f"revision {source['revision']}")
    dropped, adjusted = as_mapping(counts.get("dropped")), as_mapping(counts.get("adjusted"))
    changed = {**adjusted, **{name: counts[name] for name in ("truncated", "escaped") if counts.get(name)}}
    hashes = source.get("sha256")
    return {
        "total": False,
        "name": as_text(source.get("name")),
        "role": as_text(source.get("role")),
        "notes": [as_text(note) for note in notes if note],
        "hashes": [_hash(value) for value in hashes[:8]] if isinstance(hashes, list) else [],
        **{name: _count(counts.get(name)) for name in ("read", "kept", "held_out", "longest")},
        "dropped": [(reason, _count(rows)) for reason, rows in dropped.items()],
        "changed": [(reason, _count(rows)) for reason, rows in changed.items()],
        "trained_tokens": _count(counts.get("trained_tokens")),
        "tokens": _count(counts.get("tokens")),
    }


def _count(value: Any) -> str:
    return "–" if value is None else words.number(value)


def _more(count: int) -> str:
    """How many were left out, nothing where none were."""
    return words.number(count) if count > 0 else ""


def masks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as the model saw them: stretches of text that are trained, and that are not."""
    return [{"place": as_text(row.get("place")), **_mask(row.get("tokens"))} for row in rows[:3]]


def _mask(tokens: Any) -> dict[str, Any]:
    pieces = tokens if isinstance(tokens, list) else []
    pairs = [
        (as_text(piece[0]), bool(piece[1])) for piece in pieces if isinstance(piece, list) and len(piece) == 2
    ]
    spans, room = [], LONGEST_ROW
    for trained, group in groupby(pairs, key=lambda pair: pair[1]):
        text = "".join(piece for piece, _ in group)
        if room > 0:
            spans.append((text[:room].replace("\n", "↵\n"), trained))
        room -= len(text)
    return {"spans": spans, "left_out": _more(-room)}


def replies(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The first and the last replies to each prompt; a step that was done again after a resume counts once."""
    said: dict[float, dict[str, dict[str, Any]]] = {}
    for record in records:
        step = as_number(record.get("step"))
        if step is not None:
            said.setdefault(step, {})[as_text(record.get("prompt"))] = _reply(record)
    if not said:
        return {"rows": [], "before": "", "after": "", "left_out": ""}
    first, last = min(said), max(said)
    prompts = list({**said[first], **said[last]})
    after = said[last] if last != first else {}
    rows = [
        (words.shorten(prompt, LONGEST_REPLY), said[first].get(prompt), after.get(prompt))
        for prompt in prompts
    ]
    return {
        "rows": rows[:MOST_REPLIES],
        "before": words.number(first),
        "after": words.number(last) if last != first else "",
        "left_out": _more(len(rows) - MOST_REPLIES),
    }


def _reply(record: dict[str, Any]) -> dict[str, Any]:
    text = words.shorten(as_text(record.get("reply")), LONGEST_REPLY)
    return {"text": text, "cut": record.get("stopped") is False}


def environment(manifest: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """Library versions, and everything else that the manifest says and the recipe does not."""
    said = {key.removeprefix("facts."): value for key, value in flatten(manifest).items()}
    versions = {
        key.removeprefix("versions."): value for key, value in said.items() if key.startswith("versions.")
    }
    in_recipe = {*flatten(recipe), "format"}
    others = {
        key: value
        for key, value in said.items()
        if not key.startswith(("versions.", "recipe.")) and key not in in_recipe
    }
    if manifest:
        seed = said.get("seed", recipe.get("seed"))
        first = {"python": others.pop("python", None), "machine": others.pop("machine", None), "seed": seed}
        others = {key: value for key, value in {**first, **others}.items() if value is not None}
    return {
        "versions": [
            (name, words.shorten(as_text(version), LONGEST_FACT)) for name, version in versions.items()
        ],
        "facts": [(key, _hash(value)) for key, value in list(others.items())[:MOST_FACTS]],
    }


def _hash(value: Any) -> dict[str, str]:
    """What to show, and the whole of it when that is a hash and was shortened."""
    text = words.shorten(as_text(value), LONGEST_FACT)
    plain = text.removeprefix("sha256:")
    if len(plain) >= 32 and all(char in "0123456789abcdef" for char in plain):
        return {"text": f"{plain[:12]}…", "full": text}
    return {"text": text, "full": ""}


def attempts(run: dict[str, Any], *, running: bool) -> list[dict[str, str]]:
    """One row a process that worked on the run."""
    rows = as_rows(run.get("attempts"))
    return [
        {
            "number": str(index),
            "started": words.utc(row.get("started")),
            "ended": words.utc(row["ended"])
            if row.get("ended") is not None
            else ("still running" if running and index == len(rows) else "not recorded"),
            "steps": f"{_count(row.get('from_step'))} to {_count(row.get('last_step'))}",
            "where": f"{as_text(row.get('host'))}, process {as_text(row.get('pid'))}",
            "exit_code": _exit_code(row.get("exit_code")),
            "reason": as_text(row.get("reason")) or "–",
        }
        for index, row in enumerate(rows, 1)
    ]


def _exit_code(code: Any) -> str:
    """The code, with the signal's name where a signal ended the process."""
    if not isinstance(code, int):
        return as_text(code) or "–"
    try:
        return f"{code} ({signal.Signals(-code if code < 0 else code - 128).name})"
    except ValueError:
        return str(code)


def events(rows: list[dict[str, Any]], alarms: Collection[str]) -> dict[str, Any]:
    """The first events, with the kinds in `alarms` marked."""
    shown = [
        {
            "time": words.utc(event.get("time")),
            "step": _count(event.get("step")),
            "kind": as_text(event.get("kind")).replace("_", " "),
            "alarm": as_text(event.get("kind")) in alarms,
            "text": as_text(event.get("text")),
        }
        for event in rows[:MOST_EVENTS]
    ]
    return {"rows": shown, "left_out": _more(len(rows) - MOST_EVENTS)}


def recipe(text: str) -> dict[str, Any]:
    """The recipe's lines; each is bounded in its length, and so is their number."""
    lines = text.rstrip("\n").split("\n")
    return {"lines": lines[:MOST_LINES], "left_out": _more(len(lines) - MOST_LINES)}
