"""The sections below the data: masks, replies, environment, attempts, events, the recipe.

Each function takes what a file held and gives plain data for the template.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any

from llamatune.runs.manifest import flatten
from llamatune.runs.report import words
from llamatune.runs.report.reading import as_number, as_rows, as_text

MOST_REPLIES, MOST_FACTS, MOST_EVENTS, MOST_LINES = 40, 200, 200, 2000
LONGEST_ROW, LONGEST_REPLY, LONGEST_FACT = 3000, 2000, 300


def count(value: Any) -> str:
    return "–" if value is None else words.number(value)


def _more(count: int) -> str:
    """How many were left out, nothing where none were."""
    return words.number(count) if count > 0 else ""


def masks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as the model saw them: stretches of text that are trained, and that are not; of a pair, by part."""
    return [
        {
            "place": as_text(row.get("place")),
            "about": as_text(row.get("about")),
            "tokens": _mask(row.get("prompt" if "prompt" in row else "tokens")),
            "replies": [(side, _mask(row[side])) for side in ("chosen", "rejected") if side in row],
        }
        for row in rows[:3]
    ]


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


def environment_section(manifest: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
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
        "facts": [(key, fact(value)) for key, value in list(others.items())[:MOST_FACTS]],
    }


def fact(value: Any) -> dict[str, str]:
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
            "steps": f"{count(row.get('from_step'))} to {count(row.get('last_step'))}",
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
            "step": count(event.get("step")),
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
