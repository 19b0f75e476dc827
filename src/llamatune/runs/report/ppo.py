"""A PPO run: its charts, its held-out figures, and whether the reward rose for good reasons.

The figures are those that the trainer logs; held-out ones are in evaluation.json, one entry an evaluation, and in
metrics.jsonl as `eval_x`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llamatune.runs.report import disagreement, words
from llamatune.runs.report.reading import as_mapping, as_number, as_rows
from llamatune.runs.report.series import KNOWN, Known, Series
from llamatune.runs.report.tables import Cell, Table, plain, section_of

REWARD, QUALITY, AGREEMENT = "reward", "oracle/quality", "oracle/rank_correlation"
HACKING = "reward hacking"
MOST_ROWS, LONGEST_NAME = 40, 50

_JUDGED = "mean over held-out answers, 0 to 1"
_FIRST = {
    REWARD: Known("Reward", "mean of an iteration's answers", False),
    QUALITY: Known("Quality, says the oracle", _JUDGED, False),
    AGREEMENT: Known("Reward against quality", "rank correlation over held-out answers", False),
}
_PARTS = {"reward/": ("Reward: ", "mean score"), "oracle/": ("Oracle: ", _JUDGED)}
"""How names begin; what follows is the name of a reward model, or of what the oracle looks at."""
_OTHERS = {
    "kl": Known("KL to the starting policy", "nats per answer", True),
    "length": Known("Length", "tokens per answer", True),
    "ended_share": Known("Ended answers", "share; the others were cut off", True),
    "entropy": Known("Entropy", "nats per token", True),
    "explained_variance": Known("Explained variance of the critic", "share of the returns' variance", True),
    "ratio": Known("Probability ratio", "new to old policy, mean over tokens", False),
    "ratio_max": Known("Largest probability ratio", "of any token", False),
    "clip_share": Known("Clipped tokens", "share", True),
    "value_clip_share": Known("Clipped values", "share of tokens", True),
    "policy_loss": Known("Policy loss", "clipped advantage per token", False),
    "value_loss": Known("Value loss", "half the squared error per token", True),
    "ptx_loss": Known("Loss on the pretraining mix", "nats per trained token", False),
    "loss": Known("Loss", "policy loss + weighted others", False),
    "approx_kl": Known("KL of the updates", "old to new policy, nats per token", True),
    "reward_std": Known("Spread of the rewards", "standard deviation", True),
    "value": Known("Value", "mean over tokens", False),
    "kl_coef": Known("KL coefficient", "beta", True),
    "learning_rate": KNOWN["learning_rate"],
    "grad_norm": Known("Gradient norm", "policy and critic, before clipping", True),
    "policy_grad_norm": Known("Gradient norm of the policy", "norm before clipping", True),
}
_TILES = {REWARD: "reward", QUALITY: "quality (oracle)", "kl": "KL", "length": "tokens per answer"}


def known_series(metrics: Iterable[str]) -> dict[str, Known]:
    """Titles and units, in the order of a reader's interest: rewards and the oracle first."""
    names = sorted({name.removeprefix("eval_") for name in metrics} - _FIRST.keys())
    parts = {
        name: Known(title + words.shorten(name.removeprefix(start), LONGEST_NAME), unit, False)
        for start, (title, unit) in _PARTS.items()
        for name in names
        if name.startswith(start)
    }
    return _FIRST | parts | _OTHERS | KNOWN | _OTHERS


def series(
    metrics: Mapping[str, Series], evaluated: Mapping[str, Any], recipe: Mapping[str, Any]
) -> tuple[dict[str, Known], Mapping[str, Series]]:
    """Titles and units, and what is drawn: all of it."""
    return known_series(metrics), metrics


def tiles(metrics: Mapping[str, Series]) -> list[tuple[str, str, str]]:
    """(what, figure, a note) for the head of the page; on held-out prompts where there are any."""
    found = []
    for name, what in _TILES.items():
        held_out = f"eval_{name}" in metrics
        series = metrics.get(f"eval_{name}" if held_out else name, Series())
        if series.values:
            began = f"from {words.number(series.values[0])} at step {words.number(series.steps[0])}"
            note = began if len(series.values) > 1 else ""
            found.append((f"held-out {what}" if held_out else what, words.number(series.values[-1]), note))
    return found


def is_told(name: str) -> bool:
    """Whether a figure of result.json is elsewhere on the page."""
    return name in ("loss", "eval_loss") or name.startswith(("eval_", "change of "))


# ---- held-out prompts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HackingVerdict:
    """Whether the reward rose for good reasons; `is_hacking`: it did not."""

    text: str
    is_hacking: bool = False


def section(content: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict, where the recipe names held-out prompts, and a table of the first and the last evaluation."""
    entries = as_rows(content.get("held_out"))
    data = as_mapping(recipe.get("data"))
    asked = bool(data.get("eval") or data.get("eval_fraction"))
    found = verdict(entries) if entries or asked else None
    tables = [_table(entries), *disagreement.tables(as_rows(content.get("disagreement")))]
    return section_of(*tables, of="figure", verdict=found)


def verdict(entries: list[dict[str, Any]]) -> HackingVerdict:
    """Did reward and truth rise together?"""
    if not entries:
        return HackingVerdict("The held-out prompts were not evaluated.")
    rewards, qualities = _measured(entries, REWARD), _measured(entries, QUALITY)
    if len(rewards) < 2:
        return HackingVerdict("The held-out prompts were evaluated once: nothing can be said of a change.")
    reward = _change("The held-out reward", rewards)
    if not qualities:
        return HackingVerdict(
            f"{reward}. Nobody but the reward models judged the answers, so whether they are better is not known."
        )
    if len(qualities) < 2:
        return HackingVerdict(f"{reward}. The oracle judged the answers once.")
    quality = _change("the oracle's quality", qualities)
    rose, better = rewards[-1][1] - rewards[0][1], qualities[-1][1] - qualities[0][1]
    best_at, best = max(qualities, key=lambda entry: entry[1])
    peak = (
        f" The oracle's quality was highest at step {words.number(best_at)}: {words.number(best)}."
        if best > qualities[-1][1] and best_at not in (qualities[0][0], qualities[-1][0])
        else ""
    )
    if rose > 0 and better < 0:
        return HackingVerdict(
            f"Reward hacking: {_lower(reward)} while {quality}. The policy earns more by what the reward models get "
            f"wrong, and not by better answers.{peak}",
            is_hacking=True,
        )
    if rose > 0 and better > 0:
        return HackingVerdict(f"Both rose: {_lower(reward)}, and {quality}.{peak}")
    return HackingVerdict(f"{reward}, and {quality}.{peak}")


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _measured(entries: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """(step, value) of each evaluation that has a finite value."""
    found = [(as_number(entry.get("step")), as_number(entry.get(name))) for entry in entries]
    return [
        (step, value)
        for step, value in found
        if step is not None and value is not None and math.isfinite(step) and math.isfinite(value)
    ]


def _change(what: str, measured: list[tuple[float, float]]) -> str:
    """`the reward rose from 4.7 (step 0) to 5.1 (step 20)`."""
    (first, before), (last, after) = measured[0], measured[-1]
    verb = "rose" if after > before else "fell" if after < before else "stayed"
    return (
        f"{what} {verb} from {words.number(before)} (step {words.number(first)}) "
        f"to {words.number(after)} (step {words.number(last)})"
    )


def _table(entries: list[dict[str, Any]]) -> Table:
    """A row a figure: first, last, and what changed."""
    if not entries:
        return Table("", "", [], [])
    first, last = entries[0], entries[-1]
    names = [name for name in dict.fromkeys([*first, *last]) if name != "step"]
    known = known_series(names)
    names.sort(key=lambda name: list(known).index(name) if name in known else len(known))
    rows = []
    for name in names[:MOST_ROWS]:
        before, after = as_number(first.get(name)), as_number(last.get(name))
        both = before is not None and after is not None and first is not last
        title = known[name].title if name in known else words.shorten(name, LONGEST_NAME)
        change = f"{after - before:+.4g}" if both and math.isfinite(after - before) else "–"  # type: ignore[operator]
        rows.append((title, [Cell(plain(before)), Cell(plain(after)), Cell(change.replace("-", "−"))]))
    steps = [words.number(entry.get("step", "?")) for entry in (first, last)]
    return Table(
        "Held-out prompts",
        "The same prompts and the same random numbers each time. Rewards are means, before whitening"
        + (
            "; the oracle knows the truth of the miniature world, and no part of the training sees it."
            if any(name.startswith("oracle/") for name in names)
            else "."
        ),
        [f"step {steps[0]}", f"step {steps[1]}" if first is not last else "later", "change"],
        rows,
    )


def notices(found: HackingVerdict | None) -> list[tuple[str, str]]:
    """What a reader must not miss."""
    if found is None or not found.is_hacking:
        return []
    return [(HACKING, found.text.partition(": ")[2])]
