"""`llamatune analyse`: what was found, in a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llamatune.analysis.page import unit
from llamatune.runs.report.tables import percent
from llamatune.wording import counted


def analysis_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """One line for each kind of figure; what was not run is said so."""
    rows, lengths, means = record["rows"], record["lengths"], record["means"]
    looked, many = rows["looked_at"], unit(record)
    words = lengths["words"]
    yield f"{many:15} {looked:,} of {counted(rows['read'], 'row')}; " + _lost(rows)
    yield (
        f"{'words':15} {words['total']:,}; median {words['median']:,}, 99% have at most {words['p99']:,}, "
        f"longest {words['longest']:,}"
    )
    if "tokens" in lengths:
        yield f"{'tokens':15} {lengths['tokens']['total']:,} by the tokenizer of {means['tokens']}"
    else:
        yield f"{'tokens':15} not run: --base MODEL counts them"
    if means["languages"]:
        shown = [f"{code} {100 * share:.2f}%" for code, share in list(record["languages"].items())[:8]]
        yield f"{'languages':15} {', '.join(shown)}"
    else:
        yield f"{'languages':15} not run"
    found = record["pronouns"]
    shares = ", ".join(f"{name} {percent(found[name])}" for name in ("he", "she", "unspecified"))
    yield f"{'pronouns':15} {percent(found['gendered'])} of the English ones gendered; of these {shares}"
    axes = ", ".join(f"{axis} {percent(one['share'])}" for axis, one in record["identity"].items())
    yield f"{'identity':15} {axes or 'no term'}"
    toxic = record["toxicity"]
    yield f"{'toxicity':15} " + (
        f"{100 * toxic['toxic']:.2f}% of {toxic['documents']:,} at 0.5 or more"
        if toxic
        else "no text in the sample"
        if means["toxicity"]
        else "not run: --toxicity FOLDER"
    )
    exact, near = record["duplicates"]["exact"], record["duplicates"]["near"]
    also = (
        f"{counted(near['copies'], 'exact or near copy', 'exact or near copies')}"
        if near
        else "near ones not run"
    )
    yield f"{'duplicates':15} {counted(exact['copies'], 'exact copy', 'exact copies')}, {also}"
    personal = ", ".join(f"{kind} in {one['documents']:,}" for kind, one in record["personal_data"].items())
    yield f"{'personal data':15} {personal or 'none that has a known form'}"
    if found := record["contamination"]:
        at = found["longer_than"]["10"]
        yield (
            f"{'contamination':15} of {counted(found['rows'], 'row')} of {means['against']}, {at['clean']:,} clean and "
            f"{at['dirty']:,} dirty (stretches of more than 10 tokens)"
        )
    if pairs := record["pairs"]:
        agreement = (
            f"; two judgements agree in {percent(pairs['agreement'])} of {counted(pairs['judged_again'], 'case')}"
            if pairs["judged_again"]
            else ""
        )
        yield f"{'length bias':15} the longer reply is chosen in {percent(pairs['longer_is_right'])}{agreement}"
        for name in ("ratings", "safety"):
            yield f"{name:15} " + ", ".join(f"{label} {number:,}" for label, number in pairs[name].items())


def _lost(rows: Mapping[str, Any]) -> str:
    lost = {**rows["left_out"], **{f"bad row ({code})": number for code, number in rows["bad"].items()}}
    return ", ".join(f"{number:,} {reason}" for reason, number in lost.items()) or "all usable"
