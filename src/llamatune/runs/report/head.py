"""The head of the page: the state of the run, its figures, and what a reader must not miss."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llamatune.runs.files import process_lives
from llamatune.runs.report.by_stage import Look
from llamatune.runs.report.reading import as_mapping, as_number, as_rows, as_text
from llamatune.runs.report.series import Chart, Series
from llamatune.runs.report.words import duration, median, number, steps_text, utc

MOST_NOTICES, MOST_FIGURES = 12, 24

ALARMS = {"warning": "warning", "out_of_memory": "out of memory", "forced": "forced"}
"""Kinds of events that are shown at the top of the page, and what they are called there."""

STATES = {
    "finished": "✓ finished",
    "running": "▶ running",
    "stopped": "■ stopped",
    "failed": "✗ failed",
    "died": "✗ died",
    "unfinished": "✗ did not finish",
}


def state(run: Mapping[str, Any], *, finished: bool) -> str:
    """The state of the run: a key of STATES, or whatever else run.json says.

    A process that was killed leaves the state `running`: see whether it is still there. result.json is written last.
    """
    said = as_text(run.get("state"))
    if finished and said in ("", "running"):
        return "finished"
    if said == "running" and _is_gone(run):
        return "died"
    return said or "unfinished"


def _is_gone(run: Mapping[str, Any]) -> bool:
    """True if the process ran on this machine and no longer exists; nothing is known of other machines."""
    pid = run.get("pid")
    if run.get("host") != socket.gethostname() or not isinstance(pid, int):
        return False
    return not process_lives(pid)


def subtitle(
    recipe: Mapping[str, Any], result: Mapping[str, Any], run: Mapping[str, Any]
) -> list[tuple[str, str]]:
    base = result.get("base") or as_mapping(recipe.get("model")).get("base")
    started = next((row.get("started") for row in as_rows(run.get("attempts"))), None)
    heartbeat = run.get("heartbeat") if run.get("state") == "running" else None
    parts = [
        ("base", as_text(base)),
        ("wrote", as_text(result.get("artefact"))),
        ("started", utc(started) if started else ""),
        ("last sign of life", utc(heartbeat) if heartbeat else ""),
    ]
    return [(name, text) for name, text in parts if text]


def resumes(run: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> list[float]:
    """Steps at which a process resumed the work of an earlier one, from either file."""
    said = [event.get("step") for event in events if event.get("kind") == "resume"]
    said += [row.get("from_step") for row in as_rows(run.get("attempts"))[1:]]
    return sorted({step for step in map(as_number, said) if step is not None and 0 < step < 1e15})


# ---- figures ----------------------------------------------------------------------------------------------


def headline_figures(
    result: Mapping[str, Any],
    run: Mapping[str, Any],
    metrics: Mapping[str, Series],
    speed: Mapping[str, Series],
    data: Mapping[str, Any],
    look: Look,
) -> list[tuple[str, str, str]]:
    """(what, figure, a note): what a reader wants to know first, then whatever else the stage counted."""
    counted = dict(as_mapping(result.get("figures")))
    nothing = Series()
    tiles = [_steps(result, run, metrics)]
    if look.tiles is not None:
        tiles += look.tiles(metrics)
        counted = {name: value for name, value in counted.items() if not look.is_told(name)}
    else:
        for name, what in (("loss", "training loss"), ("eval_loss", "held-out loss")):
            series = metrics.get(name, nothing)
            value = counted.pop(name, series.values[-1] if series.values else None)
            tiles.append((what, _figure(value), _began(series)))
    tiles.append(_time(result, run))
    for unit in ("trained_tokens", "pairs", "rows", "rollouts"):
        if rates := speed.get(f"{unit}_per_second", nothing).values:
            rate = median(rates)
            tiles.append((f"{unit.replace('_', ' ')} per second", number(_rounded(rate)), "median"))
    memory = counted.pop("peak_memory_gib", max(speed.get("memory_gib", nothing).values, default=None))
    tiles.append(("peak memory", f"{number(memory, 3)} GiB" if memory is not None else "", ""))
    rows = as_mapping(data.get("counts"))
    what = "training pairs" if "pairs" in rows else look.rows
    tiles.append((what, _figure(rows.get("kept")), f"of {number(rows.get('read', '?'))} read"))
    for name, value in counted.items():
        what, _, of = name.partition("/")
        tiles.append((what.replace("_", " "), _figure(value), of))
    return [tile for tile in tiles if tile[1]][:MOST_FIGURES]


def _rounded(rate: float) -> float:
    """A whole number, except for small rates, which have two digits."""
    return float(f"{rate:.2g}") if rate < 10 else round(rate)


def _figure(value: Any) -> str:
    return "" if value is None else number(value)


def _steps(
    result: Mapping[str, Any], run: Mapping[str, Any], metrics: Mapping[str, Series]
) -> tuple[str, str, str]:
    logged = max((step for series in metrics.values() for step in series.steps[-1:]), default=None)
    done = next((step for step in (result.get("steps"), run.get("step"), logged) if step is not None), None)
    total = run.get("total_steps")
    return ("steps", _figure(done), f"of {number(total)}" if total is not None else "")


def _began(series: Series) -> str:
    if len(series.values) < 2:
        return ""
    return f"from {number(series.values[0])} at step {number(series.steps[0])}"


def _time(result: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[str, str, str]:
    """The time of all attempts; the end of a killed one is not known, except for the last one's heartbeat."""
    rows = as_rows(run.get("attempts"))
    ends = [row.get("ended") for row in rows[:-1]] + [
        row.get("ended") or run.get("heartbeat") for row in rows[-1:]
    ]
    starts = [as_number(row.get("started")) for row in rows]
    known = [end - start for start, end in zip(starts, map(as_number, ends), strict=True) if start and end]
    note = f"in {len(rows)} attempts" if len(rows) > 1 else ""
    if not known:
        return ("time", duration(result["seconds"]) if "seconds" in result else "", note)
    return ("time", duration(sum(known)), f"at least, {note}" if len(known) < len(rows) else note)


# ---- what a reader must not miss --------------------------------------------------------------------------


def notices(
    state: str,
    run: Mapping[str, Any],
    resumed: Sequence[float],
    events: Iterable[Mapping[str, Any]],
    shown: Iterable[Chart],
    broken: Mapping[str, str],
    alarms: Iterable[tuple[str, str]] = (),
) -> dict[str, Any]:
    """(what kind, text) of each, the gravest first."""
    found: list[tuple[str, str]] = []
    if state not in ("finished", "running"):
        found.append((STATES.get(state, state).lstrip("✗■ "), _last_words(state, run)))
    found += alarms
    found += [("abnormal value", f"{chart.title}: {chart.odd_text}") for chart in shown if chart.odd_text]
    attempts = len(as_rows(run.get("attempts")))
    if attempts > 1 or resumed:
        parts = [
            f"at {steps_text(resumed)}" if resumed else "",
            f"{attempts} attempts" if attempts > 1 else "",
        ]
        found.append(("resumed" if resumed else "started again", "; ".join(part for part in parts if part)))
    for event in events:
        kind = as_text(event.get("kind"))
        if kind in ALARMS:
            step = f"step {number(event['step'])}: " if event.get("step") is not None else ""
            found.append((ALARMS[kind], step + as_text(event.get("text"))))
    found += [("damaged file", f"{name} {what}") for name, what in broken.items()]
    return {"rows": found[:MOST_NOTICES], "more": max(0, len(found) - MOST_NOTICES)}


def _last_words(state: str, run: Mapping[str, Any]) -> str:
    """Where and why it ended."""
    if not run:
        return "there is neither a run.json nor a result.json"
    at = f"at step {number(run['step'])}" if run.get("step") is not None else ""
    if state == "died":
        at += f", last seen {utc(run.get('heartbeat'))}"
        return (
            f"{at}; the process is gone without a word: killed, out of memory, or the machine stopped".lstrip(
                ", "
            )
        )
    reason = next((as_text(row.get("reason")) for row in as_rows(run.get("attempts"))[-1:]), "")
    return ": ".join(part for part in (at, reason) if part)
