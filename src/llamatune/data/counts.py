"""What became of a source's rows: counted, printed, and stored with the run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from llamatune.data.rows import RATINGS, Reason, with_reason
from llamatune.recipe.blocks import Kind, RowFormat
from llamatune.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from llamatune.data.mix import Pool

BENCHMARK = "benchmark"
"""The role of files that are only asked."""
UNRATED = "unrated"
UNLABELLED = "unlabelled"
_NO_TOKEN_IS_LEARNT: tuple[Kind, ...] = ("prompts", "scores", "labels")
_BINS = {(1, 0): "chosen_safe", (1, 1): "both_safe", (0, 0): "both_unsafe", (-1, -1): UNLABELLED}


@dataclass
class PairCounts:
    """The preference pairs of one epoch. Where one side is mostly the longer one, a reward model can do well by
    length alone."""

    prompt_tokens: int = 0
    """Tokens of the prompts, each counted once for both replies."""
    chosen_tokens: int = 0
    rejected_tokens: int = 0
    chosen_longer: int = 0
    """Pairs whose chosen reply has more tokens."""
    rejected_longer: int = 0
    ratings: dict[str, int] = field(default_factory=dict)
    """Pairs by rating."""
    safety: dict[str, int] = field(default_factory=dict)
    """Pairs by which of their replies are safe."""


@dataclass
class Counts:
    """What became of the rows: `read` = `kept` + `held_out` + all `dropped`. Weights and shares change only the
    figures of one epoch."""

    read: int = 0
    kept: int = 0
    held_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by `Reason`."""
    adjusted: dict[str, int] = field(default_factory=dict)
    """Turns taken off or joined, by `Adjustment`."""
    truncated: int = 0
    """Sequences that were cut."""
    escaped: int = 0
    """Control tokens that were in the text and were encoded as plain text."""
    altered: int = 0
    """Messages of which the chat template does not show all text."""
    default_system: int = 0
    """Sequences before which the chat template put a system message of its own."""
    sequences: int = 0
    """Sequences in one epoch; a pair is one."""
    tokens: int = 0
    """Tokens in one epoch; for a pair, the prompt once and both replies."""
    trained_tokens: int = 0
    """Tokens in one epoch that have a label; for a pair, the two where a score is read; for a prompt, none."""
    longest: int = 0
    """Longest sequence, in tokens; for pairs, the longest prompt with its longer reply."""
    pairs: PairCounts | None = None
    """For preference pairs only."""


@dataclass
class SourceInfo:
    """One source, for the manifest, the report and the model card."""

    name: str
    role: str
    """`train`, `eval`, `ptx`, `texts` or `benchmark`."""
    files: list[str]
    sha256: list[str]
    fingerprint: str
    format: RowFormat
    columns: dict[str, str]
    weight: float
    share: float | None
    card: str | None
    licence: str | None
    revision: str | None
    counts: Counts
    is_safety: bool | None = None
    """For prompts only: whether they are tagged as safety."""
    run: str | None = None
    """The run that made the rows."""

    @property
    def evaluates(self) -> bool:
        """Whether held-out rows are from it."""
        return self.role == "eval" or self.counts.held_out > 0


def to_json(value: Counts | SourceInfo) -> dict[str, Any]:
    """As stored in data.json: without `pairs`, `share`, `is_safety` and `run` where there are none."""
    result = asdict(value)
    counts = result.get("counts", {})
    for holder, name in (
        (result, "pairs"),
        (result, "share"),
        (result, "is_safety"),
        (result, "run"),
        (counts, "pairs"),
    ):
        if name in holder and holder[name] is None:
            del holder[name]
    return result


def count_source(
    info: dict[str, Any], *, shared: int, kept: Pool, held_out: Pool | None, epoch: Pool
) -> Counts:
    """The counts of a source.

    Args:
        info: its shard's (see `shards.Shard`).
        shared: rows that an earlier source of the same role has too.
        kept, held_out: its rows in use and on the other side of the split.
        epoch: its rows in one epoch.
    """
    dropped = Counter[str](info["dropped"])
    dropped[Reason.DUPLICATE.value] += shared
    pairs = epoch.shard.pairs[epoch.indices]
    is_pairs = pairs.shape[1] > 0
    lengths = pairs[:, 0] + pairs[:, 1:3].max(axis=1) if is_pairs else epoch.column("tokens")
    return Counts(
        read=info["read"],
        kept=kept.rows,
        held_out=held_out.rows if held_out else 0,
        dropped={reason: number for reason, number in dropped.items() if number},
        adjusted=info["adjusted"],
        truncated=int(kept.column("truncated").sum()),
        escaped=int(kept.column("escaped").sum()),
        altered=int(kept.column("altered").sum()),
        default_system=int(kept.column("default_system").sum()),
        sequences=len(epoch.indices),
        tokens=int(epoch.column("tokens").sum()),
        trained_tokens=int(epoch.column("trained").sum()),
        longest=int(lengths.max(initial=0)),
        pairs=_count_pairs(pairs) if is_pairs else None,
    )


def _count_pairs(pairs: np.ndarray) -> PairCounts:
    """`pairs`: (pairs, 6), a `Pair` in each row."""
    prompt, chosen, rejected, rating, chosen_safe, rejected_safe = pairs.T
    ratings = Counter[int](rating.tolist())
    safety = Counter(zip(chosen_safe.tolist(), rejected_safe.tolist(), strict=True))
    bins = Counter[str]()
    for labels, number in safety.items():
        bins[_BINS.get(labels, "partly_labelled")] += number
    names = dict(enumerate(RATINGS)) | {-1: UNRATED}
    return PairCounts(
        prompt_tokens=int(prompt.sum()),
        chosen_tokens=int(chosen.sum()),
        rejected_tokens=int(rejected.sum()),
        chosen_longer=int((chosen > rejected).sum()),
        rejected_longer=int((chosen < rejected).sum()),
        ratings={name: ratings[number] for number, name in names.items() if ratings[number]},
        safety={name: bins[name] for name in (*_BINS.values(), "partly_labelled") if bins[name]},
    )


def total(counts: Sequence[Counts]) -> Counts:
    """The counts of several sources together."""
    result = Counts()
    _add(result, counts, leave_out=("longest", "pairs"))
    result.longest = max((count.longest for count in counts), default=0)
    pairs = [count.pairs for count in counts if count.pairs is not None]
    if pairs:
        result.pairs = PairCounts()
        _add(result.pairs, pairs)
    return result


def share_that_allows(lost: int, read: int) -> float:
    """The smallest `max_dropped`, in thousandths, under which so many of the rows may be left out."""
    thousandths = math.ceil(1000 * lost / read)
    # Rounding may leave the product a little below.
    while lost > thousandths / 1000 * read:
        thousandths += 1
    return thousandths / 1000


def _add(result: Any, parts: Sequence[Any], leave_out: Sequence[str] = ()) -> None:
    """Sum each field over the parts: numbers, and dicts of numbers."""
    for name in (one.name for one in fields(result) if one.name not in leave_out):
        values = [getattr(part, name) for part in parts]
        if isinstance(getattr(result, name), dict):
            setattr(result, name, dict(sum(map(Counter, values), Counter[str]())))
        else:
            setattr(result, name, sum(values))


# ---- in words ---------------------------------------------------------------------------------------------


def describe(info: SourceInfo, kind: Kind) -> str:
    """What became of a source's rows, in one line; a second one warns of many duplicates."""
    counts = info.counts
    parts = [counted(counts.read, "row"), f"{counts.kept:,} in use"]
    if counts.sequences != counts.kept:
        parts.append(f"{counted(counts.sequences, 'sequence')} in an epoch")
    if counts.held_out:
        parts.append(f"{counts.held_out:,} held out")
    changes = (*counts.dropped.items(), *counts.adjusted.items())
    parts += [with_reason(count, reason) for reason, count in changes]
    if counts.truncated:
        parts.append(f"{counts.truncated:,} truncated")
    if counts.escaped:
        parts.append(f"{counted(counts.escaped, 'control token')} written as text")
    if counts.default_system:
        parts.append(
            f"{counted(counts.default_system, 'begins', 'begin')} with the template's own system message"
        )
    parts.append(f"{counted(counts.tokens, 'token')} in an epoch")
    if counts.pairs is not None:
        parts.append(f"{_percent(counts.pairs.prompt_tokens, counts.tokens)} of them in prompts")
    elif kind not in _NO_TOKEN_IS_LEARNT:
        parts.append(f"{_percent(counts.trained_tokens, counts.tokens)} of them trained")
    parts.append(f"longest row {counts.longest:,}")
    text = f"{info.name}{_how_much(info)}: " + ", ".join(parts)
    if info.is_safety:
        text += "; tagged as safety"
    if counts.pairs is not None:
        text += f"; {_about_pairs(counts.pairs, counts.sequences)}"
    if counts.altered:
        text += (
            f"\nwarning: the chat template leaves out or rewrites text of messages of {info.name} "
            f"({counts.altered:,} of them); `llamatune data preview` shows what is trained, and another "
            "`chat.template` may keep it"
        )
    if counts.dropped.get(Reason.DUPLICATE.value, 0) > counts.read / 2:
        text += f"\nwarning: more than half of the rows of {info.name} are duplicates"
    return text


def _how_much(info: SourceInfo) -> str:
    if info.share is not None:
        return f" (share {info.share:g})"
    return f" (weight {info.weight:g})" if info.weight != 1 else ""


def _about_pairs(pairs: PairCounts, number: int) -> str:
    """Length bias, ratings and safety labels, without what all pairs lack."""
    parts = [
        f"chosen longer in {_percent(pairs.chosen_longer, number)} of the pairs, "
        f"shorter in {_percent(pairs.rejected_longer, number)}"
    ]
    for name, counts, missing in (("rating", pairs.ratings, UNRATED), ("safety", pairs.safety, UNLABELLED)):
        if counts.keys() - {missing}:
            parts.append(f"{name}: " + ", ".join(f"{word} {count:,}" for word, count in counts.items()))
    return "; ".join(parts)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole if whole else 0:.0%}"
